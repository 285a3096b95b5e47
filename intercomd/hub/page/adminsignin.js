// The way in: name and password, or the link of a first or a forgotten password.

import { post, reasonOf } from "./adminapi.js";
import { newPassword } from "./adminaccount.js";
import { valuesOf } from "./admindialog.js";
import { button, field, input, make } from "./adminparts.js";
import { hasText, text } from "./texts.js";

const LINK = /^#(set-up|password)=([\w-]{1,200})$/;

// What the address carries; it then forgets it: a code is nobody's business in a history.
export function takeLink() {
  const found = LINK.exec(window.location.hash);
  if (!found) return null;
  window.history.replaceState(null, "", window.location.pathname);
  return { purpose: found[1], code: found[2] };
}

// `link`: as above, or null; `isSetUp`: somebody could sign in; `why`: what is to be known before, or "".
// `enter(session)` when somebody is in, `forget()` when somebody has no use for the link.
export function signInForm({ link, isSetUp, why, enter, forget }) {
  const kind = link?.purpose ?? (isSetUp ? "logIn" : "nobody");
  const title = make("h1", { tabindex: "-1" }, text(`admin.signin.${kind}`));
  const lead = make("p", {}, text(`admin.signin.${kind}How`));
  if (kind === "nobody") {
    return make("div", { class: "gate" }, title, lead, make("code", { class: "secret" }, "intercomd hub set-up"));
  }
  const told = make("p", { class: "notice", role: "status" }, why);
  const problem = make("p", { class: "problem", role: "alert" });
  const go = make("button", { type: "submit", class: "wide go" }, text(link ? "admin.signin.set" : "admin.signin.go"));
  const onsubmit = async (event) => {
    event.preventDefault();
    go.disabled = true;
    problem.textContent = "";
    try {
      enter(await sendIn(link, valuesOf(event.target)));
    } catch (error) {
      problem.textContent = refusalWords(error, link);
    }
    go.disabled = false;
  };
  const form = make("form", { class: "card padded", onsubmit }, fieldsOf(link), problem, go);
  const other = link && isSetUp && button(text("admin.signin.instead"), forget, { look: "plain" });
  return make("div", { class: "gate" }, title, lead, told, form, other);
}

function fieldsOf(link) {
  const name = input("name", { autocomplete: "username", required: true, maxlength: 64, autocapitalize: "none" });
  const current = input("password", { type: "password", autocomplete: "current-password", required: true });
  return [
    link?.purpose !== "password" && field(text("admin.signin.name"), name),
    link
      ? field(text("admin.account.new"), newPassword(), text("admin.signin.hint"))
      : field(text("admin.signin.word"), current),
  ];
}

// A wrong password and a used link are both "unauthorised": which of them it is, only the page knows.
function refusalWords(error, link) {
  if (error.code !== "unauthorised" || error.status !== 403) return reasonOf(error);
  if (!link) return text("admin.signin.wrong");
  const own = `admin.signin.used.${link.purpose}`;
  return text(hasText(own) ? own : "admin.signin.used");
}

function sendIn(link, { name, password }) {
  if (!link) return post("admin/session", { name: name.trim(), password });
  const named = link.purpose === "set-up" ? { name: name.trim() } : {};
  return post("admin/password", { code: link.code, password, ...named });
}
