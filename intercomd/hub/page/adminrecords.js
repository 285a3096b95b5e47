// Calls that were, how they were heard, and who had which door opened.

import { getFrom, query, reasonOf } from "./adminapi.js";
import { valuesOf } from "./admindialog.js";
import { nameIn } from "./admingroups.js";
import { button, byName, choice, field, head, input, make, mark } from "./adminparts.js";
import { coloursOf, legend, plot } from "./adminplot.js";
import { clockTime, dayAndTime, hasText, text } from "./texts.js";

const OUTCOMES = ["completed", "missed", "rejected"];
// What nobody chose: a call that ended so tells of something to be mended.
const FAULTS = ["caller_gone", "peer_lost", "media_failed", "card_missing", "card_denied", "network", "failed"];
const SHOWN = 20;
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
      getFrom("admin/identities"), callsOf(asked), getFrom(`records/quality${query({ ...asked, limit: POINTS })}`),
      openingsOf(asked),
    ]);
    return { asked, identities: identities.sort(byName), page, points: quality.points, doors };
  },
  draw({ asked, identities, page, points, doors }, app) {
    const callRows = (told) => told.records.map((record) => callRow(record, identities));
    const doorRows = (told) => told.openings.map((opening) => openingRow(opening, identities));
    const calls = pages("calls", page, (next) => callsOf(asked, next), callRows, app);
    const openings = pages("openings", doors, (next) => openingsOf(asked, next), doorRows, app);
    const csv = sheet(`/api/records.csv${query({ ...asked, bom: true })}`, app);
    const sections = [
      make("section", {}, head(text("admin.records.calls"), csv), calls),
      make("div", { class: "beside-calls" },
        make("section", {}, head(text("admin.records.quality")), plots(points, identities)),
        make("section", {}, head(text("admin.records.doors")), openings)),
    ];
    return [filter(this, identities, app), make("div", { class: "columns wide-first" }, sections)];
  },
};

// A link, for a browser saves what is long without holding it. It saves a refusal as well, under the sheet's name: so
// the hub is asked first whether it still knows who asks.
function sheet(href, app) {
  const link = make("a", { class: "small-act", id: "csv", href, download: "calls.csv" }, text("admin.records.csv"));
  let isKnown = false;
  link.addEventListener("click", async (event) => {
    if (isKnown) return;
    event.preventDefault();
    try {
      await getFrom("records?limit=1");
    } catch (error) {
      if (error.status !== 401) app.tell(reasonOf(error));
      return;
    }
    isKnown = true;
    link.click();
    isKnown = false;
  });
  return link;
}

const callsOf = (asked, cursor) => getFrom(`records${query({ ...asked, limit: SHOWN, cursor })}`);

const openingsOf = ({ from, to }, cursor) => getFrom(`doors/openings${query({ from, to, limit: SHOWN, cursor })}`);

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
  return make("form", { class: "card padded form four-fields dense", onsubmit },
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
  const goOn = async () => {
    const told = await next(cursor);
    const rows = rowsOf(told);
    list.append(...rows);
    ({ cursor } = told);
    more.hidden = !cursor;
    app.tell(text("admin.told.more", { number: rows.length }));
    // The button is gone with the last page: the focus goes on with what it brought.
    if (more.hidden && rows.length) { rows[0].tabIndex = -1; rows[0].focus(); }
  };
  const onclick = async () => {
    more.disabled = true;
    await app.carryOut(goOn, { stays: true });
    more.disabled = false;
  };
  const more = button(text("admin.act.more"), onclick, { look: "wide", key: `more-${id}`, hidden: !cursor });
  return [list, more];
}

function callRow(record, identities) {
  const callee = nameIn(identities, record.calleeId ?? record.recipientId);
  const isByGroup = record.calleeId && record.calleeId !== record.recipientId;
  const group = isByGroup ? text("admin.records.by", { group: nameIn(identities, record.recipientId) }) : "";
  const parts = [dayAndTime(record.createdAt), text(`admin.outcome.${record.outcome}`)];
  if (record.answeredAt) parts.push(clockTime(record.duration));
  if (record.reason !== record.outcome) parts.push(reasonWords(record.reason));
  const heard = heardWords(record, identities);
  const words = make("span", { class: "words" },
    make("span", { class: "name" }, `${nameIn(identities, record.callerId)} → ${callee}${group}`),
    make("span", { class: "sub" }, parts.join(" · ")), heard && make("span", { class: "sub" }, heard));
  const isTalked = record.outcome === "completed";
  const data = { key: record.callId, missed: String(FAULTS.includes(record.reason)), outcome: record.outcome };
  return make("li", { class: "row", data }, mark(isTalked ? "phone" : "missed"), words);
}

// The caller's figure before the other's.
function heardWords({ legs, callerId }, identities) {
  const ordered = [...(legs ?? [])].sort((one, other) => (other.identity === callerId) - (one.identity === callerId));
  const grades = ordered.filter(({ metrics }) => metrics.mos)
    .map(({ identity, metrics }) => `${nameIn(identities, identity)} ${metrics.mos.toFixed(1)}`);
  return grades.length > 0 && text("admin.records.heard", { grades: grades.join(text("admin.comma")) });
}

const reasonWords = (reason) => (hasText(`admin.reason.${reason}`) ? text(`admin.reason.${reason}`) : reason);

function openingRow(opening, identities) {
  const key = `admin.door.${opening.outcome}`;
  const outcome = hasText(key) ? text(key) : opening.outcome;
  const words = make("span", { class: "words" },
    make("span", { class: "name" }, `${nameIn(identities, opening.who)} → ${nameIn(identities, opening.stationId)}`),
    make("span", { class: "sub" }, [dayAndTime(opening.at), outcome].join(" · ")));
  const data = { key: opening.commandId, missed: String(opening.outcome !== "opened") };
  return make("li", { class: "row", data }, mark("key"), words);
}

function plots(points, identities) {
  if (!points.length) return make("p", { class: "none", id: "plots" }, text("admin.none.plots"));
  const nameOfIdentity = (id) => nameIn(identities, id);
  const colours = coloursOf(points, nameOfIdentity);
  const drawn = FIGURES.map((figure) => plot(points, figure, colours, nameOfIdentity));
  return [legend(colours, nameOfIdentity), make("div", { class: "plots", id: "plots" }, drawn)];
}
