// The life of a competition: its phases, what comes next and when.

import { h } from "./dom.js";
import { badge, countdown, elapsed, time } from "./parts.js";
import { now } from "./format.js";

const PHASES = {
  announced: ["cool", "ring", "Announced"],
  open: ["good", "dot", "Open for registration"],
  sealed: ["warm", "lock", "Waiting for the key"],
  proving: ["accent", "half", "Proving"],
  paid: ["good", "tick", "Paid"],
  void: ["bad", "cross", "Void"],
  cancelled: ["bad", "cross", "Cancelled"],
};

export const phaseName = (phase) => PHASES[phase]?.[2] ?? phase;

export const phaseBadge = (phase) => badge(...(PHASES[phase] ?? ["", "ring", phase]));

export const hasEnded = (phase) => ["paid", "void", "cancelled"].includes(phase);

// What comes next: { what, then, from, until }; nothing once the competition has ended.
function next(competition) {
  const { opens_at, register_until, key_until, prove_until } = competition;
  switch (competition.phase) {
    case "announced":
      return { what: "Registration opens", then: "From then on, competitors commit to hidden models.", until: opens_at };
    case "open":
      return { what: "Registration closes", then: "After that, no model can enter, leave or change.", from: opens_at, until: register_until };
    case "sealed":
      return {
        what: "The host releases the key of the test set",
        then: "If it does not come in time, the competition is void, and those who registered share the host's bond.",
        from: register_until,
        until: key_until,
      };
    case "proving":
      return { what: "The last proofs are taken", then: "The first block after that ranks the proven scores and pays the prize.", from: register_until, until: prove_until };
    default:
      return undefined;
  }
}

// The line below a competition in a list.
export function remaining(competition) {
  const coming = next(competition);
  if (!coming) return h("span", {}, ENDINGS[competition.phase]);
  const late = coming.until <= now();
  return [
    h("span", {}, `${coming.what} `, late ? "with the next block" : ["in ", h("strong", {}, countdown(coming.until))]),
    coming.from ? elapsed(coming.from, coming.until) : null,
  ];
}

const ENDINGS = {
  paid: "Settled, and the prize is paid",
  void: "Ended without a winner",
  cancelled: "Taken back by the host before anybody registered",
};

const ORDER = ["announced", "open", "sealed", "proving", "end"];

// All phases in a row; the one that is now is marked.
export function timeline(competition) {
  const { opens_at, register_until, key_until, prove_until, phase } = competition;
  const ended = hasEnded(phase);
  // how far a competition came that ended early: without a key there was no proving, without registrations not even that
  const reached = { void: competition.key ? 4 : 3, cancelled: 1, paid: 4 }[phase] ?? ORDER.indexOf(phase);
  const steps = [
    ["Announced", ["terms and prize are fixed"]],
    ["Registration", [time(opens_at), " to ", time(register_until)]],
    ["Key", ["the host releases it by ", time(key_until)]],
    ["Proving", ["from the key to ", time(prove_until)]],
    [ended ? phaseName(phase) : "Settlement", [ended ? ENDINGS[phase].toLowerCase() : ["first block after ", time(prove_until)]]],
  ];
  return h("ol", { class: "timeline" }, steps.map(([name, words], index) => {
    const last = index === steps.length - 1;
    const current = ended ? last : index === reached;
    const done = index < reached;
    const skipped = ended && !last && index >= reached;
    const kind = current ? "now" : done ? "done" : skipped ? "skipped" : "";
    const state = current ? "now: " : done ? "done: " : skipped ? "left out: " : "";
    return h("li", { class: kind, "aria-current": current ? "step" : null }, h("span", { class: "visually-hidden" }, state), h("strong", {}, name), words);
  }));
}

// What comes next, in a sentence, and how long it is until then.
export function comingUp(competition) {
  const coming = next(competition);
  if (!coming) return null;
  const late = coming.until <= now();
  return h("div", { class: "next" },
    h("p", {}, h("strong", {}, `Next: ${coming.what.charAt(0).toLowerCase()}${coming.what.slice(1)}. `), coming.then),
    h("p", { class: "left" }, late ? "with the next block" : ["in ", countdown(coming.until)]));
}
