// What several views show: badges, tables, tiles, names, times, commands, notes.

import { h, s } from "./dom.js";
import { duration, iso, moment, now, short } from "./format.js";

// Signs in front of words, so that no state is told by colour alone.
const SIGNS = {
  dot: ["circle", { cx: 8, cy: 8, r: 5 }],
  ring: ["circle", { cx: 8, cy: 8, r: 5.5, fill: "none", stroke: "currentColor", "stroke-width": 2.5 }],
  tick: ["path", { d: "M2.5 8.5 6.5 12.5 13.5 4", fill: "none", stroke: "currentColor", "stroke-width": 2.5, "stroke-linecap": "round" }],
  cross: ["path", { d: "M3.5 3.5 12.5 12.5M12.5 3.5 3.5 12.5", fill: "none", stroke: "currentColor", "stroke-width": 2.5, "stroke-linecap": "round" }],
  lock: ["path", { d: "M3 7h10v7H3zM5.5 7V5a2.5 2.5 0 0 1 5 0v2", fill: "none", stroke: "currentColor", "stroke-width": 2 }],
  half: ["path", { d: "M8 2.5a5.5 5.5 0 1 0 5.5 5.5H8z" }],
  star: ["path", { d: "m8 1.5 2 4.3 4.6.6-3.4 3.2.9 4.7L8 12l-4.1 2.3.9-4.7L1.4 6.4 6 5.8z" }],
};

export function sign(name) {
  const [tag, attributes] = SIGNS[name];
  return s("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, s(tag, { fill: "currentColor", ...attributes }));
}

export const badge = (tone, signName, words) => h("span", { class: `badge ${tone}` }, sign(signName), words);

// A time in the reader's zone.
export const time = (ms) => h("time", { datetime: iso(ms) }, moment(ms));

// The time that is left, counted down by the clock of app.js.
export const countdown = (untilMs) => h("time", { datetime: iso(untilMs), "data-until": untilMs }, duration(untilMs - now()));

// How much of a phase is over.
export function elapsed(fromMs, untilMs) {
  const whole = Math.max(1, untilMs - fromMs);
  return h("progress", { max: whole, "data-from": fromMs, value: Math.min(Math.max(now() - fromMs, 0), whole), "aria-hidden": "true" });
}

// An account's, competition's or transaction's name, short, as a link where there is something behind it.
export function id(value, href) {
  const attributes = { class: "id", title: value };
  return href ? h("a", { ...attributes, href }, short(value)) : h("span", attributes, short(value));
}

export const account = (value) => id(value, `/accounts/${value}`);

export const submissionLink = (value) => id(value, `/submissions/${value}`);

// Words of the node with the long names in them made short.
export const words = (text) => String(text).split(/([0-9a-f]{64})/).map((part, index) => (index % 2 ? id(part) : part));

export const fullId = (value) => h("span", { class: "full-id" }, value);

// Tiles with a number each: [name, value, what it means or where it comes from, class].
export const tiles = (list) =>
  h("dl", { class: "tiles" }, list.filter(Boolean).map(([name, value, note, kind]) =>
    h("div", { class: `tile ${kind ?? ""}` }, h("dt", {}, name), h("dd", {}, value, note ? h("small", {}, note) : null))));

export const pairs = (list) =>
  h("dl", { class: "pairs" }, list.filter(Boolean).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

// A table. Columns: { name, number, header, cell(row) }; the roles are stated because a phone's style takes them from the elements.
export function table(caption, columns, rows, { key, kind } = {}) {
  const head = columns.map((column) => h("th", { scope: "col", role: "columnheader", class: column.number ? "number" : null }, column.name));
  const cell = (column, row) => {
    const attributes = { "data-label": column.name, class: [column.number ? "number" : "", column.kind ?? ""].join(" ").trim() || null };
    const content = h("div", {}, column.cell(row));
    return column.header
      ? h("th", { ...attributes, scope: "row", role: "rowheader" }, content)
      : h("td", { ...attributes, role: "cell" }, content);
  };
  return h("div", { class: "card flush" },
    h("table", { role: "table" },
      h("caption", { class: "visually-hidden" }, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
      h("tbody", { role: "rowgroup" }, rows.map((row) =>
        h("tr", { role: "row", "data-key": key?.(row), class: kind?.(row) || null }, columns.map((column) => cell(column, row)))))));
}

// A command to type, with a button that copies it.
export function command(line) {
  const copy = (event) => copyText(line, event.currentTarget);
  return h("div", { class: "command" }, h("code", {}, line), h("button", { class: "quiet", type: "button", onclick: copy, "aria-label": "Copy the command" }, "Copy"));
}

async function copyText(text, button) {
  const say = (words) => {
    button.textContent = words;
    setTimeout(() => { button.textContent = "Copy"; }, 2_000);
  };
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch {
    // some browsers keep the clipboard to themselves: then it is selected, to be copied by hand
    getSelection().selectAllChildren(button.previousElementSibling);
    say("Selected");
  }
}

// Nothing yet, and what would change that.
export const empty = (words, next) => h("div", { class: "note" }, h("p", {}, words), next ? h("p", { class: "section-note" }, next) : null);

export function failed(error) {
  const retry = () => dispatchEvent(new Event("agon-retry"));
  const words = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  return h("div", { class: "view" },
    h("div", { class: "head" }, h("h1", {}, error.status === 404 ? "Not found" : "This could not be loaded")),
    h("div", { class: "note error", role: "alert" },
      h("p", {}, h("strong", {}, words)),
      h("p", {}, `What to do next: ${error.hint ?? "try again in a moment"}.`),
      h("p", {}, h("button", { class: "quiet", type: "button", onclick: retry }, "Try again"), " ", h("a", { href: "/" }, "All competitions"))));
}

export const loading = () =>
  h("div", { class: "view", role: "status" }, h("span", { class: "visually-hidden" }, "Loading"),
    h("div", { class: "skeleton" }), h("div", { class: "skeleton wide" }), h("div", { class: "skeleton wide" }));

// What a stranger calls something: whatever its letters do to the direction of writing ends with it.
export const named = (title) => h("bdi", {}, title);

// A part of a view with a heading.
export function section(title, ...children) {
  const name = title.toLowerCase().replaceAll(/[^a-z]+/g, "-");
  return h("section", { "aria-labelledby": `part-${name}`, "data-key": name }, h("h2", { id: `part-${name}` }, title), children);
}
