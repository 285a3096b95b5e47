// Draws the stations as they would look on a wall, and turns presses into messages.
import { place, say } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";
const RELEASE_AFTER_MS = 120;

function shape(parent, name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  parent.append(element);
  return element;
}

/** A perforated disc: rings of 6 k holes, each with a lit lower edge, so that it looks drilled. */
function drillHoles(svg) {
  const rings = 7;
  for (let ring = 0; ring <= rings; ring += 1) {
    const count = ring === 0 ? 1 : ring * 6;
    for (let index = 0; index < count; index += 1) {
      const angle = (index / count) * 2 * Math.PI + (ring % 2) * (Math.PI / count);
      const [x, y] = [6.5 * ring * Math.cos(angle), 6.5 * ring * Math.sin(angle)];
      shape(svg, "circle", { class: "edge", cx: x.toFixed(2), cy: (y + 0.55).toFixed(2), r: 2.2 });
      shape(svg, "circle", { class: "hole", cx: x.toFixed(2), cy: y.toFixed(2), r: 2.1 });
    }
  }
}

function cutSlits(svg) {
  for (let row = 0; row < 7; row += 1) {
    const inset = [14, 6, 2, 0, 2, 6, 14][row];
    const place = { x: inset, width: 100 - 2 * inset, height: 3, rx: 1.5 };
    shape(svg, "rect", { ...place, class: "edge", y: row * 7 + 0.7 });
    shape(svg, "rect", { ...place, class: "hole", y: row * 7 });
  }
}

/** The cord: a coil that hangs from the handset and goes back into the body. */
function hangCord(svg) {
  const points = [];
  for (let step = 0; step <= 400; step += 1) {
    const along = step / 400;
    const turn = along * 2 * Math.PI * 24;
    const x = 8 + 44 * along + 2.6 * Math.cos(turn);
    const y = 31 * (1 - (2 * along - 1) ** 2) + 2.6 * Math.sin(turn);
    points.push(`${x.toFixed(1)} ${y.toFixed(1)}`);
  }
  shape(svg, "path", { class: "cord dark", d: `M${points.join("L")}` });
  shape(svg, "path", { class: "cord", d: `M${points.join("L")}` });
}

function wirePush(button, press) {
  let held = false;
  let spoken = false;
  const move = (down) => {
    if (held === down) return;
    held = down;
    press(button.dataset.button, down);
  };
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    button.setPointerCapture(event.pointerId);
    spoken = true;
    move(true);
  });
  for (const ending of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) {
    button.addEventListener(ending, () => move(false));
  }
  button.addEventListener("keydown", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    if (!event.repeat) move(true);
  });
  button.addEventListener("keyup", (event) => {
    if (event.key === " " || event.key === "Enter") move(false);
  });
  // A screen reader activates with a click that no pointer and no key came before.
  button.addEventListener("click", () => {
    if (!spoken) {
      move(true);
      setTimeout(() => move(false), RELEASE_AFTER_MS);
    }
    spoken = false;
  });
  button.addEventListener("contextmenu", (event) => event.preventDefault());
}

/** The device's element for `model`; `press(button, down)` is called for each edge made by a person. */
export function drawDevice(model, press) {
  const device = document.getElementById(`device-${model}`).content.firstElementChild.cloneNode(true);
  const lamps = document.getElementById("lamps").content.firstElementChild.cloneNode(true);
  device.querySelector("[data-lamps]").replaceWith(lamps);
  device.querySelectorAll(".holes").forEach(drillHoles);
  device.querySelectorAll(".slits").forEach(cutSlits);
  device.querySelectorAll(".coil").forEach(hangCord);
  for (const button of device.querySelectorAll("[data-button]")) wirePush(button, press);
  return device;
}

/** Everything on the device that is words: labels of buttons, the name plate. */
export function nameDevice(device, station) {
  for (const button of device.querySelectorAll("[data-button]")) {
    const bell = button.dataset.button === "call" && station.model === "door";
    const label = bell ? say("bell", place(station.peer)) : say(button.dataset.button);
    button.setAttribute("aria-label", label);
    button.title = label;
  }
  for (const plate of device.querySelectorAll(".for")) plate.textContent = place(station.peer);
  for (const led of device.querySelectorAll("[data-led]")) nameLed(led);
}

function nameLed(led) {
  led.setAttribute("aria-label", `${say(led.dataset.led)}: ${say(led.dataset.lit === "true" ? "lit" : "dark")}`);
}

/** One line of the board has moved: an LED or a button. */
export function moveLine(device, line, value) {
  for (const led of device.querySelectorAll(`[data-led="${CSS.escape(line)}"]`)) {
    led.dataset.lit = String(value);
    nameLed(led);
  }
  for (const button of device.querySelectorAll(`[data-button="${CSS.escape(line)}"]`)) {
    button.dataset.down = String(value);
  }
  if (line === "ringing" || line === "talking") device.dataset[line] = String(value);
}
