// The journal pane: newest at the bottom; it follows unless somebody has scrolled up to read.
import { place, say } from "./texts.js";

const MAX_LINES = 600;
const PRIORITIES = { 0: "error", 1: "error", 2: "error", 3: "error", 4: "warning", 5: "notice", 6: "info", 7: "debug" };
const UNTOLD = new Set(["MESSAGE", "PRIORITY", "MESSAGE_ID", "SYSLOG_IDENTIFIER", "DEVICE_ID", "USER_ID", "ERROR_CODE", "ERROR_TYPE", "REASON", "PHASE", "NETWORK", "STACK"]);
const SHOWN_ID_CHARS = 8;

export class Journal {
  constructor(pane) {
    this.pane = pane;
    this.lines = pane.querySelector("#lines");
    this.filters = pane.querySelector("#filters");
    this.newest = pane.querySelector("#newest");
    this.only = "";
    this.sources = [];
    this.following = true;
    this.lines.addEventListener("scroll", () => this.#scrolled());
    this.newest.addEventListener("click", () => this.#follow());
  }

  /** Who writes here: makes the filter's buttons. */
  open(sources) {
    this.sources = sources;
    this.lines.replaceChildren();
    this.rename();
  }

  rename() {
    const buttons = ["", ...this.sources].map((source) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.source = source;
      button.textContent = source === "" ? say("all") : source === "hub" ? say("hub") : place(source);
      button.setAttribute("aria-pressed", String(source === this.only));
      button.addEventListener("click", () => this.#show(source));
      return button;
    });
    this.filters.setAttribute("aria-label", say("journal"));
    this.filters.replaceChildren(...buttons);
    for (const chip of this.lines.querySelectorAll(".source")) chip.textContent = this.#called(chip.dataset.source);
  }

  add(entries) {
    this.lines.append(...entries.map((entry) => this.#line(entry)));
    while (this.lines.childElementCount > MAX_LINES) this.lines.firstElementChild.remove();
    if (this.following) this.#follow();
    else this.newest.hidden = false;
  }

  /** The pane has just become visible: a hidden one cannot scroll. */
  settle() {
    if (this.following) this.#follow();
  }

  #called(source) {
    return source === "hub" ? say("hub") : place(source);
  }

  #line(entry) {
    const line = document.createElement("li");
    line.dataset.source = entry.source;
    line.dataset.priority = PRIORITIES[entry.priority] ?? "info";
    line.hidden = this.only !== "" && entry.source !== this.only;
    const time = document.createElement("time");
    const at = new Date(entry.at * 1000);
    time.dateTime = at.toISOString();
    time.textContent = `${at.toLocaleTimeString("en-GB")}.${String(at.getMilliseconds()).padStart(3, "0")}`;
    const chip = textIn("span", "source", this.#called(entry.source));
    chip.dataset.source = entry.source;
    line.append(time, chip, textIn("p", "message", entry.message));
    const told = Object.entries(entry.fields).filter(([key, value]) => !UNTOLD.has(key) && value !== "");
    if (told.length > 0) {
      line.append(textIn("p", "fields", told.map(([key, value]) => shownField(key, value)).join(" · ")));
    }
    line.title = Object.entries(entry.fields).map(([key, value]) => `${key}=${value}`).join("\n");
    if (entry.advice) line.append(textIn("p", "advice", entry.advice));
    return line;
  }

  #show(source) {
    this.only = source;
    for (const button of this.filters.children) {
      button.setAttribute("aria-pressed", String(button.dataset.source === source));
    }
    for (const line of this.lines.children) line.hidden = source !== "" && line.dataset.source !== source;
    this.#follow();
  }

  #scrolled() {
    this.following = this.lines.scrollHeight - this.lines.scrollTop - this.lines.clientHeight < 24;
    if (this.following) this.newest.hidden = true;
  }

  #follow() {
    this.following = true;
    this.newest.hidden = true;
    this.lines.scrollTop = this.lines.scrollHeight;
  }
}

function shownField(key, value) {
  return `${key.toLowerCase()} ${key === "CALL_ID" ? value.slice(0, SHOWN_ID_CHARS) : value}`;
}

function textIn(tag, name, text) {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return element;
}
