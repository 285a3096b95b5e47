// Plots of how calls were heard: plain points over time, drawn here.

import { make, makeSvg } from "./adminparts.js";
import { dayOf } from "./adminwhen.js";
import { dayAndTime, text, timeOfDay } from "./texts.js";

const WIDTH = 360;
const HEIGHT = 190;
const LEFT = 40;
const RIGHT = 10;
const TOP = 12;
const BOTTOM = 26;
const TICKS = 4;
const COLOURS = 8;
const NICE = [1, 2, 2.5, 5, 10];
const DAY_S = 86400;

// `points`: of the hub's quality series; `figure`: { key, scale, unit, digits, low, high }: where the axis begins, and
// what it reaches at least. `colours`: a class for each identity.
export function plot(points, figure, colours, nameOfIdentity) {
  const { key, unit, digits, scale } = figure;
  const known = points.filter((each) => typeof each[key] === "number");
  const dots = known.map((each) => ({ ...each, y: each[key] * scale }));
  const title = text(`admin.plot.${key}`);
  const small = make("span", { class: "small" }, unit ? ` ${unit}` : "");
  const caption = make("figcaption", {}, make("strong", {}, title), small);
  if (!dots.length) {
    return make("figure", { class: "card padded" }, caption, make("p", { class: "none" }, text("admin.plot.none")));
  }
  const said = inWords(dots, unit, digits);
  const across = timeAxis(dots);
  const upward = valueAxis(figure, Math.max(...dots.map(({ y }) => y)));
  const given = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "plot", role: "img", "aria-label": `${title}: ${said}` };
  const svg = makeSvg("svg", given);
  svg.append(...upward.ticks.flatMap((value) => level(value, upward, digits)));
  svg.append(...across.ticks.flatMap((moment) => instant(moment, across)));
  svg.append(...dots.map((dot) => point(dot, across, upward, colours, nameOfIdentity, figure)));
  return make("figure", { class: "card padded" }, caption, svg, make("p", { class: "small" }, said));
}

function inWords(dots, unit, digits) {
  const values = dots.map(({ y }) => y).sort((one, other) => one - other);
  const written = (value) => (unit ? `${value.toFixed(digits)} ${unit}` : value.toFixed(digits));
  const middle = written(values[Math.floor((values.length - 1) / 2)]);
  const [low, high] = [written(values[0]), written(values.at(-1))];
  return text("admin.plot.said", { number: dots.length, low, high, middle });
}

function valueAxis({ low, high }, most) {
  const reach = Math.max(high, most) - low;
  const rough = reach / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * NICE.find((nice) => nice * power >= rough * 0.999);
  const count = Math.ceil(reach / step - 1e-9);
  const ticks = Array.from({ length: count + 1 }, (_, number) => low + number * step);
  const tall = HEIGHT - TOP - BOTTOM;
  return { ticks, step, place: (value) => HEIGHT - BOTTOM - ((Math.max(low, value) - low) / (count * step)) * tall };
}

// A single call stands in the middle of its hour.
function timeAxis(dots) {
  const moments = dots.map((dot) => dot.at);
  const [first, last] = [Math.min(...moments), Math.max(...moments)];
  const margin = last - first < 60 ? 1800 : (last - first) * 0.03;
  const [from, to] = [first - margin, last + margin];
  const ticks = [0.12, 0.5, 0.88].map((part) => from + part * (to - from));
  const long = WIDTH - LEFT - RIGHT;
  return { ticks, isLong: to - from > 2 * DAY_S, place: (moment) => LEFT + ((moment - from) / (to - from)) * long };
}

function level(value, upward, digits) {
  const y = upward.place(value).toFixed(1);
  const whole = Number.isInteger(value) && Number.isInteger(upward.step) ? 0 : Math.max(1, digits);
  return [
    makeSvg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y, class: "level" }),
    makeSvg("text", { x: LEFT - 6, y: Number(y) + 4, "text-anchor": "end", class: "scale" }, value.toFixed(whole)),
  ];
}

function instant(moment, across) {
  const x = across.place(moment).toFixed(1);
  const words = across.isLong ? dayOf(moment) : timeOfDay(moment);
  return [
    makeSvg("line", { x1: x, x2: x, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4, class: "level" }),
    makeSvg("text", { x, y: HEIGHT - 8, "text-anchor": "middle", class: "scale" }, words),
  ];
}

function point(dot, across, upward, colours, nameOfIdentity, { digits, unit }) {
  const [cx, cy] = [across.place(dot.at), upward.place(dot.y)].map((place) => place.toFixed(1));
  const circle = makeSvg("circle", { cx, cy, r: 3.6, class: `dot ${colours.get(dot.identity)}` });
  const words = `${nameOfIdentity(dot.identity)} ${dot.y.toFixed(digits)} ${unit}`;
  circle.append(makeSvg("title", {}, `${words} · ${dayAndTime(dot.at)}`));
  return circle;
}

// One look for each who heard, by name: so many colours, then the same as rings, which the last of them share.
export function coloursOf(points, nameOfIdentity) {
  const identities = [...new Set(points.map(({ identity }) => identity))];
  identities.sort((one, other) => nameOfIdentity(one).localeCompare(nameOfIdentity(other)));
  const look = (place) => (place < COLOURS ? `hue-${place}` : `ring hue-${Math.min(place - COLOURS, COLOURS - 1)}`);
  return new Map(identities.map((identity, place) => [identity, look(place)]));
}

export function legend(colours, nameOfIdentity) {
  const items = Array.from(colours, ([identity, hue]) => {
    const circle = makeSvg("circle", { cx: 5, cy: 5, r: 4.5, class: `dot ${hue}` });
    const dot = makeSvg("svg", { viewBox: "0 0 10 10", class: "key-dot", "aria-hidden": "true" }, circle);
    return make("li", {}, dot, nameOfIdentity(identity));
  });
  return make("ul", { class: "legend" }, items);
}
