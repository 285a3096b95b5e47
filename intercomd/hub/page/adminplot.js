// Plots of how calls were heard: plain points over time, drawn here.

import { make, makeSvg } from "./adminparts.js";
import { text } from "./texts.js";

const WIDTH = 360;
const HEIGHT = 190;
const LEFT = 40;
const RIGHT = 10;
const TOP = 12;
const BOTTOM = 26;
const TICKS = 4;
const COLOURS = 6;
const NICE = [1, 2, 2.5, 5, 10];
const DAY_S = 86400;

// `points`: of the hub's quality series; `figure`: { key, scale, unit, digits, low, high }: where the axis begins, and
// what it reaches at least. `colours`: a class for each identity.
export function plot(points, figure, colours, nameOfIdentity) {
  const { key, unit, digits } = figure;
  const dots = points.filter((point) => typeof point[key] === "number").map((point) => ({ ...point, y: point[key] * figure.scale }));
  const title = text(`admin.plot.${key}`);
  const caption = make("figcaption", {}, make("strong", {}, title), make("span", { class: "small" }, unit ? ` ${unit}` : ""));
  if (!dots.length) return make("figure", { class: "card padded" }, caption, make("p", { class: "none" }, text("admin.plot.none")));
  const values = dots.map(({ y }) => y).sort((one, other) => one - other);
  const written = (value) => (unit ? `${value.toFixed(digits)} ${unit}` : value.toFixed(digits));
  const middle = written(values[Math.floor((values.length - 1) / 2)]);
  const said = text("admin.plot.said", { number: dots.length, low: written(values[0]), high: written(values.at(-1)), middle });
  const across = timeAxis(dots);
  const upward = valueAxis(figure, values.at(-1));
  const svg = makeSvg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "plot", role: "img", "aria-label": `${title}: ${said}` });
  svg.append(...upward.ticks.flatMap((value) => level(value, upward, digits)), ...across.ticks.flatMap((moment) => instant(moment, across)));
  svg.append(...dots.map((dot) => point(dot, across, upward, colours, nameOfIdentity, figure)));
  return make("figure", { class: "card padded" }, caption, svg, make("p", { class: "small" }, said));
}

function valueAxis({ low, high }, most) {
  const reach = Math.max(high, most) - low;
  const rough = reach / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * NICE.find((nice) => nice * power >= rough * 0.999);
  const count = Math.ceil(reach / step - 1e-9);
  const ticks = Array.from({ length: count + 1 }, (_, number) => low + number * step);
  return { ticks, step, place: (value) => HEIGHT - BOTTOM - ((Math.max(low, value) - low) / (count * step)) * (HEIGHT - TOP - BOTTOM) };
}

// A single call stands in the middle of its hour.
function timeAxis(dots) {
  const moments = dots.map((dot) => dot.at);
  const [first, last] = [Math.min(...moments), Math.max(...moments)];
  const margin = last - first < 60 ? 1800 : (last - first) * 0.03;
  const [from, to] = [first - margin, last + margin];
  const ticks = [0.12, 0.5, 0.88].map((part) => from + part * (to - from));
  return { ticks, isLong: to - from > 2 * DAY_S, place: (moment) => LEFT + ((moment - from) / (to - from)) * (WIDTH - LEFT - RIGHT) };
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
  const day = new Date(moment * 1000);
  const shown = across.isLong ? [day.getMonth() + 1, day.getDate()] : [day.getHours(), day.getMinutes()];
  const words = across.isLong ? shown.join("/") : shown.map((part) => String(part).padStart(2, "0")).join(":");
  return [
    makeSvg("line", { x1: x, x2: x, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4, class: "level" }),
    makeSvg("text", { x, y: HEIGHT - 8, "text-anchor": "middle", class: "scale" }, words),
  ];
}

function point(dot, across, upward, colours, nameOfIdentity, { digits, unit }) {
  const circle = makeSvg("circle", { cx: across.place(dot.at).toFixed(1), cy: upward.place(dot.y).toFixed(1), r: 3.6, class: `dot ${colours.get(dot.identity)}` });
  const when = new Date(dot.at * 1000).toLocaleString();
  circle.append(makeSvg("title", {}, `${nameOfIdentity(dot.identity)} ${dot.y.toFixed(digits)} ${unit} · ${when}`));
  return circle;
}

// One colour for each who heard; more than there are colours share the last.
export function coloursOf(points) {
  const identities = [...new Set(points.map(({ identity }) => identity))].sort();
  return new Map(identities.map((identity, place) => [identity, `hue-${Math.min(place, COLOURS - 1)}`]));
}

export function legend(colours, nameOfIdentity) {
  const items = Array.from(colours, ([identity, hue]) => {
    const dot = makeSvg("svg", { viewBox: "0 0 10 10", class: "key-dot", "aria-hidden": "true" }, makeSvg("circle", { cx: 5, cy: 5, r: 4.5, class: `dot ${hue}` }));
    return make("li", {}, dot, nameOfIdentity(identity));
  });
  return make("ul", { class: "legend" }, items);
}
