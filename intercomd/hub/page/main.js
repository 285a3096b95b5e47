// The page put together: what is heard goes through the call's rules, what they order is carried out, and all of it is
// drawn. Nothing else decides about calls.

import { handle, known, NO_CALL } from "./call.js";
import { Link } from "./link.js";
import { Media } from "./media.js";
import { Meter } from "./quality.js";
import { Sounds } from "./sounds.js";
import { Settings } from "./settings.js";
import { Door, doorWords } from "./door.js";
import { Push } from "./push.js";
import { Home } from "./home.js";
import { CallView } from "./callview.js";
import { byId, setText, show, translate } from "./dom.js";
import { chooseLanguage, otherLanguage, text } from "./texts.js";
import { takeInvitation, whoAmI, signIn, signOut, directory, recentCalls } from "./session.js";
import { askHub, claimInstance, randomId, recallBuried, keepBuried } from "./session.js";

const METRICS_MS = 5000;
const REFRESH_MS = 30000;
const TOAST_MS = 6000;
const FLASH_MS = 1000;
const QUIET_S = 8 * 3600;
const OUTGOING_SOUND = { calling: "ringback", ringing_out: "ringback", reconnecting: "reconnecting" };

class Page {
  constructor() {
    this.state = { ...NO_CALL, buried: recallBuried() };
    this.timers = {};
    this.heard = [];
    this.otherTabs = new BroadcastChannel("intercom.session");
    this.meter = new Meter();
    this.code = "";
    this.model = {
      screen: "loading", welcome: { invited: false, problem: null, busy: false }, stations: [], doors: [], door: null, calls: null,
      checks: { secure: window.isSecureContext, link: "connecting", microphone: "prompt", sound: false, visible: true },
      muted: false, muffled: false, live: null, speakers: [], speaker: "", volume: 1, quietUntil: 0,
    };
    this.sounds = new Sounds(() => this.draw());
    this.media = new Media(byId("far"), this.mediaListener());
    this.settings = new Settings(byId("far"), this.model);
    this.door = new Door((name, data) => this.link.requestNow(name, data), (told) => this.doorTold(told));
    this.push = new Push(askHub, () => this.draw());
    this.home = new Home({
      signIn: () => this.enter(), call: (id, name) => this.dial(id, name), soundOn: () => this.sounds.unlock(),
      openDoor: (id, name) => this.openDoor(id, name),
      reload: () => window.location.reload(), quiet: () => this.quieten(true), loud: () => this.quieten(false),
      wake: () => this.wake(),
    });
    this.callView = new CallView(this.callActs(), () => this.media.level);
    byId("language").onclick = () => { otherLanguage(); this.draw(); };
    byId("sign-out").onclick = () => this.leave();
  }

  mediaListener() {
    const hear = (type) => (epoch) => this.hear({ type, epoch, now: Date.now() });
    return {
      microphone: () => { this.settings.refresh().then(() => this.draw()); this.hear({ type: "microphone" }); },
      noMicrophone: (reason) => this.hear({ type: "noMicrophone", reason }),
      described: (epoch, sdp) => this.hear({ type: "described", epoch, sdp }),
      candidate: (epoch, candidate) => this.hear({ type: "candidate", epoch, candidate }),
      up: hear("up"), silent: hear("silent"), lost: hear("lost"),
      measured: (reading) => { this.meter.take(reading); this.model.live = this.meter.live; this.draw(); },
      muffled: (muffled) => { this.model.muffled = muffled; this.draw(); },
    };
  }

  callActs() {
    return {
      answer: () => this.hear({ type: "answer" }),
      hangUp: () => this.hear({ type: "hangup" }),
      openDoor: () => this.openDoor(this.state.call?.peer, this.state.call?.name),
      retry: () => this.hear({ type: "retry", id: randomId() }),
      dismiss: () => this.hear({ type: "dismiss" }),
      mute: () => this.mute(!this.model.muted),
      volume: (value) => { this.settings.setVolume(value); this.draw(); },
      speaker: (id) => this.settings.setSpeaker(id).then(() => this.draw()),
      prolong: () => this.hear({ type: "prolong" }),
      unmuffle: () => this.media.play(byId("far").srcObject),
    };
  }

  // ------------------------------------------------------------------------------------------------- begin and end

  async start() {
    chooseLanguage();
    this.watchBrowser();
    this.draw();
    const code = takeInvitation();
    if (code) {
      this.invite(code);
      return;
    }
    try {
      const resident = await whoAmI();
      if (resident) await this.admit(resident);
      else this.welcome({ invited: false });
    } catch {
      this.welcome({ invited: false, problem: "failed" });
      setTimeout(() => this.start(), METRICS_MS);
    }
  }

  invite(code) {
    this.code = code;
    this.welcome({ invited: true });
  }

  welcome({ invited, problem = null }) {
    this.model.screen = "welcome";
    this.model.welcome = { invited, problem, busy: false };
    this.draw();
  }

  async enter() {
    this.sounds.unlock();
    this.model.welcome.busy = true;
    this.draw();
    try {
      const resident = await signIn(this.code);
      this.link?.close();
      this.tellOtherTabs();
      await this.admit(resident);
    } catch (error) {
      const again = error.status === 0 || error.status >= 429;
      this.welcome({ invited: again, problem: again ? "failed" : "used" });
    }
  }

  async admit(resident) {
    this.resident = resident.name;
    this.model.screen = "home";
    this.draw();
    // Where the browser lets it: an installed page, or one that was reloaded, needs no touch.
    this.sounds.unlock();
    this.instance ??= await claimInstance();
    this.link = new Link(this.instance, this.linkListener());
    this.link.open();
    this.refresh();
    performance.mark("intercom:ready");
  }

  async leave() {
    this.hear({ type: "hangup" });
    this.push.drop().catch(() => {});
    await signOut().catch(() => {});
    this.tellOtherTabs();
    this.out("left");
  }

  // Signed out: here, in another tab, or by whoever looks after the intercom.
  out(problem) {
    this.link?.close();
    if (this.state.call) this.hear({ type: "hangup" });
    this.hear({ type: "dismiss" });
    this.state = { ...NO_CALL, buried: this.state.buried };
    Object.assign(this.model, { stations: [], doors: [], door: null, calls: null });
    this.resident = "";
    this.welcome({ invited: false, problem });
  }

  tellOtherTabs() {
    this.otherTabs.postMessage("changed");
  }

  watchBrowser() {
    if (this.watching) return;
    this.watching = true;
    this.otherTabs.onmessage = () => window.location.reload();
    window.addEventListener("hashchange", () => { const code = takeInvitation(); if (code) this.invite(code); });
    document.addEventListener("visibilitychange", () => { this.refresh(); this.draw(); });
    navigator.mediaDevices?.addEventListener("devicechange", () => this.devicesChanged());
    navigator.permissions?.query({ name: "microphone" }).then((permission) => {
      const look = () => { this.model.checks.microphone = permission.state; this.draw(); };
      permission.onchange = look;
      look();
    }).catch(() => {});
    setInterval(() => this.refresh(), REFRESH_MS);
    setInterval(() => this.draw(), FLASH_MS);
    setInterval(() => this.report(), METRICS_MS);
  }

  async devicesChanged() {
    if (this.state.call?.deaf) this.media.openMicrophone();
    await this.settings.refresh();
    this.draw();
  }

  // --------------------------------------------------------------------------------------------------- what happens

  linkListener() {
    return {
      known: () => known(this.state),
      resynced: (reply) => this.resynced(reply),
      servers: (servers) => { this.media.servers = servers; },
      lost: () => this.hear({ type: "unlinked" }),
      refused: (code) => this.refused(code),
      notice: (name, data) => this.hear({ type: "notice", name, data, now: Date.now() }),
      changed: () => this.draw(),
    };
  }

  resynced(reply) {
    const clock = (reply.serverTime ?? Date.now() / 1000) - Date.now() / 1000;
    this.clock = clock;
    this.model.quietUntil = reply.doNotDisturbUntil ? reply.doNotDisturbUntil - clock : 0;
    this.hear({ type: "linked", me: this.resident, calls: reply.calls ?? [], clock });
    this.push.refresh();
    if (this.wasLinked) this.refresh();
    else performance.mark("intercom:linked");
    this.wasLinked = true;
  }

  async refused(code) {
    if (code === "protocol_unsupported") this.model.checks.old = true;
    if (code === "unauthorised") this.out("ended");
    this.draw();
  }

  // Nobody rings at this person's devices for a night's length, or everybody does again. By the hub's clock.
  async quieten(wanted) {
    const until = Date.now() / 1000 + QUIET_S;
    const wish = wanted ? { until: until + this.clock } : {};
    const reply = await this.link.request("set_do_not_disturb", wish).catch(() => null);
    if (reply?.ok) this.model.quietUntil = wanted ? until : 0;
    else this.toast(text("quiet.failed"));
    this.draw();
  }

  // This device rings also while the page is closed, or no more.
  async wake() {
    try {
      await (this.push.subscribed ? this.push.turnOff() : this.push.turnOn());
    } catch {
      if (!this.push.why) this.toast(text("push.failed"));
    }
  }

  dial(peer, name) {
    this.hear({ type: "dial", peer, name, id: randomId() });
  }

  openDoor(station, name) {
    if (station) this.door.open(station, name, this.state.call);
  }

  // In a call it stands there, elsewhere it is a word in passing.
  doorTold(told) {
    this.model.door = told;
    if (told && told.state !== "asking" && !this.state.call) this.toast(doorWords(told));
    this.draw();
  }

  mute(muted) {
    this.model.muted = muted;
    this.media.mute(muted);
    this.draw();
  }

  // One event after the other, also where carrying out one raises the next.
  hear(event) {
    this.heard.push(event);
    if (this.hearing) return;
    this.hearing = true;
    try {
      while (this.heard.length) this.handle(this.heard.shift());
    } finally {
      this.hearing = false;
    }
    this.draw();
  }

  handle(event) {
    const { call } = this.state;
    const [state, effects] = handle(this.state, event);
    this.state = state;
    for (const effect of effects) this.carryOut(effect, call);
    if (state.call?.id === call?.id) return;
    // Another call than before, or none: its figures begin anew.
    this.meter = new Meter();
    Object.assign(this.model, { live: null, muted: false, muffled: false });
  }

  carryOut(effect, call) {
    const { media, sounds } = this;
    switch (effect.do) {
      case "send": this.send(effect.name, effect.data); break;
      case "microphone": if (effect.open) media.openMicrophone(); else media.closeMicrophone(); break;
      case "media": media.start(effect.epoch, effect.offerer); break;
      case "remote": media.remote(effect.epoch, effect.sdp); break;
      case "candidate": media.addCandidate(effect.epoch, effect.candidate); break;
      case "stop": this.report(call); media.stop(); break;
      case "jingle": sounds.once(effect.name); break;
      case "remember": keepBuried(this.state.buried); break;
      case "tell": this.toast(text(effect.text, { name: effect.name })); break;
      case "refresh": this.refresh(); break;
      case "cancel": for (const kind of effect.kinds) clearTimeout(this.timers[kind]); break;
      case "timer": this.setTimer(effect); break;
      default: throw new Error(`nobody carries out ${effect.do}`);
    }
  }

  setTimer({ kind, seconds, call, epoch }) {
    clearTimeout(this.timers[kind]);
    this.timers[kind] = setTimeout(() => this.hear({ type: "timer", kind, call, epoch }), seconds * 1000);
  }

  async send(name, data) {
    try {
      const reply = await this.link.request(name, data);
      this.hear({ type: "replied", name, data, reply });
    } catch {
      this.hear({ type: "unanswered", name, data });
    }
  }

  // The call's figures, for its record; the hub takes the last ones when it is over, too.
  report(call = this.state.call) {
    const metrics = call?.wasUp && this.meter.metrics((Date.now() - call.answeredAt) / 1000);
    if (metrics && this.state.registered) {
      this.link.request("call_metrics", { callId: call.id, metrics }).catch(() => {});
    }
  }

  async refresh() {
    if (this.model.screen !== "home" || document.visibilityState === "hidden") return;
    const [stations, calls] = await Promise.allSettled([directory(), recentCalls()]);
    if (stations.reason?.status === 401) {
      this.out("ended");
      return;
    }
    if (stations.status === "fulfilled") {
      this.model.stations = stations.value.entries;
      this.model.doors = stations.value.doors ?? [];
    }
    if (calls.status === "fulfilled") this.model.calls = calls.value;
    else this.model.calls ??= "failed";
    this.draw();
  }

  // ------------------------------------------------------------------------------------------------------- to be seen

  draw() {
    const { model } = this;
    const { call } = this.state;
    model.state = this.state;
    Object.assign(model.checks, {
      link: this.link?.state ?? "connecting", sound: this.sounds.audible, visible: document.visibilityState === "visible",
    });
    model.push = this.push.state;
    translate();
    setText(byId("who"), this.resident ?? "");
    show(byId("who"), Boolean(this.resident));
    show(byId("sign-out"), model.screen === "home");
    this.home.render(model);
    this.callView.render(model);
    const outgoing = call?.queue ? "waiting" : OUTGOING_SOUND[call?.phase] ?? null;
    this.sounds.last(call?.phase === "ringing_in" ? "ringing" : outgoing);
    // It would cover the buttons of what came after it.
    if (call || this.state.failure) show(byId("toast"), false);
    this.announce(call);
  }

  announce(call) {
    const ringing = call?.phase === "ringing_in";
    const words = ringing ? text("announce.ringing", { name: call.name }) : "";
    setText(byId("announce"), words);
    const flash = ringing && Math.floor(Date.now() / FLASH_MS) % 2 === 0;
    const quiet = call && !ringing ? call.name : text("app.name");
    const title = flash ? words : quiet;
    if (document.title !== title) document.title = title;
  }

  toast(words) {
    setText(byId("toast-text"), words);
    show(byId("toast"), true);
    clearTimeout(this.timers.toast);
    this.timers.toast = setTimeout(() => show(byId("toast"), false), TOAST_MS);
  }
}

new Page().start();
