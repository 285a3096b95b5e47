// Epochs: how a call's media begins, is lost and is built again (RELIABILITY.md, "Recovery of media").
//
// A side whose media is lost asks the hub to leave the epoch; the hub names the next one to both; both build a new peer
// connection and the caller offers. An attempt counts only while our own link is up and the hub sees the other side.

import { step, send, timer, cancel, patch, fail } from "./closing.js";

export const LIMITS = {
  dial: 10, dialAway: 5, connect: 10, ringSlack: 15, grace: 120, backoff: 1, attempts: 3,
  // From the tone that announces a call that has come back to its microphone.
  microphone: 0.4,
};

export function begin(state, call, epoch) {
  const phase = call.wasUp || call.restored ? "reconnecting" : "connecting";
  const begun = patch(state, { epoch, phase });
  return step(
    begun,
    cancel("retry", "absent"),
    { do: "media", epoch, offerer: call.role === "caller" },
    timer("connect", LIMITS.connect, begun.call),
  );
}

// Move to the hub's epoch if it is newer than ours.
export function adopt(state, call, epoch) {
  return epoch > call.epoch ? begin(state, call, epoch) : step(state);
}

// A newer epoch's offer implies the restart.
export function offered(state, call, data) {
  if (data.epoch < call.epoch) return step(state);
  const remote = { do: "remote", epoch: data.epoch, sdp: data.sdp };
  if (data.epoch === call.epoch) return step(state, remote);
  const [begun, effects] = begin(state, call, data.epoch);
  return step(begun, ...effects, remote);
}

// The other side's audio of the current epoch is there, or there again.
export function audible(state, call, now) {
  const up = patch(state, { phase: "connected", attempts: 0, wasUp: true, answeredAt: call.answeredAt ?? now });
  const effects = [cancel("connect", "retry", "absent")];
  if (!call.wasUp && !call.restored) effects.push({ do: "jingle", name: "connected" });
  return step(up, ...effects);
}

export function recover(state, call) {
  const phase = call.wasUp || call.restored ? "reconnecting" : "connecting";
  const waiting = patch(state, { phase });
  if (!state.registered || !call.present) {
    return step(waiting, cancel("connect"), timer("absent", LIMITS.grace, call));
  }
  if (call.attempts >= LIMITS.attempts) return fail(state, call, "media_failed");
  const again = patch(waiting, { attempts: call.attempts + 1 });
  if (call.attempts === 0) return step(again, ...asking(again.call));
  return step(again, cancel("connect"), timer("retry", LIMITS.backoff * call.attempts, again.call));
}

// The back-off is over.
export function ask(state, call) {
  if (!state.registered) return step(state, timer("absent", LIMITS.grace, call));
  return step(state, ...asking(call));
}

// The hub did not take the request: once more, a moment later.
export function askLater(state, call) {
  if (!state.registered) return step(state, timer("absent", LIMITS.grace, call));
  return step(state, timer("retry", LIMITS.backoff, call));
}

function asking(call) {
  const restart = send("webrtc_restart", { callId: call.id, epoch: call.epoch });
  return [restart, timer("connect", LIMITS.connect, call)];
}
