// What pages and hub say to each other: PROTOCOL version 1, as intercomd/core/protocol.py has it. A test compares both.

export const PROTOCOL = 1;

export const REQUESTS = [
  "resync", "heartbeat", "initiate_call", "accept_call", "reject_call", "cancel_call", "end_call",
  "webrtc_offer", "webrtc_answer", "webrtc_ice_candidate", "webrtc_restart", "call_metrics",
  "prolong_call", "set_do_not_disturb", "open_door",
];

export const NOTICES = [
  "incoming_call", "call_initiated", "call_accepted", "call_rejected", "call_cancelled", "call_ended", "call_failed",
  "webrtc_offer", "webrtc_answer", "webrtc_ice_candidate", "webrtc_restart", "call_state",
  "call_queued", "talk_limit",
];

const REST_USERNAME = /^(\d{9,11}):/;
const SHARE_OF_LIFE = 0.45;
const LONGEST_LIFE_S = 86400;
const UNCERTAIN_LIFE_S = 600;

// When to ask for new servers: TURN credentials end by themselves, and their user names say when, by the hub's clock.
export function renewalMs({ iceServers, serverTime }) {
  const ends = (iceServers ?? []).map(({ username }) => REST_USERNAME.exec(username ?? "")?.[1]).filter(Boolean);
  if (!ends.length) return Infinity;
  const life = Math.min(...ends.map(Number)) - (serverTime ?? 0);
  return 1000 * SHARE_OF_LIFE * (life > 0 && life <= LONGEST_LIFE_S ? life : UNCERTAIN_LIFE_S);
}

// Why a request was not carried out, as an end of the call.
export const REFUSALS = {
  busy: "busy",
  not_allowed: "not_allowed",
  not_found: "not_allowed",
  not_participant: "not_allowed",
  not_this_device: "answered_elsewhere",
  wrong_phase: "answered_elsewhere",
};
