// Questions and answers in front of the page: the browser's own dialog keeps the focus inside and gives it back.

import { reasonOf } from "./adminapi.js";
import { button, make } from "./adminparts.js";
import { text } from "./texts.js";

// `content`: elements of a form. `send(values)` is carried out when it is sent: the dialog stays open with the reason
// if that is refused. Resolves with what `send` gave, or undefined where somebody thought better of it.
export function askFor({ title, content, act, send, isGrave = false }) {
  return new Promise((resolve) => {
    let result;
    const problem = make("p", { class: "problem", role: "alert" });
    const go = make("button", { type: "submit", class: isGrave ? "wide grave" : "wide go" }, act);
    const close = button(text("admin.cancel"), () => dialog.close(), { look: "wide" });
    const onsubmit = async (event) => {
      event.preventDefault();
      go.disabled = true;
      problem.textContent = "";
      try {
        result = (await send(valuesOf(form))) ?? true;
        dialog.close();
      } catch (error) {
        problem.textContent = reasonOf(error);
      }
      go.disabled = false;
    };
    const form = make("form", { onsubmit }, content, problem, make("div", { class: "pair foot" }, close, go));
    const dialog = opened(title, form, () => resolve(result));
  });
}

// Before what cannot be undone.
export const confirmed = (title, words, act, send) =>
  askFor({ title, content: [make("p", {}, words)], act, send, isGrave: true });

// What was made, until it is put away.
export function tellIn(title, ...content) {
  return new Promise((resolve) => {
    const done = button(text("admin.done"), () => dialog.close(), { look: "wide go" });
    const told = make("div", { class: "told" }, content, make("div", { class: "foot" }, done));
    const dialog = opened(title, told, resolve);
  });
}

// Whatever is asked or told just now: its answer is no use any more.
export function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
}

function opened(title, content, onClose) {
  const heading = make("h2", { id: "dialog-title", tabindex: "-1" }, title);
  const dialog = make("dialog", { class: "card", "aria-labelledby": "dialog-title" }, heading, content);
  dialog.onclose = () => { dialog.remove(); onClose(); };
  document.body.append(dialog);
  dialog.showModal();
  (dialog.querySelector("input, select, textarea") ?? heading).focus();
  return dialog;
}

export const valuesOf = (form) => Object.fromEntries(new FormData(form));
