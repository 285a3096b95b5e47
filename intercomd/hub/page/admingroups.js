// Groups: who rings, in which order, how long each, and who after them.

import { at, getFrom, patch, put } from "./adminapi.js";
import { askFor } from "./admindialog.js";
import { button, choice, field, input, make, mark, shownName } from "./adminparts.js";
import { changedPolicy, policyWords, removed, renamed } from "./adminpeople.js";
import { text } from "./texts.js";

const NEW = { id: "", members: [], mode: "all", eachS: 30, escalateTo: null };

export const groups = {
  name: "groups",
  async load() {
    const [{ identities }, told] = await Promise.all([getFrom("admin/identities"), getFrom("admin/groups")]);
    return { identities, groups: told.groups };
  },
  draw({ identities, groups: all }, app) {
    const rows = all.map((group) => groupRow(group, identities, app));
    const add = button(text("admin.add.group"), () => edited(null, identities, app), { key: "add-group" });
    const list = rows.length
      ? make("ul", { class: "card rows", id: "groups" }, rows)
      : make("p", { class: "none" }, text("admin.none.group"));
    return [make("div", { class: "head" }, make("p", { class: "lead" }, text("admin.groups.how")), add), list];
  },
};

function groupRow(group, identities, app) {
  const { id } = group;
  const known = identities.find((entry) => entry.id === id);
  const act = (word, onclick, look = "small-act") =>
    button(text(`admin.act.${word}`), onclick, { key: `${word}-${id}`, look });
  const acts = [
    act("change", () => edited(group, identities, app), "small-act go"),
    known && act("rename", () => renamed(known, app)),
    known && act("policy", () => changedPolicy(known, app)),
    known && act("remove", () => removed(known, app), "small-act grave"),
  ];
  const policy = known ? policyWords(known.policy) : [];
  const words = make("span", { class: "words" },
    shownName(group),
    make("span", { class: "sub" }, ringing(group, identities)),
    policy.length > 0 && make("span", { class: "sub" }, policy.join(" · ")));
  const top = make("div", { class: "row" }, mark("group"), words);
  return make("li", { class: "stacked", data: { key: id } }, top, make("div", { class: "acts" }, acts));
}

function ringing(group, identities) {
  const names = group.members.map((id) => nameIn(identities, id));
  if (!names.length) return text("admin.group.empty");
  const way = group.mode === "sequence"
    ? text("admin.group.sequence", { names: names.join(" → "), seconds: group.eachS })
    : text("admin.group.all", { names: names.join(text("admin.comma")) });
  return group.escalateTo ? way + text("admin.group.then", { name: nameIn(identities, group.escalateTo) }) : way;
}

export const nameIn = (identities, id) => identities.find((entry) => entry.id === id)?.name ?? id;

async function edited(group, identities, app) {
  const now = group ?? NEW;
  const members = [...now.members];
  const candidates = identities.filter(({ role }) => role !== "group");
  const others = identities.filter(({ id }) => id !== now.id).map(({ id, name }) => [id, name]);
  const named = !group && make("div", { class: "two" },
    field(text("admin.field.id"), input("id", { required: true, maxlength: 64 }), text("admin.field.idHint")),
    field(text("admin.field.name"), input("name", { maxlength: 64 }), text("admin.field.nameHint")));
  const escalate = choice("escalate", [["", text("admin.group.nobody")], ...others], now.escalateTo ?? "");
  const content = [
    named, memberList(members, candidates), wayToRing(now), field(text("admin.group.escalate"), escalate),
  ];
  const send = (values) => sent(group ? now.id : values.id.trim(), { each: now.eachS, ...values }, members);
  const title = group ? text("admin.group.title", { name: group.name }) : text("admin.add.group");
  if (await askFor({ title, content, act: text("admin.act.save"), send })) await app.changed();
}

async function sent(id, { name, mode, each, escalate }, members) {
  const form = { members, mode, eachS: Number(each), escalateTo: escalate || null };
  await put(`admin/groups/${at(id)}`, form);
  if (name?.trim()) await patch(`admin/identities/${at(id)}`, { name: name.trim() });
}

// How long each rings counts only where they ring in their order.
function wayToRing(now) {
  const ways = [["all", text("admin.group.modeAll")], ["sequence", text("admin.group.modeSequence")]];
  const mode = choice("mode", ways, now.mode);
  const seconds = input("each", { type: "number", min: 5, max: 600, required: true, value: now.eachS });
  const each = field(text("admin.group.each"), seconds, text("admin.group.eachHint"));
  // Off where it is not seen: what nobody sees must not keep the form from being sent.
  mode.onchange = () => { each.hidden = seconds.disabled = mode.value !== "sequence"; };
  mode.onchange();
  return make("div", { class: "two uneven" }, field(text("admin.group.mode"), mode), each);
}

// In the order in which they ring. `members` is changed in place.
function memberList(members, candidates) {
  const list = make("ol", { class: "members" });
  const said = make("p", { class: "unseen", role: "status" });
  const adder = choice("", [], "");
  const move = (place, by) => {
    const [id] = members.splice(place, 1);
    members.splice(place + by, 0, id);
    redraw(`${by < 0 ? "up" : "down"}-${id}`);
    said.textContent = text("admin.group.moved", { name: nameIn(candidates, id), place: place + by + 1 });
  };
  const drop = (place) => { members.splice(place, 1); redraw(); adder.focus(); };
  const row = (id, place) => {
    const name = nameIn(candidates, id);
    const arrow = (word, icon, by, disabled) => {
      const given = { look: "round", icon, key: `${word}-${id}`, disabled };
      return button(text(`admin.group.${word}`, { name }), () => move(place, by), given);
    };
    return make("li", {}, make("span", { class: "words" }, name),
      arrow("up", "up", -1, place === 0),
      arrow("down", "below", 1, place === members.length - 1),
      button(text("admin.group.drop", { name }), () => drop(place), { look: "round", icon: "close" }));
  };
  const redraw = (focus) => {
    list.replaceChildren(...members.map(row));
    const left = candidates.filter(({ id }) => !members.includes(id));
    const options = left.map(({ id, name }) => make("option", { value: id }, name));
    adder.replaceChildren(make("option", { value: "" }, text("admin.group.choose")), ...options);
    const wanted = Array.from(list.querySelectorAll("button")).find((one) => one.dataset.key === focus);
    // At the end of the list the button of that direction is off: the other one of the row takes the focus.
    if (wanted) (wanted.disabled ? wanted.parentElement.querySelector("button:enabled") : wanted).focus();
  };
  adder.onchange = () => { if (adder.value) { members.push(adder.value); redraw(); adder.focus(); } };
  redraw();
  const legend = make("legend", {}, text("admin.group.members"));
  return make("fieldset", {}, legend, list, said, field(text("admin.group.add"), adder));
}
