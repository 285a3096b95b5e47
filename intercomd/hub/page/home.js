// What is seen without a call: the welcome, whether this device rings, whom one may call, the calls of late.

import { text, clockTime, dayAndTime, timeOfDay, language } from "./texts.js";
import { byId, setText, show, setData, setLabel, setIcon, create, createIcon, keepRows } from "./dom.js";

const OUTWARD = {
  busy: "busy", user_offline: "offline", cancelled: "cancelled", rejected: "rejected", timeout: "unanswered",
  do_not_disturb: "quiet",
};

// `acts` are the page's: signIn, call(id, name), openDoor(id, name), soundOn, reload, wake.
export class Home {
  constructor(acts) {
    this.acts = acts;
    byId("sign-in").onclick = () => acts.signIn();
    byId("ready-act").onclick = () => this.action?.();
    byId("quiet").onclick = () => acts.quiet();
    byId("push").onclick = () => acts.wake();
  }

  render(model) {
    show(byId("loading"), model.screen === "loading");
    show(byId("welcome"), model.screen === "welcome");
    show(byId("home"), model.screen === "home");
    if (model.screen === "welcome") this.welcome(model.welcome);
    if (model.screen !== "home") return;
    this.ready({ ...model.checks, wakes: model.push.on && !model.push.why }, model.quietUntil);
    showPush(model.push);
    this.stations(withDoors(model.stations, model.doors), model.door);
    this.calls(model.calls, model.stations);
  }

  welcome({ invited, problem, busy }) {
    setText(byId("welcome-text"), text(`welcome.${problem ?? (invited ? "invited" : "out")}`));
    show(byId("sign-in"), invited);
    byId("sign-in").disabled = busy;
    show(byId("welcome-small"), invited);
  }

  ready(checks, quietUntil) {
    const { state, action } = readiness({ ...checks, quiet: quietUntil * 1000 > Date.now() });
    setData(byId("ready"), "state", state);
    setText(byId("ready-title"), text(`ready.${state}`));
    const why = state === "yes" && checks.wakes ? "ready.yesClosedWhy" : `ready.${state}Why`;
    setText(byId("ready-why"), text(why, { time: timeOfDay(quietUntil) }));
    this.action = this.acts[action];
    show(byId("ready-act"), Boolean(action));
    if (action) setText(byId("ready-act"), text(ACTION_WORDS[action]));
    show(byId("quiet"), state === "yes");
    keepRows(byId("checks"), checked(checks), ([key]) => key.split(".")[1], newCheck, fillCheck);
  }

  stations(stations, door) {
    show(byId("stations"), stations.length > 0);
    show(byId("stations-none"), stations.length === 0);
    const fill = (row, entry) => fillStation(row, entry, door);
    const key = ({ id, role }) => `${role} ${id}`;
    keepRows(byId("stations"), stations, key, (entry) => this.newStation(entry), fill);
  }

  newStation({ id, name, role }) {
    const mark = create("span", "mark", createIcon(role === "group" ? "group" : "door"));
    const words = create("span", "words", create("span", "name"), create("span", "sub"));
    const parts = role === "door" ? [] : [create("span", "dial round", createIcon("phone"))];
    const row = create(role === "door" ? "div" : "button", "row", mark, words, ...parts);
    if (role !== "door") {
      row.type = "button";
      row.onclick = () => this.acts.call(id, name);
    }
    const unlock = create("button", "unlock round", createIcon("key"));
    unlock.type = "button";
    unlock.onclick = () => this.acts.openDoor(id, name);
    return create("li", "", row, unlock);
  }

  calls(calls, stations) {
    const none = calls === "failed" ? "calls.failed" : "calls.none";
    const list = Array.isArray(calls) ? calls : [];
    setText(byId("calls-none"), text(none));
    show(byId("calls-none"), calls !== null && list.length === 0);
    show(byId("calls"), list.length > 0);
    const callable = new Set(stations.map(({ id }) => id));
    const fill = (row, call) => fillCall(row, call, callable.has(call.peer));
    keepRows(byId("calls"), list, ({ callId }) => callId, (call) => this.newCallRow(call), fill);
  }

  newCallRow({ peer }) {
    const mark = create("span", "mark", createIcon("in"));
    const words = create("span", "words", create("span", "name"), create("span", "sub"));
    const back = create("button", "again round", createIcon("phone"));
    back.type = "button";
    back.onclick = () => this.acts.call(peer, peer);
    return create("li", "", create("div", "row", mark, words, back));
  }
}

const ACTION_WORDS = { soundOn: "ready.sound", reload: "ready.reload", loud: "quiet.off" };

// In the order of what a person must know first.
function readiness({ secure, link, microphone, sound, old, quiet }) {
  if (old) return { state: "old", action: "reload" };
  if (!secure) return { state: "insecure" };
  if (link === "connecting" || link === "up") return { state: "connecting" };
  if (link !== "registered") return { state: "offline" };
  if (quiet) return { state: "quiet", action: "loud" };
  if (microphone === "denied") return { state: "denied" };
  if (!sound) return { state: "silent", action: "soundOn" };
  return { state: "yes" };
}

function checked({ secure, link, microphone, sound, visible, wakes }) {
  const yes = (good) => (good ? "yes" : "no");
  return [
    [`check.link.${yes(link === "registered")}`, link === "registered"],
    [`check.secure.${yes(secure)}`, secure],
    [`check.microphone.${microphone}`, microphone !== "denied"],
    [`check.sound.${yes(sound)}`, sound],
    [`check.page.${yes(visible)}`, visible],
    [`check.closed.${yes(wakes)}`, wakes],
  ];
}

// Whether it rings while the page is closed, or why it cannot. Where the hub wakes nobody there is nothing to say.
function showPush({ why, on, busy }) {
  show(byId("push"), !why);
  byId("push").disabled = busy;
  setText(byId("push"), text(on ? "push.off" : "push.on"));
  const told = Boolean(why) && why !== "off";
  show(byId("push-why"), told);
  if (told) setText(byId("push-why"), text(`push.${why}`));
}

const newCheck = () => create("li", "", createIcon("yes"), create("span"));

function fillCheck(row, [key, good]) {
  setData(row, "good", String(good));
  setIcon(row.querySelector("use"), good ? "yes" : "no");
  setText(row.lastChild, text(key));
}

// A door that may be opened always stands beside its station; that of one who may not be called has a row of its own.
function withDoors(stations, doors) {
  const open = new Map(doors.filter(({ when }) => when === "always").map((door) => [door.id, door]));
  const entries = stations.map((entry) => ({ ...entry, door: open.has(entry.id) }));
  for (const { id } of stations) open.delete(id);
  return [...entries, ...[...open.values()].map(({ id, name }) => ({ id, name, role: "door", online: true, door: true }))];
}

function fillStation(row, { id, name, role, online, door }, asked) {
  const unlock = row.lastChild;
  show(unlock, door);
  unlock.disabled = asked?.station === id && asked.state === "asking";
  setLabel(unlock, text("door.openAt", { name }));
  setData(row, "online", String(online));
  setText(row.querySelector(".name"), name);
  const state = text(online ? "stations.online" : "stations.offline");
  setText(row.querySelector(".sub"), role === "group" ? `${text("stations.group")} · ${state}` : state);
  if (role !== "door") setLabel(row.firstChild, `${text("stations.call", { name })} · ${state}`);
}

function fillCall(row, call, callable) {
  const missed = call.direction === "in" && call.outcome === "missed";
  setData(row, "missed", String(missed));
  setIcon(row.querySelector("use"), missed ? "missed" : call.direction);
  setText(row.querySelector(".name"), call.peer);
  setText(row.querySelector(".sub"), `${outcomeText(call)} · ${dayAndTime(call.startedAt)}`);
  const back = row.querySelector("button");
  show(back, callable);
  setLabel(back, text("calls.back", { name: call.peer }));
  row.lang = language();
}

function outcomeText({ direction, outcome, reason, duration }) {
  const way = text(`calls.${direction}`);
  if (outcome === "completed") return `${way}, ${text("calls.completed", { duration: clockTime(duration) })}`;
  if (outcome === "answered_elsewhere") return text("calls.answered_elsewhere");
  if (direction === "in") return text(outcome === "rejected" ? "calls.rejected" : "calls.missed");
  return text(`calls.${OUTWARD[reason] ?? "unanswered"}`);
}
