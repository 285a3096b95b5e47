// A door is opened at once or not at all, and people are told what has really happened: the hub's yes means that the
// relay has switched.

import { text, hasText } from "./texts.js";

const TOLD_MS = 6000;

// `ask(name, data)` sends now or rejects; `tell(told)` hears { station, name, state, why }, and null when it is old news.
export class Door {
  constructor(ask, tell) {
    this.ask = ask;
    this.tell = tell;
    this.told = null;
  }

  async open(station, name, call) {
    if (this.told?.state === "asking") return;
    const asked = { station, name, state: "asking", why: "asking" };
    this.say(asked);
    const why = await this.outcome({ stationId: station, ...(isTalk(call, station) && { callId: call.id }) });
    this.say({ ...asked, state: why === "opened" ? "opened" : "refused", why });
  }

  async outcome(data) {
    try {
      const reply = await this.ask("open_door", data);
      return reply.ok ? "opened" : reply.code ?? "failed";
    } catch (error) {
      // Once it has left it may have arrived, whatever became of the answer.
      return error.unsent ? "unsent" : "unconfirmed";
    }
  }

  say(told) {
    clearTimeout(this.timer);
    this.told = told;
    this.tell(told);
    if (told.state !== "asking") this.timer = setTimeout(() => { this.told = null; this.tell(null); }, TOLD_MS);
  }
}

export function doorWords({ why, name }) {
  return text(hasText(`door.${why}`) ? `door.${why}` : "door.failed", { name });
}

const isTalk = (call, station) => call?.peer === station && ["connected", "reconnecting"].includes(call.phase);

// Whether the button stands in this call: a right for calls counts once both talk.
export function mayOpen(doors, call) {
  const door = doors.find(({ id }) => id === call.peer);
  return Boolean(door) && (isTalk(call, call.peer) || (door.when === "always" && call.phase === "ringing_in"));
}
