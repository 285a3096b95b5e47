// Who can be rung now, and when that was last proven.

import { getFrom } from "./adminapi.js";
import { iconOf, make, mark } from "./adminparts.js";
import { keepRows, setData, setText } from "./dom.js";
import { dayAndTime, text } from "./texts.js";

export const board = {
  name: "board",
  everySeconds: 10,
  load: () => getFrom("admin/reachability"),
  draw(told) {
    this.sum = make("p", { class: "lead", role: "status" });
    this.list = make("ul", { class: "card rows", id: "board" });
    this.none = make("p", { class: "none" }, text("admin.board.none"));
    this.refresh(told);
    return [this.sum, this.list, this.none, make("p", { class: "small" }, text("admin.board.how"))];
  },
  refresh({ at, board: all }) {
    const reachable = all.filter((who) => stateOf(who) === "yes").length;
    setText(this.sum, text("admin.board.sum", { reachable, all: all.length }));
    this.list.hidden = !all.length;
    this.none.hidden = this.sum.hidden = Boolean(all.length);
    this.sum.hidden = !all.length;
    const ordered = [...all].sort((one, other) => one.role.localeCompare(other.role) * -1 || one.name.localeCompare(other.name));
    keepRows(this.list, ordered, (who) => who.id, newRow, (row, who) => fillRow(row, who, at));
  },
};

function newRow(who) {
  const words = make("span", { class: "words" }, make("span", { class: "name" }), make("span", { class: "sub state" }));
  return make("li", { class: "row" }, mark(iconOf(who.role)), words);
}

function fillRow(row, who, now) {
  setData(row, "state", stateOf(who));
  setText(row.querySelector(".name"), who.name);
  setText(row.querySelector(".sub"), sentence(who, now));
}

function stateOf(who) {
  if (who.banned) return "banned";
  if (!who.online) return who.push ? "push" : "away";
  if (who.inCall) return "talking";
  return who.doNotDisturb ? "quiet" : "yes";
}

function sentence(who, now) {
  const parts = [text(`admin.board.${stateOf(who)}`)];
  parts.push(who.lastProven === null ? text("admin.board.never") : text("admin.board.proven", { when: ago(now - who.lastProven, who.lastProven) }));
  if (who.devices > 1) parts.push(text("admin.board.devices", { number: who.devices }));
  return parts.join(" · ");
}

export function ago(seconds, moment) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 2) return text("admin.ago.now");
  if (whole < 90) return text("admin.ago.seconds", { number: whole });
  if (whole < 5400) return text("admin.ago.minutes", { number: Math.round(whole / 60) });
  return dayAndTime(moment);
}
