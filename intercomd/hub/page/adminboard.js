// Who can be rung now, and when that was last proven.

import { getFrom } from "./adminapi.js";
import { byName, iconOf, make, mark } from "./adminparts.js";
import { keepRows, setData, setText, show } from "./dom.js";
import { dayAndTime, text } from "./texts.js";

const STATES = ["yes", "talking", "quiet", "push", "away", "banned"];
const ROLES = ["station", "resident"];

export const board = {
  name: "board",
  everySeconds: 10,
  load: () => getFrom("admin/reachability"),
  draw(told) {
    this.sum = make("p", { class: "lead", id: "sum", role: "status" });
    this.lists = ROLES.map((role) => {
      const list = make("ul", { class: "card rows", id: `board-${role}` });
      return { role, list, section: make("section", {}, make("h2", {}, text(`admin.people.${role}`)), list) };
    });
    const add = make("a", { class: "small-act go", href: "#people" }, text("admin.board.add"));
    this.none = make("div", { class: "card padded", id: "nobody" }, make("p", {}, text("admin.board.none")), add);
    this.how = make("p", { class: "small hint-of" }, text("admin.board.how"));
    this.refresh(told);
    const lists = make("div", { class: "columns", id: "board" }, this.lists.map(({ section }) => section));
    return [this.sum, lists, this.none, this.how];
  },
  refresh({ at, board: all }) {
    setText(this.sum, summary(all));
    for (const part of [this.sum, this.how]) show(part, all.length > 0);
    show(this.none, !all.length);
    for (const { role, list, section } of this.lists) {
      const own = all.filter((who) => who.role === role).sort(byName);
      show(section, own.length > 0);
      keepRows(list, own, (who) => who.id, newRow, (row, who) => fillRow(row, who, at));
    }
  },
};

// How many there are of each state, those that can be rung first.
function summary(all) {
  const counts = STATES.map((state) => [state, all.filter((who) => stateOf(who) === state).length]);
  const parts = counts.filter(([state, number]) => number || state === "yes");
  return parts.map(([state, number]) => text(`admin.sum.${state}`, { number })).join(text("admin.comma"));
}

function newRow(who) {
  const words = make("span", { class: "words" },
    make("span", { class: "name" }), make("span", { class: "sub state" }), make("span", { class: "sub proven" }));
  return make("li", { class: "row" }, mark(iconOf(who.role)), words);
}

function fillRow(row, who, now) {
  setData(row, "state", stateOf(who));
  setText(row.querySelector(".name"), who.name);
  const devices = who.devices > 1 ? ` · ${text("admin.board.devices", { number: who.devices })}` : "";
  setText(row.querySelector(".state"), text(`admin.board.${stateOf(who)}`) + devices);
  const proven = who.lastProven;
  const when = proven !== null && ago(now - proven, proven);
  setText(row.querySelector(".proven"), when ? text("admin.board.proven", { when }) : text("admin.board.never"));
}

function stateOf(who) {
  if (who.banned) return "banned";
  if (!who.online) return who.push ? "push" : "away";
  if (who.inCall) return "talking";
  return who.doNotDisturb ? "quiet" : "yes";
}

export function ago(seconds, moment) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 2) return text("admin.ago.now");
  if (whole < 90) return text("admin.ago.seconds", { number: whole });
  if (whole < 5400) return text("admin.ago.minutes", { number: Math.round(whole / 60) });
  return dayAndTime(moment);
}
