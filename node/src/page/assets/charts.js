// Charts, drawn at the width they are shown at, so that their text has the size of other text.

import { h, s } from "./dom.js";
import { isShare, moreIsBetter, number, plural, score, short } from "./format.js";

const HEIGHT = 260;
const EDGE = { left: 64, right: 16, top: 16, bottom: 40 };
// More marks than this do not fit a screen: the latest are shown.
const MOST_SUBMISSIONS = 120;

function width() {
  const main = document.getElementById("main");
  const style = getComputedStyle(main);
  const inner = main.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  // the card's own padding
  return Math.max(260, Math.min(inner, 1_184) - 50);
}

// Steps of 1, 2 or 5 times a power of ten, at most `count` of them, none below `least`.
function ticks(low, high, count, least = 0) {
  const rough = Math.max((high - low) / count || 1, least);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough) ?? rough;
  const list = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) list.push(value);
  return list;
}

function frame(label, wide, content) {
  return s("svg", { class: "chart", viewBox: `0 0 ${wide} ${HEIGHT}`, width: wide, height: HEIGHT, role: "group", "aria-label": label }, content);
}

function grid(wide, values, y, words) {
  return values.map((value) => [
    s("line", { class: "grid", x1: EDGE.left, x2: wide - EDGE.right, y1: y(value), y2: y(value) }),
    s("text", { x: EDGE.left - 10, y: y(value) + 4, "text-anchor": "end" }, words(value)),
  ]);
}

const between = (low, high, from, to) => (value) => from + ((value - low) / (high - low || 1)) * (to - from);

// The domain of the scores with some room around.
function domain(values, metric) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low) * 0.25 || Math.abs(high) * 0.02 || 1;
  const bounded = isShare(metric);
  return [bounded ? Math.max(0, low - room) : low - room, bounded ? Math.min(1, high + room) : high + room];
}

// Every submission in order with its score, and the best so far as a line. Refused ones lie on the ground.
export function scoreChart(all, metric) {
  const list = all.filter((one) => one.height).slice(-MOST_SUBMISSIONS);
  const accepted = list.filter((one) => one.state === "accepted");
  if (accepted.length === 0) return null;
  const wide = width();
  const [low, high] = domain(accepted.map((one) => one.score), metric);
  const x = between(-0.5, list.length - 0.5, EDGE.left, wide - EDGE.right);
  const y = between(low, high, HEIGHT - EDGE.bottom, EDGE.top);
  const better = moreIsBetter(metric) ? (one, other) => one > other : (one, other) => one < other;
  let best;
  let lead = -1;
  const line = [];
  list.forEach((one, index) => {
    if (one.state !== "accepted" || (best !== undefined && !better(one.score, best))) return;
    line.push(best === undefined ? `M${x(index)} ${y(one.score)}` : `H${x(index)}V${y(one.score)}`);
    best = one.score;
    lead = index;
  });
  line.push(`H${wide - EDGE.right}`);
  const ground = HEIGHT - EDGE.bottom;
  const marks = list.map((one, index) => mark(one, index === lead, x(index), one.state === "accepted" ? y(one.score) : ground, metric));
  const shownOrders = ticks(1, Math.max(list.length, 2), Math.max(3, Math.floor(wide / 90)), 1);
  const first = all.filter((one) => one.height).length - list.length;
  const orders = shownOrders.filter((order) => order >= 1 && order <= list.length).map((order) =>
    s("text", { x: x(order - 1), y: ground + 20, "text-anchor": "middle" }, number(first + order)));
  const label = `Scores of ${plural(list.length, "submission")}; the best is ${score(best, metric)}`;
  const chart = frame(label, wide, [
    grid(wide, ticks(low, high, 5), y, (value) => scoreTick(value, metric, high - low)),
    s("line", { class: "axis", x1: EDGE.left, x2: wide - EDGE.right, y1: ground, y2: ground }),
    orders,
    s("path", { class: "best", d: line.join("") }),
    marks,
  ]);
  return h("figure", { class: "figure" }, chart, legend(list.some((one) => one.state === "refused")));
}

function scoreTick(value, metric, spread) {
  if (!isShare(metric)) return String(Number(value.toPrecision(4)));
  return `${(value * 100).toFixed(spread < 0.02 ? 2 : spread < 0.2 ? 1 : 0)} %`;
}

function mark(one, leads, x, y, metric) {
  const words = one.state === "accepted"
    ? `${short(one.competitor)} proved ${score(one.score, metric)}, block ${one.height}`
    : `${short(one.competitor)} was refused, block ${one.height}`;
  const shape = one.state === "accepted"
    ? s("circle", { class: leads ? "point lead" : "point", cx: x, cy: y, r: leads ? 8 : 6 })
    : s("path", { class: "refused", d: `M${x - 5} ${y - 5}l10 10M${x + 5} ${y - 5}l-10 10` });
  return s("a", { href: `/submissions/${one.transaction}`, "aria-label": words }, s("title", {}, words), shape);
}

function legend(withRefused) {
  const item = (shape, words) => h("span", {}, s("svg", { class: "chart", viewBox: "0 0 16 16", "aria-hidden": "true" }, shape), words);
  return h("figcaption", { class: "legend" },
    h("span", {}, "Left to right: submissions in the order of their blocks"),
    item(s("circle", { class: "point", cx: 8, cy: 8, r: 6 }), "proven score"),
    item(s("circle", { class: "point lead", cx: 8, cy: 8, r: 6 }), "the best"),
    item(s("path", { class: "best", d: "M0 12H8V4H16" }), "best so far"),
    withRefused ? item(s("path", { class: "refused", d: "M3 3l10 10M13 3l-10 10" }), "refused") : null);
}

// Seconds between blocks. Blocks that took more than one round of voting are marked.
export function finalityChart(blocks) {
  const list = blocks.filter((block) => block.interval_ms !== undefined);
  if (list.length < 2) return null;
  const wide = width();
  const high = Math.max(1, ...list.map((block) => block.interval_ms / 1_000)) * 1.1;
  const y = between(0, high, HEIGHT - EDGE.bottom, EDGE.top);
  const x = between(0, list.length, EDGE.left, wide - EDGE.right);
  const slot = (wide - EDGE.left - EDGE.right) / list.length;
  const ground = HEIGHT - EDGE.bottom;
  const bars = list.map((block, index) => {
    const seconds = block.interval_ms / 1_000;
    const late = block.round > 0;
    const words = `block ${block.height}: ${seconds.toFixed(2)} s${late ? `, decided in round ${block.round}` : ""}`;
    const top = y(seconds);
    return s("rect", { class: late ? "bar late" : "bar", x: x(index) + slot * 0.12, y: top, width: slot * 0.76, height: Math.max(1, ground - top), rx: Math.min(3, slot * 0.3) }, s("title", {}, words));
  });
  const mean = list.reduce((sum, block) => sum + block.interval_ms, 0) / list.length / 1_000;
  const ends = [[0, "start"], [list.length - 1, "end"]].map(([index, anchor]) =>
    s("text", { x: anchor === "start" ? EDGE.left : wide - EDGE.right, y: ground + 20, "text-anchor": anchor }, `block ${number(list[index].height)}`));
  const label = `Seconds between the last ${list.length} blocks: ${mean.toFixed(2)} on average`;
  const chart = s("svg", { class: "chart", viewBox: `0 0 ${wide} ${HEIGHT}`, width: wide, height: HEIGHT, role: "img", "aria-label": label }, [
    grid(wide, ticks(0, high, 4), y, (value) => `${Number(value.toFixed(2))} s`),
    bars,
    s("line", { class: "axis", x1: EDGE.left, x2: wide - EDGE.right, y1: ground, y2: ground }),
    ends,
  ]);
  const item = (kind, words) => h("span", {}, s("svg", { class: "chart", viewBox: "0 0 16 16", "aria-hidden": "true" }, s("rect", { class: kind, x: 4, y: 2, width: 8, height: 12, rx: 2 })), words);
  return h("figure", { class: "figure" }, chart, h("figcaption", { class: "legend" },
    item("bar", "decided in the first round of voting"), item("bar late", "took more rounds"), h("span", {}, `mean ${mean.toFixed(2)} s`)));
}
