// Stations and residents: added, named, paired or invited, kept out, removed.

import { at, getFrom, patch, post, put, remove } from "./adminapi.js";
import { askFor, confirmed, tellIn } from "./admindialog.js";
import { button, byName, choice, field, head, iconOf, input, make, mark } from "./adminparts.js";
import { qrCode, shownName, tick, toCopy } from "./adminparts.js";
import { momentAhead, timeOfMinute } from "./adminwhen.js";
import { text } from "./texts.js";

const unfolded = new Set();

export const people = {
  name: "people",
  async load() {
    const [{ identities }, { pairings }] = await Promise.all([getFrom("admin/identities"), getFrom("admin/pairings")]);
    return { identities, pairings };
  },
  draw(told, app) {
    return [make("div", { class: "columns" }, ["station", "resident"].map((role) => listOf(role, told, app)))];
  },
};

function listOf(role, { identities, pairings }, app) {
  const names = new Map(identities.map(({ id, name }) => [id, name]));
  const own = identities.filter((entry) => entry.role === role).sort(byName);
  const rows = own.map((entry) => person(entry, pairings.find(({ station }) => station === entry.id), names, app));
  const add = button(text(`admin.add.${role}`), () => added(role, app), { key: `add-${role}` });
  const list = rows.length
    ? make("ul", { class: "card rows", id: `list-${role}` }, rows)
    : make("p", { class: "none" }, text(`admin.none.${role}`));
  return make("section", {}, head(text(`admin.people.${role}`), add), list);
}

function person(entry, pairing, names, app) {
  const { id } = entry;
  const state = stateOfEntry(entry, pairing, names).join(" · ");
  const words = make("span", { class: "words" }, shownName(entry), make("span", { class: "sub state" }, state));
  const top = make("summary", { class: "row", data: { key: `open-${id}` } }, mark(iconOf(entry.role)), words);
  const ontoggle = () => { if (details.open) unfolded.add(id); else unfolded.delete(id); };
  const open = unfolded.has(id);
  const details = make("details", { ontoggle, open }, top, make("div", { class: "acts" }, acts(entry, pairing, app)));
  return make("li", { data: { key: id, state: lamp(entry) } }, details);
}

function lamp(entry) {
  if (entry.banned) return "banned";
  return entry.devices ? "yes" : "off";
}

function stateOfEntry(entry, pairing, names) {
  const parts = [];
  const say = (word, values) => parts.push(text(`admin.is.${word}`, values));
  if (entry.banned) say("banned");
  if (entry.devices) say("connected");
  if (entry.role === "station") say(entry.hasToken ? "paired" : "unpaired");
  else say(entry.sessions ? "signedIn" : "signedOut", { number: entry.sessions });
  if (pairing) say("pairing", { when: momentAhead(pairing.expiresAt) });
  if (entry.isInvited) say("invited");
  if (entry.retiringUntil) say("retiring", { when: momentAhead(entry.retiringUntil) });
  const groups = entry.groups.map((id) => names.get(id) ?? id).sort();
  if (groups.length) say("in", { groups: groups.join(text("admin.comma")) });
  return [...parts, ...policyWords(entry.policy)];
}

// What of it differs from ringing always. A moment that is over differs no more.
export function policyWords({ doNotDisturbUntil, quietFromMin, quietToMin, busy }) {
  const parts = [];
  if (doNotDisturbUntil !== null && doNotDisturbUntil * 1000 > Date.now()) {
    parts.push(text("admin.is.undisturbed", { when: momentAhead(doNotDisturbUntil) }));
  }
  if (quietFromMin !== null) {
    parts.push(text("admin.is.quiet", { from: timeOfMinute(quietFromMin), to: timeOfMinute(quietToMin) }));
  }
  if (busy === "queue") parts.push(text("admin.is.queue"));
  return parts;
}

function acts(entry, pairing, app) {
  const { id, hasToken } = entry;
  const isStation = entry.role === "station";
  const act = (word, onclick, look = "small-act", words = word) =>
    button(text(`admin.act.${words}`), onclick, { look, key: `${word}-${id}` });
  const pair = () => paired(entry, false, app);
  const unpair = () => app.carryOut(() => remove(`admin/pairings/${at(id)}`), { told: text("admin.told.withdrawn") });
  const own = isStation
    ? [act("pair", pair, hasToken ? "small-act" : "small-act go", hasToken ? "pairAgain" : "pair"),
      act("digits", () => paired(entry, true, app)),
      pairing && act("unpair", unpair),
      hasToken && act("rotate", () => rotated(entry, app))]
    : [act("invite", () => invited(entry, app), entry.sessions ? "small-act" : "small-act go")];
  const isKnown = hasToken || entry.sessions || entry.isInvited;
  return [...own,
    act("rename", () => renamed(entry, app)),
    act("policy", () => changedPolicy(entry, app)),
    isKnown && act("revoke", () => revoked(entry, app), "small-act", isStation ? "revoke" : "revokeSessions"),
    act(entry.banned ? "unban" : "ban", () => banned(entry, app)),
    act("remove", () => removed(entry, app), "small-act grave")];
}

async function added(role, app) {
  const content = [
    field(text("admin.field.id"), input("id", { required: true, maxlength: 64 }), text("admin.field.idHint")),
    field(text("admin.field.name"), input("name", { maxlength: 64 }), text("admin.field.nameHint")),
  ];
  const send = ({ id, name }) => post("admin/identities", { id: id.trim(), role, name: name.trim() || null });
  const entry = await askFor({ title: text(`admin.add.${role}`), content, act: text("admin.act.add"), send });
  if (!entry) return;
  unfolded.add(entry.id);
  await app.reload();
  if (role === "station") await paired(entry, false, app);
  else await invited(entry, app);
}

// ------------------------------------------------------------------------------------------------- ways to get in

// The code is shown once: what is put away must be made anew.
async function paired(entry, typed, app) {
  await app.carryOut(async () => {
    const made = await post("admin/pairings", { station: entry.id, typed });
    const until = make("p", { class: "small" }, text("admin.pair.until", { when: momentAhead(made.expiresAt) }));
    const way = typed ? byDigits(made) : byLine(made, entry.name);
    await tellIn(text("admin.pair.title", { name: entry.name }), ...way, until);
  });
}

// In two halves, as people read them to each other.
function byDigits({ code, url, fingerprint }) {
  const half = code.length / 2;
  const digits = [code.slice(0, half), code.slice(half)].map((part) => make("span", {}, part));
  return [
    make("p", {}, text("admin.pair.digitsHow")), make("p", { class: "digits" }, digits),
    toCopy(url, text("admin.pair.url")), toCopy(fingerprint, text("admin.pair.fingerprint")),
  ];
}

function byLine({ svg, payload }, name) {
  const qr = qrCode(svg, text("admin.pair.qr", { name }));
  return [make("p", {}, text("admin.pair.how")), qr, toCopy(payload, text("admin.pair.line"), true)];
}

async function invited(entry, app) {
  await app.carryOut(async () => {
    const made = await post(`admin/identities/${at(entry.id)}/invitation`);
    await showLink(text("admin.invite.title", { name: entry.name }), text("admin.invite.how"), made);
  });
}

export function showLink(title, how, made) {
  const until = make("p", { class: "small" }, text("admin.link.until", { when: momentAhead(made.expiresAt) }));
  return tellIn(title, make("p", {}, how), qrCode(made.svg, title), toCopy(made.link, text("admin.link.link")), until);
}

async function rotated(entry, app) {
  const content = [make("p", {}, text("admin.rotate.how")), tick("now", text("admin.rotate.now"), false)];
  const send = ({ now }) => post(`admin/identities/${at(entry.id)}/rotate`, { now: Boolean(now) });
  const title = text("admin.rotate.title", { name: entry.name });
  const made = await askFor({ title, content, act: text("admin.act.rotate"), send });
  if (!made) return;
  const former = made.retiringUntil
    ? text("admin.rotate.until", { when: momentAhead(made.retiringUntil) })
    : text("admin.rotate.ended");
  await tellIn(title, toCopy(made.token, text("admin.rotate.token")), make("p", {}, former));
  await app.reload();
}

async function revoked({ id, role, name }, app) {
  const words = text(`admin.revoke.${role}`);
  const send = () => post(`admin/identities/${at(id)}/revoke`);
  const isStation = role === "station";
  const title = text(isStation ? "admin.revoke.title" : "admin.revoke.titleOut", { name });
  const act = text(isStation ? "admin.act.revoke" : "admin.act.signOut");
  if (await confirmed(title, words, act, send)) await app.changed(text(`admin.told.revoked.${role}`, { name }));
}

async function banned({ id, name, banned: isBanned }, app) {
  const send = () => patch(`admin/identities/${at(id)}`, { banned: !isBanned });
  if (isBanned) {
    await app.carryOut(send, { told: text("admin.told.unbanned", { name }) });
  } else if (await confirmed(text("admin.ban.title", { name }), text("admin.ban.words"), text("admin.act.ban"), send)) {
    await app.changed(text("admin.told.banned", { name }));
  }
}

// ------------------------------------------------------------------------------------------------ of groups, too

export async function renamed(entry, app) {
  const name = input("name", { maxlength: 64, value: entry.name === entry.id ? "" : entry.name });
  const content = [field(text("admin.field.name"), name, text("admin.field.nameHint"))];
  const send = (values) => patch(`admin/identities/${at(entry.id)}`, { name: values.name.trim() || null });
  const title = text("admin.rename.title", { name: entry.name });
  if (await askFor({ title, content, act: text("admin.act.save"), send })) await app.changed();
}

export async function changedPolicy({ id, name, policy }, app) {
  const until = input("until", { type: "datetime-local", value: localTime(policy.doNotDisturbUntil) });
  const time = (of, minute) => input(of, { type: "time", value: minute === null ? "" : timeOfMinute(minute) });
  const ways = [["refuse", text("admin.policy.refuse")], ["queue", text("admin.policy.queue")]];
  const content = [
    field(text("admin.policy.until"), until, text("admin.policy.untilHint")),
    make("div", { class: "two" },
      field(text("admin.policy.from"), time("from", policy.quietFromMin)),
      field(text("admin.policy.to"), time("to", policy.quietToMin))),
    make("p", { class: "small" }, text("admin.policy.hoursHint")),
    field(text("admin.policy.busy"), choice("busy", ways, policy.busy)),
  ];
  const send = (values) => put(`admin/identities/${at(id)}/policy`, policyOf(values));
  const title = text("admin.policy.title", { name });
  if (await askFor({ title, content, act: text("admin.act.save"), send })) await app.changed();
}

const policyOf = ({ until, from, to, busy }) => ({
  doNotDisturbUntil: until ? new Date(until).getTime() / 1000 : null,
  quietFromMin: minuteOf(from),
  quietToMin: minuteOf(to),
  busy,
});

export async function removed({ id, role, name }, app) {
  const send = () => remove(`admin/identities/${at(id)}`);
  const title = text("admin.remove.title", { name });
  if (!(await confirmed(title, text(`admin.remove.${role}`), text("admin.act.remove"), send))) return;
  await app.changed(text("admin.told.removed", { name }));
}

// What an <input type="time"> holds, as a minute of the day.
function minuteOf(time) {
  if (!time) return null;
  const [hour, minute] = time.split(":").map(Number);
  return hour * 60 + minute;
}

// A moment as an <input type="datetime-local"> has it: of who looks at the page. One that is over is none.
function localTime(moment) {
  if (moment === null || moment * 1000 < Date.now()) return "";
  const here = new Date(moment * 1000);
  return new Date(here.getTime() - here.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}
