// Groups: who rings, in which order, how long each, and who after them.

import { at, getFrom, put } from "./adminapi.js";
import { askFor } from "./admindialog.js";
import { button, choice, field, input, make, mark } from "./adminparts.js";
import { changedPolicy, removed } from "./adminpeople.js";
import { text } from "./texts.js";

export const groups = {
  name: "groups",
  async load() {
    const [{ identities }, told] = await Promise.all([getFrom("admin/identities"), getFrom("admin/groups")]);
    return { identities, groups: told.groups };
  },
  draw({ identities, groups: all }, app) {
    const rows = all.map((group) => groupRow(group, identities, app));
    const add = button(text("admin.add.group"), () => edited(null, identities, app), { key: "add-group" });
    const head = make("div", { class: "head" }, make("p", { class: "lead" }, text("admin.groups.how")), add);
    return [head, rows.length ? make("ul", { class: "card rows", id: "groups" }, rows) : make("p", { class: "none" }, text("admin.none.group"))];
  },
};

function groupRow(group, identities, app) {
  const known = identities.find(({ id }) => id === group.id);
  const edit = button(text("admin.act.change"), () => edited(group, identities, app), { key: `change-${group.id}`, look: "small-act go" });
  const policy = button(text("admin.act.policy"), () => changedPolicy(known, app), { key: `policy-${group.id}` });
  const gone = button(text("admin.act.remove"), () => removed(known, app), { key: `remove-${group.id}`, look: "small-act grave" });
  const words = make("span", { class: "words" }, make("span", { class: "name" }, group.name), make("span", { class: "sub" }, ringing(group, identities)));
  const head = make("div", { class: "row" }, mark("group"), words);
  return make("li", { class: "stacked", data: { key: group.id } }, head, make("div", { class: "acts" }, edit, known && policy, known && gone));
}

function ringing(group, identities) {
  const names = group.members.map((id) => nameIn(identities, id));
  if (!names.length) return text("admin.group.empty");
  const way = group.mode === "sequence"
    ? text("admin.group.sequence", { names: names.join(" → "), seconds: group.eachS })
    : text("admin.group.all", { names: names.join(", ") });
  return group.escalateTo ? `${way} ${text("admin.group.then", { name: nameIn(identities, group.escalateTo) })}` : way;
}

export const nameIn = (identities, id) => identities.find((entry) => entry.id === id)?.name ?? id;

async function edited(group, identities, app) {
  const now = group ?? { id: "", members: [], mode: "all", eachS: 30, escalateTo: null };
  const members = [...now.members];
  const candidates = identities.filter(({ role }) => role !== "group");
  const others = identities.filter(({ id }) => id !== now.id).map(({ id, name }) => [id, name]);
  const named = !group && field(text("admin.field.id"), input("id", { required: true, maxlength: 64 }), text("admin.field.idHint"));
  const content = [
    named,
    memberList(members, candidates),
    field(text("admin.group.mode"), choice("mode", [["all", text("admin.group.modeAll")], ["sequence", text("admin.group.modeSequence")]], now.mode)),
    field(text("admin.group.each"), input("each", { type: "number", min: 5, max: 600, required: true, value: now.eachS }), text("admin.group.eachHint")),
    field(text("admin.group.escalate"), choice("escalate", [["", text("admin.group.nobody")], ...others], now.escalateTo ?? "")),
  ];
  const send = ({ id, mode, each, escalate }) =>
    put(`admin/groups/${at(group ? now.id : id.trim())}`, { members, mode, eachS: Number(each), escalateTo: escalate || null });
  const title = group ? text("admin.group.title", { name: group.name }) : text("admin.add.group");
  if (await askFor({ title, content, act: text("admin.act.save"), send })) await app.reload();
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
    return make("li", {}, make("span", { class: "words" }, name),
      button(text("admin.group.up", { name }), () => move(place, -1), { look: "round", icon: "up", key: `up-${id}`, disabled: place === 0 }),
      button(text("admin.group.down", { name }), () => move(place, 1), { look: "round", icon: "below", key: `down-${id}`, disabled: place === members.length - 1 }),
      button(text("admin.group.drop", { name }), () => drop(place), { look: "round", icon: "close" }));
  };
  const redraw = (focus) => {
    list.replaceChildren(...members.map(row));
    const left = candidates.filter(({ id }) => !members.includes(id));
    adder.replaceChildren(make("option", { value: "" }, text("admin.group.choose")), ...left.map(({ id, name }) => make("option", { value: id }, name)));
    const wanted = Array.from(list.querySelectorAll("button")).find((one) => one.dataset.key === focus);
    // At the end of the list the button of that direction is off: the other one of the row takes the focus.
    if (wanted) (wanted.disabled ? wanted.parentElement.querySelector("button:enabled") : wanted).focus();
  };
  adder.onchange = () => { if (adder.value) { members.push(adder.value); redraw(); adder.focus(); } };
  redraw();
  return make("fieldset", {}, make("legend", {}, text("admin.group.members")), list, said, field(text("admin.group.add"), adder));
}
