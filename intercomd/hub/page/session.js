// Who is signed in here, what is known of them at the hub, and which tab this is.

const CODE = /^#[\w-]{20,200}$/;
const INSTANCE_KEY = "intercom.instance";
const BURIED_KEY = "intercom.buried";
const CLAIM_MS = 1000;
const ASK_MS = 10000;

export class HubError extends Error {
  constructor(status, code) {
    super(code);
    this.status = status;
    this.code = code;
  }
}

// The invitation's code from the address, which then forgets it: it is nobody's business in a history.
export function takeInvitation() {
  const { hash, pathname, search } = window.location;
  if (!CODE.test(hash)) return "";
  window.history.replaceState(null, "", pathname + search);
  return hash.slice(1);
}

export const whoAmI = async () => (await askHub("GET", "/api/session")).resident;
export const signIn = async (code) => (await askHub("POST", "/api/session", { code })).resident;
export const signOut = () => askHub("DELETE", "/api/session");
export const directory = () => askHub("GET", "/api/directory");
export const recentCalls = async () => (await askHub("GET", "/api/calls")).calls;

// Rejects with `HubError`; status 0 when the hub cannot be reached.
export async function askHub(method, path, body) {
  let response;
  const json = body && { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  try {
    response = await fetch(path, { method, credentials: "same-origin", signal: AbortSignal.timeout(ASK_MS), ...json });
  } catch {
    throw new HubError(0, "network");
  }
  const told = await response.json().catch(() => ({}));
  if (!response.ok) throw new HubError(response.status, told.code ?? "failed");
  return told;
}

// The name of this tab at the hub. A reload keeps it, so that the page finds its call again; a duplicated tab has the
// same memory but must not have the same name: a lock, which ends with the tab that holds it, tells them apart.
export async function claimInstance() {
  const remembered = recall(INSTANCE_KEY);
  if (remembered && (await locked(remembered))) return remembered;
  const fresh = randomId();
  await locked(fresh);
  keep(INSTANCE_KEY, fresh);
  return fresh;
}

function locked(instance) {
  // Without locks (an insecure address) there are no calls either: a new name each time will do.
  if (!navigator.locks) return Promise.resolve(false);
  return new Promise((resolve) => {
    const limit = AbortSignal.timeout(CLAIM_MS);
    const held = () => new Promise(() => resolve(true));
    navigator.locks.request(`intercom.${instance}`, { signal: limit }, held).catch(() => resolve(false));
  });
}

// 128 bits as hexadecimal digits; crypto.randomUUID is missing at insecure addresses.
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Calls that were ended here while the hub could not be told: a reload must not bring them back.
export const recallBuried = () => recall(BURIED_KEY) ?? [];
export const keepBuried = (buried) => keep(BURIED_KEY, buried);

function recall(key) {
  try {
    return JSON.parse(window.sessionStorage.getItem(key));
  } catch {
    return null;
  }
}

function keep(key, value) {
  try {
    window.sessionStorage.setItem(key, JSON.stringify(value));
  } catch {
    // A browser without storage forgets: a reloaded page is then another one.
  }
}
