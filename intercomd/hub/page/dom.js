// Small words for the document. Whatever comes from others is set as text, never as HTML.

import { text } from "./texts.js";

export const byId = (id) => document.getElementById(id);

export function setText(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

export function setData(element, name, value) {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}

export function setLabel(element, value) {
  if (element.getAttribute("aria-label") !== value) element.setAttribute("aria-label", value);
}

export function setIcon(use, name) {
  const wanted = `#i-${name}`;
  if (use.getAttribute("href") !== wanted) use.setAttribute("href", wanted);
}

export function create(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

export function createIcon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

// One row for each item, kept while the item is there, so that focus and reader do not lose their place.
export function keepRows(list, items, key, make, fill) {
  const rows = new Map(Array.from(list.children, (row) => [row.dataset.key, row]));
  const wanted = items.map((item) => {
    const id = key(item);
    const row = rows.get(id) ?? make(item);
    row.dataset.key = id;
    fill(row, item);
    return row;
  });
  if (wanted.length !== list.children.length || wanted.some((row, place) => row !== list.children[place])) {
    list.replaceChildren(...wanted);
  }
}

// What stands in the index and depends on the language alone.
export function translate() {
  for (const element of document.querySelectorAll("[data-text]")) setText(element, text(element.dataset.text));
  for (const element of document.querySelectorAll("[data-label]")) setLabel(element, text(element.dataset.label));
}
