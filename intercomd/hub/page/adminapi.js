// What administrators ask of the hub, and how its refusals are told.

import { hasText, text } from "./texts.js";

const ANSWER_MS = 15000;

// Of the document, when the hub no longer knows who asks.
export const SESSION_ENDED = "intercom-session-ended";

export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

// Rejects with `Refused`; status 0 when the hub cannot be reached.
export async function askApi(method, path, body) {
  const json = { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) };
  const sent = method === "GET" ? {} : json;
  const signal = AbortSignal.timeout(ANSWER_MS);
  let response;
  try {
    response = await fetch(`/api/${path}`, { method, credentials: "same-origin", signal, ...sent });
  } catch {
    throw new Refused(0, "network", "");
  }
  const told = await response.json().catch(() => ({}));
  if (response.ok) return told;
  if (response.status === 401) document.dispatchEvent(new Event(SESSION_ENDED));
  throw new Refused(response.status, told.code ?? "failed", told.message ?? "");
}

export const getFrom = (path) => askApi("GET", path);
export const post = (path, body) => askApi("POST", path, body);
export const put = (path, body) => askApi("PUT", path, body);
export const patch = (path, body) => askApi("PATCH", path, body);
export const remove = (path) => askApi("DELETE", path);

// A path of names, and a query of what is given.
export const at = (...names) => names.map(encodeURIComponent).join("/");

export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

// One sentence; where the hub knows more about this very case, its own words follow.
export function reasonOf(error) {
  if (!(error instanceof Refused)) throw error;
  const key = `admin.error.${error.code}`;
  if (!hasText(key)) return text("admin.error.failed", { message: error.message || error.code });
  return text(key, { message: error.message });
}
