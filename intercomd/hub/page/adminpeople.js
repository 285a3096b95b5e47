// Stations and residents: added, named, paired or invited, kept out, removed.

import { at, getFrom, patch, post, put, remove } from "./adminapi.js";
import { askFor, confirmed, tellIn } from "./admindialog.js";
import { button, choice, field, iconOf, input, make, mark, qrCode, tick, toCopy } from "./adminparts.js";
import { dayAndTime, text } from "./texts.js";

const MINUTES = 60;
const unfolded = new Set();

export const people = {
  name: "people",
  async load() {
    const [{ identities }, { pairings }] = await Promise.all([getFrom("admin/identities"), getFrom("admin/pairings")]);
    return { identities, pairings };
  },
  draw({ identities, pairings }, app) {
    return ["station", "resident"].flatMap((role) => {
      const own = identities.filter((entry) => entry.role === role);
      const rows = own.map((entry) => person(entry, pairings.find(({ station }) => station === entry.id), app));
      const list = make("ul", { class: "card rows", id: `list-${role}` }, rows);
      const add = button(text(`admin.add.${role}`), () => added(role, app), { key: `add-${role}` });
      const head = make("div", { class: "head" }, make("h2", {}, text(`admin.people.${role}`)), add);
      return make("section", {}, head, rows.length ? list : make("p", { class: "none" }, text(`admin.none.${role}`)));
    });
  },
};

function person(entry, pairing, app) {
  const name = make("span", { class: "name" }, entry.name, entry.name !== entry.id && make("span", { class: "id" }, ` ${entry.id}`));
  const words = make("span", { class: "words" }, name, make("span", { class: "sub state" }, stateOfEntry(entry, pairing)));
  const head = make("summary", { class: "row", data: { key: `open-${entry.id}` } }, mark(iconOf(entry.role)), words);
  const ontoggle = () => { if (details.open) unfolded.add(entry.id); else unfolded.delete(entry.id); };
  const details = make("details", { ontoggle, open: unfolded.has(entry.id) }, head, make("div", { class: "acts" }, acts(entry, pairing, app)));
  return make("li", { data: { key: entry.id, state: lamp(entry) } }, details);
}

function lamp(entry) {
  if (entry.banned) return "banned";
  return entry.devices ? "yes" : "away";
}

function stateOfEntry(entry, pairing) {
  const parts = [];
  if (entry.banned) parts.push(text("admin.is.banned"));
  if (entry.devices) parts.push(text("admin.is.connected"));
  if (entry.role === "station") parts.push(text(entry.hasToken ? "admin.is.paired" : "admin.is.unpaired"));
  else parts.push(text(entry.sessions ? "admin.is.signedIn" : "admin.is.signedOut", { number: entry.sessions }));
  if (pairing) parts.push(text("admin.is.pairing", { when: dayAndTime(pairing.expiresAt) }));
  if (entry.isInvited) parts.push(text("admin.is.invited"));
  if (entry.retiringUntil) parts.push(text("admin.is.retiring", { when: dayAndTime(entry.retiringUntil) }));
  if (entry.groups.length) parts.push(text("admin.is.in", { groups: entry.groups.join(", ") }));
  return parts.join(" · ");
}

function acts(entry, pairing, app) {
  const isStation = entry.role === "station";
  const act = (word, onclick, look = "small-act") => button(text(`admin.act.${word}`), onclick, { look, key: `${word}-${entry.id}` });
  const own = isStation
    ? [act("pair", () => paired(entry, false, app), "small-act go"), act("digits", () => paired(entry, true, app)),
      pairing && act("unpair", () => app.carryOut(() => remove(`admin/pairings/${at(entry.id)}`))),
      entry.hasToken && act("rotate", () => rotated(entry, app))]
    : [act("invite", () => invited(entry, app), "small-act go")];
  const isKnown = entry.hasToken || entry.sessions || entry.isInvited;
  return [...own,
    act("rename", () => renamed(entry, app)),
    act("policy", () => changedPolicy(entry, app)),
    isKnown && act(isStation ? "revoke" : "revokeSessions", () => revoked(entry, app)),
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

// The code is shown once: what is put away must be made anew.
async function paired(entry, typed, app) {
  await app.carryOut(async () => {
    const made = await post("admin/pairings", { station: entry.id, typed });
    const until = make("p", { class: "small" }, text("admin.pair.until", { when: dayAndTime(made.expiresAt) }));
    const seen = made.fingerprint
      ? toCopy(made.fingerprint, text("admin.pair.fingerprint"))
      : make("p", { class: "small" }, text("admin.pair.noFingerprint"));
    const way = typed
      ? [make("p", {}, text("admin.pair.digitsHow")), make("p", { class: "digits" }, made.code), toCopy(made.url, text("admin.pair.url"))]
      : [make("p", {}, text("admin.pair.how")), qrCode(made.svg, text("admin.pair.qr", { name: entry.name })),
        toCopy(made.payload, text("admin.pair.line"))];
    await tellIn(text("admin.pair.title", { name: entry.name }), ...way, seen, until);
  });
}

const invited = (entry, app) =>
  app.carryOut(async () => showLink(text("admin.invite.title", { name: entry.name }), text("admin.invite.how"), await post(`admin/identities/${at(entry.id)}/invitation`)));

export function showLink(title, how, made) {
  const until = make("p", { class: "small" }, text("admin.link.until", { when: dayAndTime(made.expiresAt) }));
  return tellIn(title, make("p", {}, how), qrCode(made.svg, title), toCopy(made.link, text("admin.link.link")), until);
}

async function rotated(entry, app) {
  const content = [make("p", {}, text("admin.rotate.how")), tick("now", text("admin.rotate.now"), false)];
  const path = `admin/identities/${at(entry.id)}/rotate`;
  const send = ({ now }) => post(path, { now: Boolean(now) });
  const made = await askFor({ title: text("admin.rotate.title", { name: entry.name }), content, act: text("admin.act.rotate"), send });
  if (!made) return;
  const former = made.retiringUntil
    ? text("admin.rotate.until", { when: dayAndTime(made.retiringUntil) })
    : text("admin.rotate.ended");
  await tellIn(text("admin.rotate.title", { name: entry.name }), toCopy(made.token, text("admin.rotate.token")), make("p", {}, former));
  await app.reload();
}

async function renamed(entry, app) {
  const name = input("name", { maxlength: 64, value: entry.name === entry.id ? "" : entry.name });
  const content = [field(text("admin.field.name"), name, text("admin.field.nameHint"))];
  const send = (values) => patch(`admin/identities/${at(entry.id)}`, { name: values.name.trim() || null });
  if (await askFor({ title: text("admin.rename.title", { name: entry.name }), content, act: text("admin.act.save"), send })) await app.reload();
}

export async function changedPolicy(entry, app) {
  const { policy } = entry;
  const content = [
    field(text("admin.policy.until"), input("until", { type: "datetime-local", value: localTime(policy.doNotDisturbUntil) }), text("admin.policy.untilHint")),
    make("div", { class: "two" },
      field(text("admin.policy.from"), input("from", { type: "time", value: hours(policy.quietFromMin) })),
      field(text("admin.policy.to"), input("to", { type: "time", value: hours(policy.quietToMin) }))),
    make("p", { class: "small" }, text("admin.policy.hoursHint")),
    field(text("admin.policy.busy"), choice("busy", [["refuse", text("admin.policy.refuse")], ["queue", text("admin.policy.queue")]], policy.busy)),
  ];
  const send = ({ until, from, to, busy }) => put(`admin/identities/${at(entry.id)}/policy`, {
    doNotDisturbUntil: until ? new Date(until).getTime() / 1000 : null, quietFromMin: minutes(from), quietToMin: minutes(to), busy,
  });
  if (await askFor({ title: text("admin.policy.title", { name: entry.name }), content, act: text("admin.act.save"), send })) await app.reload();
}

async function revoked(entry, app) {
  const words = text(entry.role === "station" ? "admin.revoke.station" : "admin.revoke.resident", { name: entry.name });
  const send = () => post(`admin/identities/${at(entry.id)}/revoke`);
  if (await confirmed(text("admin.revoke.title", { name: entry.name }), words, text("admin.act.revoke"), send)) await app.reload();
}

async function banned(entry, app) {
  const send = () => patch(`admin/identities/${at(entry.id)}`, { banned: !entry.banned });
  if (entry.banned) await app.carryOut(send);
  else if (await confirmed(text("admin.ban.title", { name: entry.name }), text("admin.ban.words"), text("admin.act.ban"), send)) await app.reload();
}

export async function removed(entry, app) {
  const send = () => remove(`admin/identities/${at(entry.id)}`);
  const title = text("admin.remove.title", { name: entry.name });
  if (await confirmed(title, text(`admin.remove.${entry.role}`), text("admin.act.remove"), send)) await app.reload();
}

// Minutes of the day as an <input type="time"> has them, and back.
const hours = (minute) =>
  minute === null ? "" : [Math.floor(minute / MINUTES), minute % MINUTES].map((part) => String(part).padStart(2, "0")).join(":");

function minutes(time) {
  if (!time) return null;
  const [hour, minute] = time.split(":").map(Number);
  return hour * MINUTES + minute;
}

function localTime(moment) {
  if (moment === null) return "";
  const here = new Date(moment * 1000);
  return new Date(here.getTime() - here.getTimezoneOffset() * MINUTES * 1000).toISOString().slice(0, 16);
}
