// Who may call whom, and who may open which door.

import { getFrom, put, query, remove } from "./adminapi.js";
import { confirmed, valuesOf } from "./admindialog.js";
import { button, byName, choice, field, head, make, mark } from "./adminparts.js";
import { nameIn } from "./admingroups.js";
import { text } from "./texts.js";

const EVERYBODY = "*";
const ACTIONS = ["call", "door", "door_in_call"];

export const rights = {
  name: "rights",
  async load() {
    const [{ identities }, told] = await Promise.all([getFrom("admin/identities"), getFrom("admin/rights")]);
    return { identities: identities.sort(byName), rights: told.rights };
  },
  draw({ identities, rights: rules }, app) {
    const rows = rules.map((rule) => rightRow(rule, identities, app));
    const list = rows.length
      ? make("ul", { class: "card rows", id: "rights" }, rows)
      : make("p", { class: "none" }, text("admin.none.right"));
    return [
      make("p", { class: "lead" }, text("admin.rights.how")),
      make("section", {}, head(text("admin.rights.new")), rightForm(identities, app)),
      make("section", {}, head(text("admin.rights.list")), list),
    ];
  },
};

const subjectName = (identities, id) => (id === EVERYBODY ? text("admin.rights.everybody") : nameIn(identities, id));

function ruleWords({ subject, action, object, allowed }, identities) {
  const who = subject === EVERYBODY ? (allowed ? "everybodyMay" : "nobodyMay") : (allowed ? "may" : "mayNot");
  const isEveryDoor = object === EVERYBODY && action !== "call";
  const what = isEveryDoor ? text("admin.rights.everyDoor") : subjectName(identities, object);
  return text(`admin.rights.${action}.${who}`, { subject: nameIn(identities, subject), object: what });
}

function rightRow(rule, identities, app) {
  const { subject, action, object } = rule;
  const words = ruleWords(rule, identities);
  const send = () => remove(`admin/rights${query({ subject, action, object })}`);
  const gone = async () => {
    const done = await confirmed(text("admin.rights.remove"), words, text("admin.act.remove"), send);
    if (done) await app.changed(text("admin.told.rightGone"));
  };
  const key = [subject, action, object].join(" ");
  const away = button(text("admin.rights.removeThis", { rule: words }), gone, { look: "round", icon: "close", key });
  const state = rule.allowed ? "yes" : "banned";
  const icon = mark(action === "call" ? "phone" : "key");
  return make("li", { class: "row", data: { state } }, icon, make("span", { class: "words" }, words), away);
}

function rightForm(identities, app) {
  const everybody = [EVERYBODY, text("admin.rights.everybody")];
  const all = identities.map(({ id, name }) => [id, name]);
  const stations = identities.filter(({ role }) => role !== "resident").map(({ id, name }) => [id, name]);
  const object = choice("object", [], "");
  const action = choice("action", ACTIONS.map((one) => [one, text(`admin.rights.action.${one}`)]), "call");
  action.onchange = () => {
    const every = action.value === "call" ? everybody : [EVERYBODY, text("admin.rights.everyDoor")];
    const options = [every, ...(action.value === "call" ? all : stations)];
    object.replaceChildren(...options.map(([value, words]) => make("option", { value }, words)));
  };
  action.onchange();
  const onsubmit = (event) => {
    event.preventDefault();
    const values = valuesOf(event.target);
    const rule = { ...values, allowed: values.allowed === "yes" };
    app.carryOut(() => put("admin/rights", rule), { told: text("admin.told.saved") });
  };
  const answers = [["yes", text("admin.rights.yes")], ["no", text("admin.rights.no")]];
  return make("form", { class: "card padded form four-fields", onsubmit },
    field(text("admin.rights.who"), choice("subject", [everybody, ...all], EVERYBODY)),
    field(text("admin.rights.may"), choice("allowed", answers, "yes")),
    field(text("admin.rights.do"), action),
    field(text("admin.rights.what"), object),
    make("button", { type: "submit", class: "wide go", data: { key: "add-right" } }, text("admin.act.allow")));
}
