// The panel page: one WebSocket to the demo; everything that it shows came from a station's own control socket.
import { drawDevice } from "./devices.js";
import { Journal } from "./journal.js";
import { Place } from "./place.js";
import { chooseLanguage, currentLanguage, inLanguage, place, say, thePlace } from "./texts.js";

const RETRY_MS = 1000;
const TOAST_MS = 4000;
const find = (id) => document.getElementById(id);
const places = new Map();
const journal = new Journal(find("journal"));
let socket = null;
let wireState = "connecting";

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function showWire(state) {
  wireState = state;
  document.body.dataset.wire = state;
  find("wire").dataset.state = state;
  find("wire").textContent = say(state);
}

let toastTimer = 0;
function toast(text) {
  find("toast").textContent = text;
  find("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { find("toast").hidden = true; }, TOAST_MS);
}

/** The next thing worth doing, from what the stations say. */
function hint() {
  const states = [...places.values()];
  if (states.length === 0 || states.some((state) => state.process.state !== "running" && state.status === null)) {
    return say("hintStart");
  }
  const phases = states.map((state) => state.shownPhase());
  const ringer = states.find((state) => state.rings());
  if (states.some((state) => state.lacksCard())) return say("hintCard");
  if (states.some((state) => state.status?.error)) return say("hintError");
  if (phases.includes("reconnecting")) return say("hintBack");
  if (ringer) return say("hintRings", thePlace(ringer.station.name));
  if (phases.includes("connected")) return say("hintTalk");
  return say("hintIdle");
}

function refresh() {
  const words = hint();
  if (find("hint").textContent !== words) find("hint").textContent = words;
  for (const tab of find("tabs").children) {
    const state = places.get(tab.dataset.tab);
    if (state && tab.dataset.phase !== state.tabPhase()) tab.dataset.phase = state.tabPhase();
  }
}

function choosePlace(name) {
  document.body.dataset.tab = name;
  for (const tab of find("tabs").children) tab.setAttribute("aria-pressed", String(tab.dataset.tab === name));
  for (const panel of document.querySelectorAll(".place, .journal")) {
    panel.dataset.chosen = String(panel.dataset.tab === name);
  }
  if (name === "journal") journal.settle();
}

function nameTabs() {
  for (const tab of find("tabs").children) {
    tab.lastChild.textContent = tab.dataset.tab === "journal" ? say("journal") : place(tab.dataset.tab);
  }
}

function buildTabs(names) {
  find("tabs").replaceChildren(...names.map((name) => {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.dataset.tab = name;
    const dot = document.createElement("i");
    tab.append(dot, document.createElement("span"));
    tab.addEventListener("click", () => choosePlace(name));
    return tab;
  }));
  nameTabs();
  choosePlace(names.includes(document.body.dataset.tab) ? document.body.dataset.tab : names[0]);
}

function open(household) {
  places.clear();
  find("places").replaceChildren();
  for (const station of household.stations) {
    const press = (button, pressed) => send({ type: "press", station: station.name, button, pressed });
    const state = new Place(station, drawDevice(station.model, press), send, household.cards);
    places.set(station.name, state);
    find("places").append(state.element);
  }
  journal.open([...household.stations.map((station) => station.name), "hub"]);
  buildTabs([...household.stations.map((station) => station.name), "journal"]);
  chooseLanguage(currentLanguage());
}

const receivers = {
  household: open,
  status: (message) => places.get(message.station)?.showStatus(message.status),
  edge: (message) => places.get(message.station)?.showEdge(message.line, message.value),
  process: (message) => places.get(message.station)?.showProcess(message),
  card: (message) => places.get(message.station)?.showCard(message.plugged),
  journal: (message) => journal.add(message.entries),
  refused: (message) => toast(inLanguage(message.text)),
};

function connect() {
  const address = new URL("socket", location.href);
  address.protocol = "ws:";
  socket = new WebSocket(address);
  socket.addEventListener("open", () => showWire("live"));
  socket.addEventListener("message", (event) => {
    const message = JSON.parse(event.data);
    receivers[message.type]?.(message);
    refresh();
  });
  socket.addEventListener("close", () => {
    showWire("lost");
    setTimeout(connect, RETRY_MS);
  });
}

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    chooseLanguage(button.dataset.language);
    journal.rename();
    nameTabs();
    for (const state of places.values()) state.rename();
    showWire(wireState);
    refresh();
  });
}

chooseLanguage(currentLanguage());
showWire("connecting");
refresh();
connect();
