// The connection to the hub, under supervision of our own: the client library calls a disconnect by the server final,
// and buffers what is sent while it is not connected. Here each attempt has a new socket that is thrown away with all
// it holds; nothing is kept for later, so that nothing happens late.

import { io } from "./vendor/socket.io.js";
import { PROTOCOL, renewalMs } from "./protocol.js";

const ATTEMPT_MS = 20000;
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 5000;
const REFUSED_RETRY_MS = 30000;
const YOUNG_MS = 5000;
const BEAT_MS = 5000;
const BEAT_ANSWER_MS = 3000;
const REPLY_MS = 5000;
const RESYNC_AGAIN_MS = 1000;
const RENEW_AGAIN_MS = 10000;

// `listener` hears resynced(reply), servers(iceServers), lost(), refused(code), notice(name, data), changed(); it tells known() calls.
export class Link {
  constructor(instance, listener) {
    this.instance = instance;
    this.listener = listener;
    // down, connecting, up (not yet registered), registered, refused
    this.state = "down";
    this.socket = null;
    this.waiting = [];
    this.failures = 0;
    this.missed = 0;
    this.startedAt = 0;
    this.renewAt = Infinity;
    this.timers = {};
    for (const [target, name] of [[window, "online"], [window, "pageshow"], [document, "visibilitychange"]]) {
      target.addEventListener(name, () => this.kick());
    }
  }

  open() {
    this.wanted = true;
    this.connect();
  }

  close() {
    this.wanted = false;
    this.let("retry");
    this.drop();
    this.become("down");
  }

  // Something has changed that may have broken the connection, or mended it: find out at once.
  kick() {
    if (!this.wanted || document.visibilityState === "hidden") return;
    if (this.state === "registered") this.beat(true);
    else if (this.state === "down") this.connect();
    else if (performance.now() - this.startedAt > YOUNG_MS) this.ended();
  }

  // Ask the hub. Resolves with its reply, rejects when there is none in time. Never kept for a later connection.
  request(name, data, limit = REPLY_MS) {
    const { socket } = this;
    if (!socket?.connected) return Promise.reject(new Error("not connected"));
    return new Promise((resolve, reject) => {
      this.waiting.push({ socket, name, data, limit, resolve, reject });
      this.pump();
    });
  }

  // The same, at once or not at all: what moves something in the world must not happen later than people think.
  requestNow(name, data, limit = REPLY_MS) {
    const free = this.state === "registered" && !this.waiting.length && this.writable;
    if (!free) return Promise.reject(Object.assign(new Error("not connected"), { unsent: true }));
    return this.request(name, data, limit);
  }

  // Not while the transport is busy with the last packet, nor when the hub has closed it and the browser is about to say so.
  get writable() {
    const { transport } = this.socket.io.engine;
    return transport.writable && transport.ws?.readyState === WebSocket.OPEN;
  }

  // A volatile packet is dropped while the transport is not writable, so they go one by one.
  pump() {
    while (this.waiting.length && this.socket?.connected && this.writable) {
      const { socket, name, data, limit, resolve, reject } = this.waiting.shift();
      if (socket !== this.socket) reject(new Error("the connection broke"));
      else socket.volatile.timeout(limit).emitWithAck(name, data).then(resolve, reject);
    }
  }

  connect() {
    this.let("retry");
    this.drop();
    this.become("connecting");
    this.startedAt = performance.now();
    const auth = { instance: this.instance, protocol: PROTOCOL, capabilities: ["page"] };
    const options = { transports: ["websocket"], reconnection: false, forceNew: true, timeout: ATTEMPT_MS, auth };
    const socket = io(options);
    this.socket = socket;
    const ours = (then) => (...found) => { if (this.socket === socket) then(...found); };
    socket.on("connect", ours(() => this.connected()));
    socket.on("connect_error", ours((error) => this.failed(error)));
    socket.on("disconnect", ours(() => this.ended()));
    socket.onAny(ours((name, data, answer) => this.heard(name, data, answer)));
    this.set("deadline", ATTEMPT_MS, () => this.ended());
  }

  connected() {
    this.socket.io.engine.on("drain", () => this.pump());
    this.become("up");
    this.resync();
  }

  async resync() {
    const { socket } = this;
    let reply;
    try {
      reply = await this.request("resync", { calls: this.listener.known() });
    } catch {
      reply = { ok: false };
    }
    if (this.socket !== socket || this.state !== "up") return;
    if (!reply.ok) {
      this.set("resync", RESYNC_AGAIN_MS, () => this.resync());
      return;
    }
    this.let("deadline");
    this.failures = this.missed = 0;
    this.become("registered");
    this.issued(reply);
    this.listener.resynced(reply);
    this.set("beat", BEAT_MS, () => this.beat(false));
  }

  // STUN and TURN servers, whose credentials end: a page that is open for days needs fresh ones before each call.
  issued(reply) {
    this.renewAt = performance.now() + renewalMs(reply);
    this.listener.servers(reply.iceServers ?? []);
  }

  async renew() {
    const { socket } = this;
    this.renewAt = performance.now() + RENEW_AGAIN_MS;
    const reply = await this.request("resync", { calls: this.listener.known() }).catch(() => ({ ok: false }));
    if (this.socket === socket && reply.ok) this.issued(reply);
  }

  async beat(strict) {
    const { socket } = this;
    this.let("beat");
    try {
      await this.request("heartbeat", { t: Date.now() / 1000 }, BEAT_ANSWER_MS);
      this.missed = 0;
    } catch {
      this.missed += 1;
    }
    if (this.socket !== socket || this.state !== "registered") return;
    if (this.missed >= (strict ? 1 : 2)) this.ended();
    else this.set("beat", BEAT_MS, () => this.beat(false));
    if (this.state === "registered" && performance.now() >= this.renewAt) await this.renew();
  }

  heard(name, data, answer) {
    if (name === "heartbeat") answer?.({ ok: true });
    else this.listener.notice(name, data ?? {});
  }

  failed(error) {
    const code = error?.data?.code;
    if (!code) {
      this.ended();
      return;
    }
    this.drop();
    this.become("refused");
    if (code !== "unauthorised") this.set("retry", REFUSED_RETRY_MS, () => this.connect());
    this.listener.refused(code);
  }

  // The attempt failed or the connection broke: again, after a while that differs for everybody.
  ended() {
    this.drop();
    this.become("down");
    if (!this.wanted) return;
    const ceiling = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.failures);
    this.failures += 1;
    this.set("retry", Math.random() * ceiling, () => this.connect());
  }

  drop() {
    const { socket } = this;
    this.socket = null;
    for (const name of ["deadline", "resync", "beat"]) this.let(name);
    for (const { reject } of this.waiting.splice(0)) reject(new Error("the connection broke"));
    if (!socket) return;
    socket.off();
    socket.offAny();
    // In this order: the end of the connection says it all, and there may be none any more to say goodbye by.
    socket.io.engine?.close();
    socket.disconnect();
  }

  become(state) {
    const before = this.state;
    this.state = state;
    if (before === "registered" && state !== "registered") this.listener.lost();
    if (before !== state) this.listener.changed();
  }

  set(name, ms, then) {
    clearTimeout(this.timers[name]);
    this.timers[name] = setTimeout(then, ms);
  }

  let(name) {
    clearTimeout(this.timers[name]);
  }
}
