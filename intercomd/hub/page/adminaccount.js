// One's own password, and who else administers.

import { at, getFrom, post, put, remove } from "./adminapi.js";
import { askFor, confirmed, valuesOf } from "./admindialog.js";
import { button, field, input, make, mark } from "./adminparts.js";
import { showLink } from "./adminpeople.js";
import { text } from "./texts.js";

const SHORTEST = 10;

export const account = {
  name: "account",
  load: () => getFrom("admin/administrators"),
  draw({ administrators }, app) {
    const rows = administrators.map((entry) => administratorRow(entry, app));
    const add = button(text("admin.add.administrator"), () => addedAdministrator(app), { key: "add-administrator" });
    return [
      passwordForm(app),
      make("section", {}, make("div", { class: "head" }, make("h2", {}, text("admin.account.all")), add), make("ul", { class: "card rows", id: "administrators" }, rows)),
    ];
  },
};

export const newPassword = () => input("password", { type: "password", autocomplete: "new-password", required: true, minlength: SHORTEST, maxlength: 200 });

function passwordForm(app) {
  const onsubmit = (event) => {
    event.preventDefault();
    const form = event.target;
    app.carryOut(() => put("admin/password", valuesOf(form)), { told: text("admin.account.changed") });
  };
  const current = input("current", { type: "password", autocomplete: "current-password", required: true });
  const heading = make("h2", {}, text("admin.account.password"));
  return make("section", {}, heading, make("form", { class: "card padded grid", onsubmit, id: "password" },
    field(text("admin.account.current"), current), field(text("admin.account.new"), newPassword(), text("admin.signin.hint")),
    make("button", { type: "submit", class: "wide go", data: { key: "change-password" } }, text("admin.act.change"))));
}

function administratorRow(entry, app) {
  const own = entry.name === app.administrator;
  const state = text(entry.hasPassword ? "admin.account.sessions" : "admin.account.invited", { number: entry.sessions });
  const words = make("span", { class: "words" }, make("span", { class: "name" }, entry.name), make("span", { class: "sub" }, own ? `${text("admin.account.you")} · ${state}` : state));
  const send = () => remove(`admin/administrators/${at(entry.name)}`);
  const gone = async () => {
    const title = text("admin.remove.title", { name: entry.name });
    if (await confirmed(title, text("admin.remove.administrator"), text("admin.act.remove"), send)) await app.reload();
  };
  const reset = () => app.carryOut(async () => showAdministrator(entry.name));
  const acts = !own && make("div", { class: "acts" },
    button(text("admin.act.reset"), reset, { key: `reset-${entry.name}` }),
    button(text("admin.act.remove"), gone, { key: `gone-${entry.name}`, look: "small-act grave" }));
  return make("li", { class: "stacked" }, make("div", { class: "row" }, mark("person"), words), acts);
}

const showAdministrator = async (name) =>
  showLink(text("admin.account.link", { name }), text("admin.account.linkHow"), await post("admin/administrators", { name }));

async function addedAdministrator(app) {
  const content = [field(text("admin.signin.name"), input("name", { required: true, maxlength: 64 }))];
  const send = async ({ name }) => ({ name: name.trim(), made: await post("admin/administrators", { name: name.trim() }) });
  const done = await askFor({ title: text("admin.add.administrator"), content, act: text("admin.act.add"), send });
  if (!done) return;
  await showLink(text("admin.account.link", { name: done.name }), text("admin.account.linkHow"), done.made);
  await app.reload();
}
