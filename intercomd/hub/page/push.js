// Ringing while the page is closed: asks the browser for a subscription and gives it to the hub.

const WORKER = "/sw.js";
const PUSH_LIMIT_MS = 20000;

// `ask(method, path, body)` is the session's; `changed` is called when `state` may be another one.
export class Push {
  constructor(ask, changed) {
    this.ask = ask;
    this.changed = changed;
    this.publicKey = null;
    this.subscribed = false;
    this.busy = false;
    this.problem = null;
  }

  // `why`: what stands in the way, or null; `on`: whether it rings; `busy`: whether that is just being changed.
  get state() {
    return { why: this.why, on: this.subscribed, busy: this.busy };
  }

  get why() {
    if (!this.publicKey) return "off"; // the hub pushes nothing, or has not said so yet
    if (!window.isSecureContext) return "insecure";
    if (!("serviceWorker" in navigator && "PushManager" in window)) return lacking();
    if (Notification.permission === "denied") return "denied";
    return this.problem;
  }

  // After signing in, and whenever the hub is back.
  async refresh() {
    try {
      this.told(await this.ask("GET", "/api/push"));
      if (!this.why && Notification.permission === "granted") await this.renew();
      else this.subscribed = false;
    } catch {
      // It stays as it was last heard.
    }
    this.changed();
  }

  // By a touch: browsers ask for the permission only then.
  turnOn() {
    return this.change(async () => {
      // Whoever is asked may take their time.
      if ((await Notification.requestPermission()) !== "granted") return;
      await this.give(await within(this.subscription(), PUSH_LIMIT_MS));
    });
  }

  turnOff() {
    return this.change(async () => {
      await within(this.drop(), PUSH_LIMIT_MS);
      this.told(await this.ask("DELETE", "/api/push"));
    });
  }

  // Out of this browser; the hub forgets it with the session.
  async drop() {
    await (await subscriptionHere())?.unsubscribe();
    this.subscribed = false;
  }

  async change(work) {
    this.busy = true;
    this.changed();
    try {
      await work();
    } finally {
      this.busy = false;
      this.changed();
    }
  }

  // The browser's subscription outlives a session: the next one has it again.
  async renew() {
    const own = await subscriptionHere();
    if (!own) this.subscribed = false;
    else if (!isFor(own, this.publicKey)) await this.drop();
    else if (!this.subscribed) await this.give(own);
  }

  async subscription() {
    const own = await subscriptionHere();
    // With another key: the hub was set up anew.
    if (own && !isFor(own, this.publicKey)) await own.unsubscribe();
    await this.register();
    const worker = await navigator.serviceWorker.ready;
    return worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: this.publicKey });
  }

  async give(subscription) {
    const { endpoint, keys } = subscription.toJSON();
    this.told(await this.ask("PUT", "/api/push", { endpoint, keys }));
  }

  told({ publicKey, subscribed }) {
    this.publicKey = publicKey;
    this.subscribed = subscribed;
  }

  async register() {
    try {
      await navigator.serviceWorker.register(workerAddress, { scope: "/" });
    } catch (error) {
      // So it is where the page was opened in spite of the browser's warning.
      if (error.name === "SecurityError") this.problem = "untrusted";
      throw error;
    }
  }
}

// The page's policy demands trusted types for addresses of scripts, and a worker's is one.
const trusting = window.trustedTypes?.createPolicy("intercom-worker", { createScriptURL: () => WORKER });
const workerAddress = trusting?.createScriptURL("") ?? WORKER;

async function subscriptionHere() {
  const worker = await navigator.serviceWorker?.getRegistration("/");
  return worker?.pushManager?.getSubscription();
}

// Only iOS says whether a page stands on the home screen, and only there it lets pages be woken.
const lacking = () => (navigator.standalone === false ? "install" : "unsupported");

function isFor({ options }, publicKey) {
  const key = String.fromCharCode(...new Uint8Array(options.applicationServerKey));
  return btoa(key).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "") === publicKey;
}

function within(work, limitMs) {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error("it takes too long")), limitMs));
  return Promise.race([work, late]);
}
