// The moves that all rules of the call share, and how a call comes to its end.

import { KIND_OF, QUIET_FOR_CALLEE, REPORTED } from "./errors.js";

const MAX_BURIED = 8;
const ENDING_LIMIT_S = 2;
const ANSWERED = ["connecting", "connected", "reconnecting"];
const TIMERS = ["dial", "ring", "connect", "retry", "absent", "microphone"];

export const step = (state, ...effects) => [state, effects];
export const send = (name, data) => ({ do: "send", name, data });
export const cancel = (...kinds) => ({ do: "cancel", kinds });
export const patch = (state, changes) => ({ ...state, call: { ...state.call, ...changes } });

export function timer(kind, seconds, call) {
  return { do: "timer", kind, seconds, call: call.id, epoch: call.epoch };
}

export function graveOf(state, id) {
  return state.buried.find((grave) => grave.id === id);
}

export function bury(state, grave) {
  return { ...state, buried: [...state.buried.filter((old) => old.id !== grave.id), grave].slice(-MAX_BURIED) };
}

// What the hub must still hear about a call that is over here.
export function goodbye(grave) {
  const reason = grave.verb === "cancel_call" ? undefined : REPORTED[grave.reason];
  return send(grave.verb, reason ? { callId: grave.id, reason } : { callId: grave.id });
}

// We end it: the hub is told, and for a moment its word is waited for.
export function end(state, call, reason) {
  const grave = { id: call.id, verb: verbFor(call), reason };
  const [closed, effects] = close(bury(state, grave), call, reason);
  effects.push({ do: "remember" });
  if (!state.registered) return [closed, effects];
  const ending = { ...closed, call: { ...call, phase: "ending" } };
  return step(ending, ...effects, goodbye(grave), timer("ending", ENDING_LIMIT_S, call));
}

// We give up; the person sees why, and may try again.
export const fail = end;

// The hub says that it is over.
export function over(state, call, reason) {
  return close(state, call, reason);
}

export function microphoneFailure(call, reason) {
  return { kind: KIND_OF[reason], reason, name: call.name, retry: { peer: call.peer, name: call.name } };
}

function verbFor(call) {
  if (ANSWERED.includes(call.phase)) return "end_call";
  return call.role === "caller" ? "cancel_call" : "reject_call";
}

function close(state, call, reason) {
  const wasAnswered = ANSWERED.includes(call.phase);
  const missed = call.role === "callee" && !wasAnswered;
  const failed = KIND_OF[reason] && !(missed && QUIET_FOR_CALLEE.includes(reason));
  const failure = failed ? microphoneFailure(call, reason) : null;
  const effects = [{ do: "stop" }, { do: "microphone", open: false }, cancel(...TIMERS)];
  if (failure) effects.push({ do: "jingle", name: "failed" });
  else if (wasAnswered || call.role === "caller") effects.push({ do: "jingle", name: "ended" });
  const text = failure ? null : farewell(call, reason, missed);
  if (text) effects.push({ do: "tell", text, name: call.name });
  effects.push({ do: "refresh" });
  return [{ ...state, call: null, failure }, effects];
}

// What a person is told about an end that is no failure, or nothing.
function farewell(call, reason, missed) {
  if (reason === "answered_elsewhere") return "told.elsewhere";
  if (missed) return reason === "rejected" ? null : "told.missed";
  if (reason === "talk_limit") return "told.limit";
  return call.wasUp && reason === "completed" ? "told.ended" : null;
}
