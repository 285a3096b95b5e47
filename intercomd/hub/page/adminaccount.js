// One's own password, and who else administers.

import { at, getFrom, post, put, reasonOf, remove } from "./adminapi.js";
import { askFor, confirmed, valuesOf } from "./admindialog.js";
import { button, field, head, input, make, mark } from "./adminparts.js";
import { showLink } from "./adminpeople.js";
import { text } from "./texts.js";

const SHORTEST = 10;

export const account = {
  name: "account",
  load: () => getFrom("admin/administrators"),
  draw({ administrators }, app) {
    const rows = administrators.map((entry) => administratorRow(entry, app));
    const add = button(text("admin.add.administrator"), () => addedAdministrator(app), { key: "add-administrator" });
    const list = make("ul", { class: "card rows", id: "administrators" }, rows);
    return [make("section", {}, head(text("admin.account.all"), add), list), passwordForm(app)];
  },
};

export function newPassword() {
  const given = { type: "password", autocomplete: "new-password", required: true, minlength: SHORTEST, maxlength: 200 };
  return input("password", given);
}

function passwordForm(app) {
  const problem = make("p", { class: "problem", role: "alert" });
  const onsubmit = async (event) => {
    event.preventDefault();
    problem.textContent = "";
    try {
      await put("admin/password", valuesOf(event.target));
      await app.changed(text("admin.account.changed"));
    } catch (error) {
      // One word of the hub's for both: here the session is good, so it is the password.
      const isWrong = error.code === "unauthorised" && error.status === 403;
      problem.textContent = isWrong ? text("admin.account.wrong") : reasonOf(error);
    }
  };
  const current = input("current", { type: "password", autocomplete: "current-password", required: true });
  const form = make("form", { class: "card padded form two-fields", onsubmit, id: "password" },
    field(text("admin.account.current"), current),
    field(text("admin.account.new"), newPassword(), text("admin.signin.hint")),
    make("button", { type: "submit", class: "wide go", data: { key: "change-password" } }, text("admin.act.change")),
    problem);
  return make("section", {}, head(text("admin.account.password")), form);
}

function administratorRow(entry, app) {
  const { name } = entry;
  const own = name === app.administrator;
  const key = entry.hasPassword ? "admin.account.sessions" : "admin.account.invited";
  const state = text(key, { number: entry.sessions });
  const words = make("span", { class: "words" },
    make("span", { class: "name" }, name),
    make("span", { class: "sub" }, own ? `${text("admin.account.you")} · ${state}` : state));
  const send = () => remove(`admin/administrators/${at(name)}`);
  const gone = async () => {
    const title = text("admin.remove.title", { name });
    if (!(await confirmed(title, text("admin.remove.administrator"), text("admin.act.remove"), send))) return;
    await app.changed(text("admin.told.removed", { name }));
  };
  const reset = () => app.carryOut(() => showAdministrator(name));
  const acts = !own && make("div", { class: "acts" },
    button(text("admin.act.reset"), reset, { key: `reset-${name}` }),
    button(text("admin.act.remove"), gone, { key: `gone-${name}`, look: "small-act grave" }));
  const data = { key: `administrator-${name}` };
  return make("li", { class: "stacked", data }, make("div", { class: "row" }, mark("person"), words), acts);
}

const linkFor = (name, made) => showLink(text("admin.account.link", { name }), text("admin.account.linkHow"), made);

const showAdministrator = async (name) => linkFor(name, await post("admin/administrators", { name }));

async function addedAdministrator(app) {
  const given = { required: true, maxlength: 64, autocapitalize: "none" };
  const content = [field(text("admin.signin.name"), input("name", given))];
  const send = async (values) => {
    const name = values.name.trim();
    return { name, made: await post("admin/administrators", { name }) };
  };
  const done = await askFor({ title: text("admin.add.administrator"), content, act: text("admin.act.add"), send });
  if (!done) return;
  await linkFor(done.name, done.made);
  await app.reload();
}
