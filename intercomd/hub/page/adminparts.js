// Elements for administration, made here and nowhere from text: trusted types allow no other way, and names stay text.

import { createIcon } from "./dom.js";
import { text } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";
const QR_ATTRIBUTES = ["d", "fill", "stroke", "transform"];
let fields = 0;

// Listeners as `onclick`, everything in `data` as data-…; false and null are left out, of the children too.
export function make(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element[name] = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  const inside = children.flat(Infinity);
  element.append(...inside.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function makeSvg(tag, given, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(given)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// `key` keeps the focus where it was when everything is drawn anew.
export function button(words, onclick, { look = "small-act", key, label, icon, ...more } = {}) {
  const content = icon ? createIcon(icon) : words;
  const said = label ?? (icon ? words : null);
  const given = { type: "button", class: look, onclick, "aria-label": said, data: key ? { key } : {}, ...more };
  return make("button", given, content);
}

export function field(words, input, hint) {
  fields += 1;
  input.id = `field-${fields}`;
  if (hint) input.setAttribute("aria-describedby", `hint-${fields}`);
  const small = hint && make("p", { class: "small", id: `hint-${fields}` }, hint);
  return make("div", { class: "field" }, make("label", { for: input.id }, words), input, small);
}

export const input = (name, given = {}) => make("input", { name, type: "text", autocomplete: "off", ...given });

// `options`: [value, words].
export function choice(name, options, chosen, given = {}) {
  const made = options.map(([value, words]) => make("option", { value, selected: value === chosen }, words));
  return make("select", { name, ...given }, made);
}

export function tick(name, words, checked) {
  return make("label", { class: "tick" }, make("input", { type: "checkbox", name, checked }), make("span", {}, words));
}

export function mark(icon) {
  return make("span", { class: "mark", "aria-hidden": "true" }, createIcon(icon));
}

export const byName = (one, other) => one.name.localeCompare(other.name) || one.id.localeCompare(other.id);

// Above a list: what it is, and what can be done with all of it.
export const head = (words, act) => make("div", { class: "head" }, make("h2", {}, words), act);

export function shownName({ id, name }) {
  return make("span", { class: "name" }, name, name !== id && make("span", { class: "id" }, ` ${id}`));
}

export const iconOf = (role) => ({ station: "door", group: "group" })[role] ?? "person";

// What is shown once and must be carried elsewhere: the words, and a button that copies them.
// `isLong`: on a small screen it may be cut, because nobody reads it.
export function toCopy(words, label, isLong = false) {
  const said = make("span", { role: "status", class: "small" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(words);
      said.textContent = text("admin.copied");
    } catch {
      // An insecure address has no clipboard: the words are marked, for the keyboard's own copy.
      getSelection().selectAllChildren(shown);
      said.textContent = text("admin.copyYourself");
    }
  };
  const shown = make("code", { class: isLong ? "secret long" : "secret", tabindex: "0", "aria-label": label }, words);
  const act = button(text("admin.copy"), copy, { label: text("admin.copyThis", { label }) });
  const row = make("div", { class: "beside" }, make("p", { class: "label" }, label), said, act);
  return make("div", { class: "field" }, row, shown);
}

// The hub's drawing of a QR code. Only its paths are taken over, attribute by attribute.
export function qrCode(svg, label) {
  const attributes = (tag) => Array.from(tag.matchAll(/([\w-]+)="([^"]*)"/g), (found) => found.slice(1));
  const box = /viewBox="([\d. ]+)"/.exec(svg)?.[1] ?? "0 0 1 1";
  const paths = Array.from(svg.matchAll(/<path ([^>]*)>/g), ([, tag]) => {
    const taken = attributes(tag).filter(([name]) => QR_ATTRIBUTES.includes(name));
    return makeSvg("path", Object.fromEntries(taken));
  });
  const given = { viewBox: box, class: "qr", role: "img", "aria-label": label, "shape-rendering": "crispEdges" };
  return makeSvg("svg", given, ...paths);
}
