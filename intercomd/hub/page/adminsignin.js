// The way in: name and password, or the link of a first or a forgotten password.

import { post, reasonOf } from "./adminapi.js";
import { newPassword } from "./adminaccount.js";
import { valuesOf } from "./admindialog.js";
import { field, input, make } from "./adminparts.js";
import { text } from "./texts.js";

const LINK = /^#(set-up|password)=([\w-]{1,200})$/;

// What the address carries; it then forgets it: a code is nobody's business in a history.
export function takeLink() {
  const found = LINK.exec(window.location.hash);
  if (!found) return null;
  window.history.replaceState(null, "", window.location.pathname);
  return { purpose: found[1], code: found[2] };
}

// `link`: as above, or null; `isSetUp`: somebody could sign in; `enter(session)` when somebody has.
export function signInForm(link, isSetUp, enter) {
  const kind = link?.purpose ?? (isSetUp ? "logIn" : "nobody");
  const title = make("h1", { tabindex: "-1" }, text(`admin.signin.${kind}`));
  const lead = make("p", {}, text(`admin.signin.${kind}How`));
  if (kind === "nobody") return make("div", { class: "gate" }, title, lead, make("code", { class: "secret" }, "intercomd hub set-up"));
  const problem = make("p", { class: "problem", role: "alert" });
  const go = make("button", { type: "submit", class: "wide go" }, text(link ? "admin.signin.set" : "admin.signin.go"));
  const onsubmit = async (event) => {
    event.preventDefault();
    go.disabled = true;
    problem.textContent = "";
    try {
      enter(await sendIn(link, valuesOf(event.target)));
    } catch (error) {
      // Both are "unauthorised": which of them it is, only the page knows.
      const isRefused = error.code === "unauthorised" && error.status === 403;
      problem.textContent = isRefused ? text(link ? "admin.signin.used" : "admin.signin.wrong") : reasonOf(error);
    }
    go.disabled = false;
  };
  const name = input("name", { autocomplete: "username", required: true, maxlength: 64, autocapitalize: "none" });
  const current = input("password", { type: "password", autocomplete: "current-password", required: true });
  const secret = link ? field(text("admin.account.new"), newPassword(), text("admin.signin.hint")) : field(text("admin.signin.password"), current);
  const named = kind !== "password" && field(text("admin.signin.name"), name);
  return make("div", { class: "gate" }, title, lead, make("form", { class: "card padded", onsubmit }, named, secret, problem, go));
}

function sendIn(link, { name, password }) {
  if (!link) return post("admin/session", { name: name.trim(), password });
  const named = link.purpose === "set-up" ? { name: name.trim() } : {};
  return post("admin/password", { code: link.code, password, ...named });
}
