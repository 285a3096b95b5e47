// The page's call: `handle(state, event)` gives the next state and what is to be done, and does nothing itself.
//
//   idle -dial-> permission -> dialling -ack-> calling -> ringing_out -accepted-> connecting -> connected
//   idle -incoming-> ringing_in -answer-> permission -> connecting -> connected <-> reconnecting
//   a reloaded page -linked-> reconnecting, or whatever the hub says        any -hangup-> ending -> idle
//
// The rules are those of the stations (intercomd/core/call.py): the hub owns the call's state; what it sends are hints,
// the answer to each `resync` is the truth. Media is ordered and heard of by epoch, the life of one peer connection;
// what belongs to an old epoch or to another call changes nothing. A call that was ended here while the hub was out of
// reach is remembered as `buried`, and the hub is told when it says that the call goes on.

import { REFUSALS } from "./protocol.js";
import { step, send, timer, cancel, patch, bury, end, over, fail, goodbye, graveOf, microphoneFailure } from "./closing.js";
import { begin, adopt, offered, audible, recover, ask, askLater, LIMITS } from "./recovery.js";

export const NO_CALL = { me: "", registered: false, call: null, failure: null, buried: [], warned: null };

const OUTGOING = ["permission", "dialling", "calling", "ringing_out"];

export function handle(state, event) {
  switch (event.type) {
    case "linked": return linked(state, event);
    case "unlinked": return unlinked(state);
    case "notice": return noticed(state, event);
    case "timer": return timed(state, event);
    case "dismiss": return step({ ...state, failure: null });
    case "retry": return retried(state, event);
    default: return dispatch(state, event);
  }
}

// The name by which people, and the guide, know a phase.
export function shown(call) {
  if (!call) return "idle";
  const names = { dialling: "initializing", calling: "connecting", ringing_out: "ringing", ringing_in: "ringing" };
  return names[call.phase] ?? call.phase;
}

// What the hub is asked on every connect.
export function known(state) {
  const { call } = state;
  if (!call || call.phase === "ending" || (call.phase === "permission" && call.role === "caller")) return [];
  return [{ callId: call.id, epoch: call.epoch, phase: shown(call) }];
}

const PHASES = {
  permission: inPermission,
  dialling: whileDialling,
  calling: whileCalling,
  ringing_out: whileCalling,
  ringing_in: whileRinging,
  connecting: whileConnecting,
  connected: inCall,
  reconnecting: inCall,
  ending: whileEnding,
};

function dispatch(state, event) {
  return state.call ? PHASES[state.call.phase](state, state.call, event) : whileIdle(state, event);
}

function timed(state, event) {
  const { call } = state;
  if (!call || event.call !== call.id) return step(state);
  const ofEpoch = event.kind === "connect" || event.kind === "retry";
  return ofEpoch && event.epoch !== call.epoch ? step(state) : dispatch(state, event);
}

// ------------------------------------------------------------------------------------------------- phase by phase

function whileIdle(state, event) {
  switch (event.type) {
    case "dial": return dial(state, event.peer, event.name, event.id);
    case "microphone": return step(state, { do: "microphone", open: false });
    case "replied": return settleLate(state, event.reply.call);
    default: return step(state);
  }
}

// A late reply about a call that is over here: if the hub thinks that it is up, it is told again.
function settleLate(state, told) {
  const grave = told && told.phase !== "ended" && graveOf(state, told.callId);
  return grave ? step(state, goodbye(grave)) : step(state);
}

function retried(state, event) {
  const retry = state.failure?.retry;
  if (state.call?.phase === "ringing_in") return whileRinging({ ...state, failure: null }, state.call, { type: "answer" });
  if (state.call || !retry) return step({ ...state, failure: null });
  return dial(state, retry.peer, retry.name, event.id);
}

function newCall(id, role, peer, name, phase) {
  return {
    id, role, peer, name, phase, epoch: 0, seq: 0, attempts: 0,
    answeredAt: null, present: true, restored: false, wasUp: false, deaf: false, queue: null, endsAt: null,
  };
}

function dial(state, peer, name, id) {
  const call = newCall(id, "caller", peer, name, "permission");
  return step({ ...state, call, failure: null }, { do: "microphone", open: true });
}

function inPermission(state, call, event) {
  const isCaller = call.role === "caller";
  switch (event.type) {
    case "microphone": return isCaller ? initiate(patch(state, { phase: "dialling" })) : accept(state, call);
    case "noMicrophone": return isCaller ? stillborn(state, call, event.reason) : ringOn(state, call, event.reason);
    case "hangup": return isCaller ? stillborn(state, call, null) : end(state, call, "rejected");
    default: return whileRinging(state, call, event);
  }
}

// The hub has never heard of it.
function stillborn(state, call, reason) {
  const failure = reason && microphoneFailure(call, reason);
  return step({ ...state, call: null, failure }, { do: "microphone", open: false });
}

// This browser cannot answer now; another device of the same person still can.
function ringOn(state, call, reason) {
  return step({ ...patch(state, { phase: "ringing_in" }), failure: microphoneFailure(call, reason) });
}

function initiate(state) {
  const { call } = state;
  const ask = state.registered ? [send("initiate_call", { callId: call.id, recipientId: call.peer })] : [];
  return step(state, ...ask, timer("dial", state.registered ? LIMITS.dial : LIMITS.dialAway, call));
}

function whileDialling(state, call, event) {
  if (event.type === "replied" && event.name === "initiate_call") return dialReplied(state, call, event.reply);
  if (event.type === "unanswered" && event.name === "initiate_call" && state.registered) {
    return step(state, send("initiate_call", { callId: call.id, recipientId: call.peer }));
  }
  if (event.type === "timer" && event.kind === "dial") {
    return fail(state, call, state.registered ? "timeout" : "network");
  }
  return whileCalling(state, call, event);
}

function dialReplied(state, call, reply) {
  const told = reply.call;
  if (!reply.ok) return over(state, call, refusal(reply));
  if (told && told.callId !== call.id) return glare(state, told);
  if (told?.phase === "ended") return over(state, call, told.endReason ?? "failed");
  return step(patch(state, { phase: "calling" }), cancel("dial"), timer("ring", LIMITS.grace, call));
}

function refusal(reply) {
  return reply.call?.endReason ?? REFUSALS[reply.code] ?? "failed";
}

// Both called each other at once and the other call was first: it rings here, and somebody here wants to talk.
function glare(state, told) {
  const call = newCall(told.callId, "callee", told.callerId, told.callerName || told.callerId, "ringing_in");
  return accept({ ...state, call }, call);
}

function whileCalling(state, call, event) {
  if (event.type === "notice" && event.name === "call_initiated") {
    return step(patch(state, { phase: "ringing_out", queue: null }), cancel("dial"), patience(call, event.data));
  }
  if (event.type === "notice" && event.name === "call_queued") {
    return step(patch(state, { phase: "calling", queue: event.data.position }), cancel("dial"), patience(call, event.data));
  }
  if (event.type === "notice" && event.name === "call_accepted") {
    const { accepterId, accepterName, epoch } = event.data;
    return answered(state, call, epoch, accepterId, accepterName);
  }
  if (event.type === "timer" && event.kind === "ring") return fail(state, call, "timeout");
  if (event.type === "noMicrophone") return fail(state, call, event.reason);
  if (event.type === "hangup") return end(state, call, "cancelled");
  return step(state);
}

// For how long the hub may let the caller wait and ring: our own limit is later, for when the hub is gone.
function patience(call, { ringTimeout }) {
  return timer("ring", Math.max(LIMITS.grace, (ringTimeout ?? 0) + LIMITS.ringSlack), call);
}

function whileRinging(state, call, event) {
  switch (event.type) {
    case "answer": return step(patch(state, { phase: "permission" }), { do: "microphone", open: true });
    case "hangup": return end(state, call, "rejected");
    case "timer": return event.kind === "ring" ? over(state, call, "timeout") : step(state);
    default: return step(state);
  }
}

function accept(state, call) {
  const ask = state.registered ? [send("accept_call", { callId: call.id })] : [];
  const taken = { ...patch(state, { phase: "connecting", epoch: 0 }), failure: null };
  return step(taken, cancel("ring", "dial"), ...ask, timer("connect", LIMITS.connect, taken.call));
}

function whileConnecting(state, call, event) {
  const aboutAccept = event.name === "accept_call" && event.data?.callId === call.id;
  if (event.type === "replied" && aboutAccept) return acceptReplied(state, call, event.reply);
  if (event.type === "unanswered" && aboutAccept && state.registered && call.epoch === 0) {
    return step(state, send("accept_call", { callId: call.id }));
  }
  if (event.type === "timer" && event.kind === "connect" && call.epoch === 0) return fail(state, call, "network");
  return inCall(state, call, event);
}

function acceptReplied(state, call, reply) {
  if (!reply.ok) return over(state, call, refusal(reply));
  if (reply.call?.phase === "ended") return over(state, call, reply.call.endReason ?? "completed");
  return adopt(state, call, reply.call?.epoch ?? 1);
}

// Answered: connecting, connected or reconnecting.
function inCall(state, call, event) {
  switch (event.type) {
    case "notice": return mediaNotice(state, call, event.name, event.data);
    case "described": return passOn(state, call, event, `webrtc_${event.sdp.type}`, { sdp: event.sdp });
    case "candidate": return passOn(state, call, event, "webrtc_ice_candidate", { candidate: event.candidate });
    case "up": return event.epoch === call.epoch ? audible(state, call, event.now) : step(state);
    case "silent": return fallSilent(state, call, event);
    case "lost": return event.epoch === call.epoch ? recover(state, call) : step(state);
    case "replied": return mediaReplied(state, call, event);
    case "unanswered": return mediaUnanswered(state, call, event);
    case "timer": return mediaTimer(state, call, event);
    case "microphone": return step(patch(state, { deaf: false }));
    case "noMicrophone": return lostMicrophone(state, call, event.reason);
    case "hangup": return end(state, call, "completed");
    case "prolong": return step(state, send("prolong_call", { callId: call.id }));
    default: return step(state);
  }
}

function passOn(state, call, event, name, data) {
  if (event.epoch !== call.epoch || !state.registered) return step(state);
  return step(state, send(name, { callId: call.id, epoch: event.epoch, ...data }));
}

function fallSilent(state, call, event) {
  if (event.epoch !== call.epoch || call.phase !== "connected") return step(state);
  return step(patch(state, { phase: "reconnecting" }));
}

// Before anything was heard the call has no use; in the middle of it the other side is still heard.
function lostMicrophone(state, call, reason) {
  return call.wasUp ? step(patch(state, { deaf: true })) : fail(state, call, reason);
}

function mediaNotice(state, call, name, data) {
  const isCaller = call.role === "caller";
  switch (name) {
    case "webrtc_offer": return isCaller ? step(state) : offered(state, call, data);
    case "webrtc_answer":
      return isCaller && data.epoch === call.epoch
        ? step(state, { do: "remote", epoch: data.epoch, sdp: data.sdp }) : step(state);
    case "webrtc_ice_candidate":
      return data.epoch >= call.epoch
        ? step(state, { do: "candidate", epoch: data.epoch, candidate: data.candidate ?? null }) : step(state);
    case "webrtc_restart": return adopt(state, call, data.epoch);
    default: return step(state);
  }
}

const ABOUT_MEDIA = ["webrtc_restart", "webrtc_offer", "webrtc_answer"];

function mediaReplied(state, call, { name, data, reply }) {
  if (!ABOUT_MEDIA.includes(name) || data.callId !== call.id) return step(state);
  if (reply.call?.phase === "ended") return over(state, call, reply.call.endReason ?? "completed");
  if (["not_found", "not_participant", "not_this_device"].includes(reply.code)) return over(state, call, "failed");
  if (name === "webrtc_restart" && ["rate_limited", "try_again", "internal"].includes(reply.code)) {
    return askLater(state, call);
  }
  return reply.call ? adopt(state, call, reply.call.epoch) : step(state);
}

function mediaUnanswered(state, call, { name, data }) {
  const ours = name === "webrtc_restart" && data.callId === call.id && data.epoch === call.epoch;
  return ours ? askLater(state, call) : step(state);
}

function mediaTimer(state, call, event) {
  if (event.kind === "microphone") return step(state, { do: "microphone", open: true });
  if (call.phase === "connected") return step(state);
  switch (event.kind) {
    case "connect": return recover(state, call);
    case "retry": return ask(state, call);
    case "absent": return fail(state, call, state.registered ? "peer_lost" : "network");
    default: return step(state);
  }
}

function whileEnding(state, call, event) {
  const told = ["end_call", "reject_call", "cancel_call"].includes(event.name) && event.data?.callId === call.id;
  if (event.type === "dial") return dial({ ...state, call: null }, event.peer, event.name, event.id);
  if (told || (event.type === "timer" && event.kind === "ending")) {
    return step({ ...state, call: null }, cancel("ending"), { do: "refresh" });
  }
  return step(state);
}

// ---------------------------------------------------------------------------------------------- what the hub says

function noticed(state, event) {
  const { call } = state;
  const { name, data } = event;
  if (!call || data.callId !== call.id) return aboutAnother(state, event);
  if (data.seq <= call.seq) return step(state);
  const heard = patch(state, { seq: data.seq });
  if (call.phase === "ending") return step(heard);
  switch (name) {
    case "call_ended":
    case "call_cancelled":
    case "call_failed": return over(heard, heard.call, data.reason);
    case "call_rejected": return over(heard, heard.call, "rejected");
    case "call_state": return told(heard, heard.call, data.state, false);
    case "talk_limit": return limited(heard, event);
    default: return dispatch(heard, event);
  }
}

// The hub ends the talk soon; or not any more, since one of the two has prolonged it.
function limited(state, { data, now }) {
  if (data.prolonged) return step(patch(state, { endsAt: null }));
  return step(patch(state, { endsAt: endOf(data, now) }), { do: "jingle", name: "warning" });
}

const endOf = ({ leftS }, now) => now + leftS * 1000;

function aboutAnother(state, { name, data, now }) {
  const grave = graveOf(state, data.callId);
  if (name === "incoming_call") return grave ? step(state, goodbye(grave)) : incoming(state, data);
  // A page that was reloaded hears of its talk's end before it hears of the talk.
  if (name === "talk_limit" && !state.registered) {
    return step({ ...state, warned: data.prolonged ? null : { id: data.callId, endsAt: endOf(data, now) } });
  }
  const takesPart = ["call_accepted", "webrtc_offer", "webrtc_restart"].includes(name);
  // Before the answer to the resync this page may be the one that was reloaded in the middle of that call.
  if (!takesPart || !state.registered) return step(state);
  return step(state, goodbye(grave ?? { id: data.callId, verb: "end_call", reason: "failed" }));
}

function incoming(state, data) {
  const { call } = state;
  // The hub has not taken our dial, or it would not ring here: then the ringing wins.
  const untaken = call?.role === "caller" && ["permission", "dialling"].includes(call.phase);
  if (call && call.phase !== "ending" && !untaken) return step(state);
  // Glare: the hub judges, in its reply to our own dial.
  if (call?.phase === "dialling" && data.callerId === call.peer) return step(state);
  const ringing = newCall(data.callId, "callee", data.callerId, data.callerName || data.callerId, "ringing_in");
  const free = untaken ? bury(state, { id: call.id, verb: "cancel_call" }) : state;
  const dropped = untaken ? [{ do: "microphone", open: false }, { do: "remember" }] : [];
  return step(
    { ...free, call: { ...ringing, seq: data.seq ?? 0 }, failure: null },
    ...dropped, cancel("ending", "dial", "ring"),
    timer("ring", (data.ringTimeout ?? 60) + LIMITS.ringSlack, ringing),
  );
}

function unlinked(state) {
  const away = { ...state, registered: false };
  return state.call?.phase === "ending" ? step({ ...away, call: null }, cancel("ending")) : step(away);
}

// The hub's answer to `resync`. `clock` is how far its clock is ahead of ours.
function linked(state, event) {
  let next = { ...state, registered: true, me: event.me };
  const effects = [];
  for (const found of event.calls) {
    if (found.phase === "ended" || found.callId === next.call?.id) continue;
    const grave = graveOf(next, found.callId);
    if (grave) effects.push(goodbye(grave));
    else if (!next.call || next.call.phase === "ending") {
      const [taken, more] = takeUp(next, found, event.clock);
      next = taken;
      effects.push(...more);
    } else if (found.phase !== "ringing") {
      effects.push(send("end_call", { callId: found.callId, reason: "failed" }));
    }
  }
  if (!state.call || next.call?.id !== state.call.id) return step(next, ...effects);
  const own = event.calls.find((found) => found.callId === state.call.id);
  const [settled, more] = settle(next, next.call, own);
  return step(settled, ...effects, ...more);
}

// A call of this page from before it was reloaded.
function takeUp(state, found, clock) {
  if (found.phase === "ringing" && found.callerId !== state.me) return incoming(state, found);
  const isCaller = found.callerId === state.me;
  const peer = isCaller ? found.calleeId ?? found.recipientId : found.callerId;
  const name = (isCaller ? found.calleeName : found.callerName) || peer;
  const call = {
    ...newCall(found.callId, isCaller ? "caller" : "callee", peer, name, "reconnecting"),
    epoch: found.epoch, restored: true, present: found.peerPresent ?? true, attempts: 1,
    answeredAt: found.answeredAt ? (found.answeredAt - clock) * 1000 : null,
    endsAt: state.warned?.id === found.callId ? state.warned.endsAt : null,
  };
  if (found.phase === "ringing") {
    const queue = found.queuePosition ?? null;
    const waiting = { ...call, phase: queue ? "calling" : "ringing_out", queue, epoch: 0, restored: false };
    return step({ ...state, call: waiting }, { do: "microphone", open: true }, timer("ring", LIMITS.grace, waiting));
  }
  return step(
    { ...state, call },
    { do: "jingle", name: "restored" },
    timer("microphone", LIMITS.microphone, call),
    send("webrtc_restart", { callId: call.id, epoch: call.epoch }),
    timer("connect", LIMITS.connect, call),
  );
}

function settle(state, call, found) {
  if (call.phase === "ending" || (call.phase === "permission" && call.role === "caller")) return step(state);
  if (found) return told(state, call, found, true);
  if (call.phase === "dialling") return initiate(state);
  return over(state, call, "failed");
}

// The hub's state of our call. `fresh`: what was under way when the last connection broke may be lost.
function told(state, call, found, fresh) {
  const present = found.peerPresent ?? true;
  const next = patch(state, { present });
  if (found.phase === "ended") return over(next, next.call, found.endReason ?? "completed");
  if (found.phase === "ringing") return stillRinging(next, next.call, found);
  return goesOn(next, next.call, found, fresh);
}

function stillRinging(state, call, found) {
  if (call.role === "caller") {
    const queue = found.queuePosition ?? null;
    const phase = queue ? "calling" : "ringing_out";
    return OUTGOING.includes(call.phase) ? step(patch(state, { phase, queue }), cancel("dial")) : step(state);
  }
  // Somebody has pressed, but the hub never heard it.
  return call.phase === "connecting" ? accept(state, call) : step(state);
}

function goesOn(state, call, found, fresh) {
  if (OUTGOING.includes(call.phase) || call.phase === "ringing_in") {
    return answered(state, call, found.epoch, found.calleeId, found.calleeName);
  }
  const unsettled = call.phase === "connecting" || call.phase === "reconnecting";
  const inDoubt = fresh
    ? call.role === "callee" || found.epoch <= call.epoch
    : call.phase === "reconnecting" && call.present && found.epoch <= call.epoch;
  if (unsettled && inDoubt) {
    const current = patch(state, { epoch: found.epoch });
    return recover(current, current.call);
  }
  return adopt(state, call, found.epoch);
}

function answered(state, call, epoch, peer, name) {
  const whom = call.role === "caller" ? { peer: peer ?? call.peer, name: name || peer || call.name } : {};
  const next = { ...patch(state, { ...whom, queue: null }), failure: null };
  const [begun, effects] = begin(next, next.call, epoch);
  return step(begun, cancel("dial", "ring"), ...effects);
}
