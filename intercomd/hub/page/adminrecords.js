// Calls that were, how they were heard, and who had which door opened.

import { getFrom, query } from "./adminapi.js";
import { valuesOf } from "./admindialog.js";
import { nameIn } from "./admingroups.js";
import { button, choice, field, input, make, mark } from "./adminparts.js";
import { coloursOf, legend, plot } from "./adminplot.js";
import { clockTime, dayAndTime, hasText, text } from "./texts.js";

const OUTCOMES = ["completed", "missed", "rejected"];
const SHOWN = 25;
const POINTS = 1000;
const FIGURES = [
  { key: "mos", scale: 1, unit: "", digits: 2, low: 1, high: 5 },
  { key: "lossRatio", scale: 100, unit: "%", digits: 1, low: 0, high: 2 },
  { key: "mouthToEar", scale: 1000, unit: "ms", digits: 0, low: 0, high: 200 },
];

export const records = {
  name: "records",
  wanted: { from: "", to: "", party: "", outcome: "" },
  async load() {
    const asked = askedFor(this.wanted);
    const [{ identities }, page, quality, doors] = await Promise.all([
      getFrom("admin/identities"), getFrom(`records${query({ ...asked, limit: SHOWN })}`),
      getFrom(`records/quality${query({ ...asked, limit: POINTS })}`),
      getFrom(`doors/openings${query({ from: asked.from, to: asked.to, limit: SHOWN })}`),
    ]);
    return { asked, identities, page, points: quality.points, doors };
  },
  draw({ asked, identities, page, points, doors }, app) {
    const calls = pages("calls", page, (next) => getFrom(`records${query({ ...asked, limit: SHOWN, cursor: next })}`), (told) => told.records.map((record) => callRow(record, identities)), app);
    const openings = pages("openings", doors, (next) => getFrom(`doors/openings${query({ from: asked.from, to: asked.to, limit: SHOWN, cursor: next })}`), (told) => told.openings.map((opening) => openingRow(opening, identities)), app);
    const csv = make("a", { class: "small-act", id: "csv", href: `/api/records.csv${query({ ...asked, bom: true })}`, download: "calls.csv" }, text("admin.records.csv"));
    return [
      filter(this, identities, app),
      make("section", {}, make("div", { class: "head" }, make("h2", {}, text("admin.records.calls")), csv), calls),
      make("section", {}, make("h2", {}, text("admin.records.quality")), plots(points, identities)),
      make("section", {}, make("h2", {}, text("admin.records.doors")), openings),
    ];
  },
};

// Days are those of who looks at the page; the last day belongs to it.
function askedFor({ from, to, party, outcome }) {
  const midnight = (day, more) => {
    const [year, month, date] = day.split("-").map(Number);
    return new Date(year, month - 1, date + more).getTime() / 1000;
  };
  return { from: from && midnight(from, 0), to: to && midnight(to, 1), party, outcome };
}

function filter(view, identities, app) {
  const { wanted } = view;
  const anybody = [["", text("admin.records.anybody")], ...identities.map(({ id, name }) => [id, name])];
  const any = [["", text("admin.records.any")], ...OUTCOMES.map((one) => [one, text(`admin.outcome.${one}`)])];
  const onsubmit = (event) => {
    event.preventDefault();
    view.wanted = valuesOf(event.target);
    app.reload();
  };
  return make("form", { class: "card padded grid", onsubmit },
    field(text("admin.records.from"), input("from", { type: "date", value: wanted.from })),
    field(text("admin.records.to"), input("to", { type: "date", value: wanted.to })),
    field(text("admin.records.party"), choice("party", anybody, wanted.party)),
    field(text("admin.records.outcome"), choice("outcome", any, wanted.outcome)),
    make("button", { type: "submit", class: "wide go", data: { key: "filter" } }, text("admin.act.show")));
}

// A list that goes on as long as the hub has more of it.
function pages(id, first, next, rowsOf, app) {
  const list = make("ol", { class: "card rows", id }, rowsOf(first));
  if (!list.children.length) return make("p", { class: "none", id }, text(`admin.none.${id}`));
  let { cursor } = first;
  const more = button(text("admin.act.more"), async () => {
    await app.carryOut(async () => {
      const told = await next(cursor);
      list.append(...rowsOf(told));
      ({ cursor } = told);
      more.hidden = !cursor;
    }, { stays: true });
  }, { look: "wide", key: `more-${id}`, hidden: !cursor });
  return [list, more];
}

function callRow(record, identities) {
  const callee = nameIn(identities, record.calleeId ?? record.recipientId);
  const group = record.calleeId && record.calleeId !== record.recipientId ? ` (${nameIn(identities, record.recipientId)})` : "";
  const parts = [dayAndTime(record.createdAt), text(`admin.outcome.${record.outcome}`)];
  if (record.answeredAt) parts.push(clockTime(record.duration));
  if (record.reason !== record.outcome) parts.push(reasonWords(record.reason));
  // The caller's before the other's.
  const legs = [...(record.legs ?? [])].sort((one, other) => (other.identity === record.callerId) - (one.identity === record.callerId));
  const grades = legs.filter(({ metrics }) => metrics.mos).map(({ identity, metrics }) =>
    text("admin.records.heard", { name: nameIn(identities, identity), mos: metrics.mos.toFixed(1) }));
  const words = make("span", { class: "words" },
    make("span", { class: "name" }, `${nameIn(identities, record.callerId)} → ${callee}${group}`),
    make("span", { class: "sub" }, parts.join(" · ")), grades.length > 0 && make("span", { class: "sub" }, grades.join(" · ")));
  return make("li", { class: "row", data: { key: record.callId, missed: String(record.outcome !== "completed") } }, mark(record.outcome === "completed" ? "phone" : "missed"), words);
}

const reasonWords = (reason) => (hasText(`admin.reason.${reason}`) ? text(`admin.reason.${reason}`) : reason);

function openingRow(opening, identities) {
  const outcome = hasText(`admin.door.${opening.outcome}`) ? text(`admin.door.${opening.outcome}`) : opening.outcome;
  const words = make("span", { class: "words" },
    make("span", { class: "name" }, `${nameIn(identities, opening.who)} → ${nameIn(identities, opening.stationId)}`),
    make("span", { class: "sub" }, [dayAndTime(opening.at), outcome].join(" · ")));
  return make("li", { class: "row", data: { missed: String(opening.outcome !== "opened") } }, mark("key"), words);
}

function plots(points, identities) {
  if (!points.length) return make("p", { class: "none", id: "plots" }, text("admin.none.plots"));
  const nameOfIdentity = (id) => nameIn(identities, id);
  const colours = coloursOf(points);
  return [legend(colours, nameOfIdentity), make("div", { class: "plots", id: "plots" }, FIGURES.map((figure) => plot(points, figure, colours, nameOfIdentity)))];
}
