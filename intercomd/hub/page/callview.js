// The call as it is seen: ringing, talking, how good it is; and the error, in words, with OK and retry.

import { text, hasText, clockTime } from "./texts.js";
import { mayOpen, doorWords } from "./door.js";
import { byId, setText, show, setData, setIcon, create } from "./dom.js";

const TALKING = ["connecting", "connected", "reconnecting"];

// `acts` are the page's: answer, hangUp, openDoor, mute, volume(value), speaker(id), unmuffle, retry, dismiss; `level()`
// is how loud the other side is.
export class CallView {
  constructor(acts, level) {
    this.level = level;
    this.opened = { call: false, error: false };
    this.before = null;
    const on = (id, act) => { byId(id).onclick = () => act(); };
    on("answer", acts.answer);
    on("decline", acts.hangUp);
    on("hang-up", acts.hangUp);
    on("open-door", acts.openDoor);
    on("mute", acts.mute);
    on("unmuffle", acts.unmuffle);
    on("prolong", acts.prolong);
    on("error-ok", acts.dismiss);
    on("error-retry", acts.retry);
    on("quality-open", () => this.toggleQuality());
    byId("volume").oninput = (event) => acts.volume(Number(event.target.value));
    byId("speaker").onchange = (event) => acts.speaker(event.target.value);
    byId("error").onkeydown = (event) => { if (event.key === "Escape") acts.dismiss(); };
  }

  render(model) {
    const { call, failure } = model.state;
    if (call) this.call(model, call);
    if (failure) this.error(failure);
    this.open("error", byId("veil"), Boolean(failure), byId("error-retry"));
    this.open("call", byId("call"), Boolean(call), byId("call-name"));
    for (const part of [byId("bar"), byId("main")]) part.inert = Boolean(call || failure);
    byId("call").inert = Boolean(failure);
    this.glow(call);
  }

  call(model, call) {
    const { phase } = call;
    const ringing = phase === "ringing_in";
    const talking = TALKING.includes(phase);
    setData(byId("call"), "phase", phase);
    setText(byId("call-name"), call.name);
    setIcon(byId("call-icon"), iconOf(model, call));
    setText(byId("call-status"), status(call));
    const words = hint(call);
    show(byId("call-hint"), Boolean(words));
    setText(byId("call-hint"), words);
    show(byId("prolong"), talking && Boolean(call.endsAt));
    show(byId("unmuffle"), model.muffled && talking);
    show(byId("answer"), ringing);
    show(byId("decline"), ringing);
    show(byId("hang-up"), !ringing && phase !== "ending");
    this.door(model, call);
    show(byId("mute"), talking);
    byId("mute").setAttribute("aria-pressed", String(model.muted));
    setIcon(byId("mute-icon"), model.muted ? "mic-off" : "mic");
    setText(byId("mute-word"), text(model.muted ? "call.unmute" : "call.mute"));
    show(byId("tools"), talking);
    this.speakers(model);
    this.quality(phase === "connected" ? model.live : null);
  }

  door({ doors, door }, call) {
    const told = door?.station === call.peer ? door : null;
    show(byId("open-door"), mayOpen(doors, call));
    byId("open-door").disabled = told?.state === "asking";
    setData(byId("door-told"), "door", told?.state ?? "");
    setText(byId("door-told"), told ? doorWords(told) : "");
  }

  speakers({ speakers, speaker, volume }) {
    show(byId("speaker-label"), speakers.length > 1);
    const select = byId("speaker");
    const options = speakers.map(({ deviceId, label }, place) => [deviceId, label, place]);
    const key = JSON.stringify([options, text("call.speaker")]);
    if (select.dataset.key !== key) {
      select.dataset.key = key;
      select.replaceChildren(...options.map(([id, label, place]) => newOption(id, label, place)));
    }
    const wanted = speaker || "default";
    if (select.value !== wanted) select.value = wanted;
    if (document.activeElement !== byId("volume")) byId("volume").value = String(volume);
  }

  quality(live) {
    show(byId("quality"), Boolean(live));
    if (!live) return;
    const grade = live.mos >= 4.2 ? 4 : live.mos >= 3.8 ? 3 : live.mos >= 3.1 ? 2 : 1;
    const ms = (seconds) => text("call.ms", { value: Math.round(seconds * 1000) });
    setData(byId("quality"), "grade", String(grade));
    setText(byId("quality-word"), `${text(`call.qualityOf.${grade}`)} · ${ms(live.latency)}`);
    setText(byId("q-latency"), ms(live.latency));
    setText(byId("q-loss"), text("call.percent", { value: (live.loss * 100).toFixed(1) }));
    setText(byId("q-round-trip"), ms(live.roundTrip));
    setText(byId("q-jitter"), ms(live.jitter));
    setText(byId("q-buffer"), ms(live.buffer));
    setText(byId("q-mos"), live.mos.toFixed(1));
  }

  toggleQuality() {
    const open = byId("quality-list").hidden;
    show(byId("quality-list"), open);
    byId("quality-open").setAttribute("aria-expanded", String(open));
  }

  error({ kind, reason, name }) {
    setData(byId("error"), "kind", kind);
    const key = hasText(`reason.${reason}`) ? `reason.${reason}` : `error.${kind}`;
    setText(byId("error-text"), text(key, { name }));
  }

  // Focus goes in, and back to where it was.
  open(what, element, wanted, first) {
    if (this.opened[what] === wanted) return;
    this.opened[what] = wanted;
    show(element, wanted);
    if (wanted) {
      if (!this.before?.isConnected || this.before === document.body) this.before = document.activeElement;
      element.inert = false;
      first.focus({ preventScroll: true });
    } else if (!this.opened.call && !this.opened.error) {
      for (const part of [byId("bar"), byId("main")]) part.inert = false;
      (this.before?.isConnected ? this.before : byId("main")).focus({ preventScroll: true });
      this.before = null;
    }
  }

  // The light round the caller follows the voice.
  glow(call) {
    const wanted = call?.phase === "connected";
    if (wanted === Boolean(this.frame)) return;
    if (!wanted) {
      cancelAnimationFrame(this.frame);
      this.frame = 0;
      byId("voice").style.setProperty("--level", "0");
      return;
    }
    let smooth = 0;
    const draw = () => {
      const level = Math.min(1, this.level() * 3);
      smooth += (level - smooth) * (level > smooth ? 0.5 : 0.12);
      byId("voice").style.setProperty("--level", smooth.toFixed(3));
      this.frame = requestAnimationFrame(draw);
    };
    this.frame = requestAnimationFrame(draw);
  }
}

function hint({ deaf, endsAt }) {
  if (deaf) return text("call.deaf");
  return endsAt ? text("call.endsIn", { seconds: Math.max(0, Math.round((endsAt - Date.now()) / 1000)) }) : "";
}

function status(call) {
  if (call.queue) return text(call.queue === 1 ? "phase.next" : "phase.queued", { ahead: call.queue - 1 });
  if (call.phase === "connected") return clockTime((Date.now() - call.answeredAt) / 1000);
  if (call.phase === "reconnecting" && !call.present) return text("phase.away");
  return text(`phase.${call.phase}`);
}

function iconOf({ stations }, { peer, role }) {
  const known = stations.find(({ id }) => id === peer);
  if (known) return known.role === "group" ? "group" : "door";
  return role === "callee" ? "person" : "door";
}

function newOption(id, label, place) {
  const option = create("option");
  option.value = id;
  const standard = id === "default" || id === "";
  option.textContent = standard ? text("call.speakerDefault") : label || text("call.speakerOther", { number: place + 1 });
  return option;
}
