// One station on its wall: the device, and under it what the daemon says about itself.
import { moveLine, nameDevice } from "./devices.js";
import { inLanguage, place, say } from "./texts.js";

const FLOOR_DBFS = -60;
const PEAK_HOLD_MS = 900;
const PEAK_FALL_DB_PER_S = 24;

/** A level meter: the fill follows the last value, the peak mark holds and then falls. */
class Meter {
  constructor(element) {
    this.element = element;
    this.scale = element.querySelector(".scale");
    this.output = element.querySelector("output");
    this.peak = FLOOR_DBFS;
    this.peakAt = 0;
  }

  show({ open, level_dbfs: level }, now) {
    const shown = open ? Math.max(FLOOR_DBFS, Math.min(0, level)) : FLOOR_DBFS;
    const fallen = this.peak - Math.max(0, (now - this.peakAt - PEAK_HOLD_MS) / 1000) * PEAK_FALL_DB_PER_S;
    if (shown >= fallen || !open) [this.peak, this.peakAt] = [shown, now];
    const words = open ? `${level > FLOOR_DBFS ? Math.round(level) : "−∞"} dB`.replace("-", "−") : say("closed");
    setAttribute(this.element, "data-open", open);
    setVariable(this.scale, "--level", (1 - shown / FLOOR_DBFS).toFixed(3));
    setVariable(this.scale, "--peak", Math.max(0, 1 - Math.max(shown, open ? fallen : shown) / FLOOR_DBFS).toFixed(3));
    setAttribute(this.scale, "aria-valuenow", Math.round(shown));
    setAttribute(this.scale, "aria-valuetext", words);
    setText(this.output, words);
  }
}

export class Place {
  constructor(station, device, send, cards) {
    this.station = station;
    this.device = device;
    this.status = null;
    this.process = { state: "starting" };
    this.plugged = true;
    this.element = document.getElementById("place").content.firstElementChild.cloneNode(true);
    this.element.dataset.station = station.name;
    this.element.dataset.model = station.model;
    this.element.dataset.tab = station.name;
    this.part(".wall").append(device);
    this.meters = {};
    for (const meter of this.element.querySelectorAll("[data-meter]")) {
      this.meters[meter.dataset.meter] = new Meter(meter);
    }
    this.part(".kill").addEventListener("click", () => send({ type: "kill", station: station.name }));
    this.part(".card").addEventListener("click", () => {
      send({ type: "card", station: station.name, plugged: !this.plugged });
    });
    this.part(".card").hidden = !cards;
    this.rename();
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  rename() {
    this.part(".name").textContent = place(this.station.name);
    this.element.setAttribute("aria-label", place(this.station.name));
    nameDevice(this.device, this.station);
    for (const [name, meter] of Object.entries(this.meters)) meter.scale.setAttribute("aria-label", say(name));
    this.#words();
    this.showCard(this.plugged);
  }

  shownPhase() {
    return this.process.state === "running" && this.status ? this.status.phase : "gone";
  }

  /** This station is the one that can answer. */
  rings() {
    return this.shownPhase() === "ringing" && this.status.panel?.patterns?.ringing === "fast";
  }

  lacksCard() {
    return this.status !== null && this.status.audio.card !== "ready";
  }

  tabPhase() {
    return this.status?.error ? "error" : this.shownPhase();
  }

  showStatus(status) {
    this.status = status;
    const now = performance.now();
    for (const [name, meter] of Object.entries(this.meters)) meter.show(status.audio[name], now);
    const { playout, route } = status.audio;
    setVariable(this.device, "--voice", playout.open ? Math.max(0, 1 + playout.level_dbfs / 48).toFixed(2) : "0");
    const talks = ["connected", "reconnecting"].includes(status.phase);
    setAttribute(this.device, "data-lifted", talks && route === "handset");
    this.#words();
  }

  /** The pins themselves, at once and not with the next status. */
  showEdge(line, value) {
    moveLine(this.device, line, value);
  }

  showProcess({ state, pid }) {
    this.process = { state, pid };
    this.element.dataset.process = state;
    if (state !== "running") this.#goDark();
    this.#words();
  }

  showCard(plugged) {
    this.plugged = plugged;
    this.part(".card").setAttribute("aria-pressed", String(!plugged));
    this.part(".card b").textContent = say(plugged ? "unplug" : "plug");
    this.part(".card small").textContent = say(plugged ? "unplugNote" : "plugNote");
  }

  /** A dead daemon drives no pins: its LEDs are dark and its meters closed. */
  #goDark() {
    this.status = null;
    for (const led of this.device.querySelectorAll("[data-led]")) moveLine(this.device, led.dataset.led, false);
    for (const meter of Object.values(this.meters)) meter.show({ open: false, level_dbfs: FLOOR_DBFS }, 0);
    setVariable(this.device, "--voice", "0");
  }

  #words() {
    const { status, process } = this;
    setText(this.part(".phase"), status ? inLanguage(status.text) : say(process.state === "running" ? "starting" : "gone"));
    setAttribute(this.part(".phase"), "data-phase", this.shownPhase());
    setText(this.part(".process"), say(process.state, process.pid ?? ""));
    setText(this.part(".detail"), status ? this.#detail(status) : "");
    setText(this.part(".fault"), status?.error ? inLanguage(status.error.text) : "");
    setAttribute(this.part(".fault"), "data-kind", status?.error?.kind ?? "");
  }

  #detail(status) {
    const parts = [];
    if (status.call?.peer) parts.push(say("with", place(status.call.peer)));
    if (status.phase === "connected") parts.push(clock(Date.now() - status.call.since * 1000));
    parts.push(say(`route_${status.audio.route}`));
    if (status.link.state !== "registered") parts.push(say("link_down"));
    if (status.store?.state && status.store.state !== "ok") parts.push(say(`store_${status.store.state}`));
    return parts.join(" · ");
  }
}

// Only real changes: a live region would repeat itself ten times a second, and each change costs a repaint.

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

function setVariable(element, name, value) {
  if (element.style.getPropertyValue(name) !== value) element.style.setProperty(name, value);
}

function clock(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
