// A competition's rules in words, each with the name under which the specification has it.

import { h } from "./dom.js";
import { number, plural, share } from "./format.js";

const METRICS = {
  accuracy: "the share of the samples that the model classifies right",
  "balanced-accuracy": "the mean of the classes' shares that the model finds",
  "macro-f1": "the mean of the classes' F1 scores",
  mse: "the mean squared error",
  rmse: "the root of the mean squared error",
  mae: "the mean absolute error",
  r2: "R², the share of the targets' variance that the model explains",
};

function metricWords(metric) {
  if (/^top-\d+$/.test(metric)) return `the share of the samples whose class is among the model's first ${metric.slice(4)}`;
  return METRICS[metric] ?? metric;
}

// A task as the API states it: a number of classes, or values on a grid.
export function taskWords(task) {
  return task.kind === "classification" ? `${number(task.classes)} classes` : "values on a public grid";
}

export function rules(competition) {
  const c = competition;
  const best = c.higher_is_better ? "More is better." : "Less is better.";
  const list = [
    ["MET-2", `What decides: ${metricWords(c.metric)}, over all ${number(c.samples)} samples of a test set that nobody has seen. ${best}`],
    ["REG-1", `To enter, an account registers a commitment to a hidden model of at most ${plural(c.max_parameters, "parameter")} and leaves a deposit of ${number(c.deposit)}.`],
    ["REG-3", "The host may not compete: it knows the test set."],
    ["REG-4", `An account may hold ${plural(c.registrations_per_account, "registration")}. Until registration closes, one can be withdrawn and its deposit comes back.`],
    ["KEY-2", "When registration has closed, the host releases the key; only then does anybody see the test set. So no model can have been fitted to it."],
    ["VOID-1", `A host that releases no key that opens the committed test set gets the prize back, but loses its bond of ${number(c.bond)} to those who registered.`],
    ["SUB-3", `Each registration may prove its score ${c.submissions_per_registration === 1 ? "once" : `${number(c.submissions_per_registration)} times; the best proof counts`}. A proof reveals the score and the architecture, never the weights.`],
    ["SUB-9", "A proof that is not valid costs the deposit."],
    ["MET-3", c.minimum_words ? `A rank needs a proven score of ${c.minimum_words}.` : "Every proven score earns a rank."],
    ["SET-2", "Equal scores are ranked by the time of registration: the earlier block first, then the earlier transaction in it."],
    ["SET-3", `The prize goes to ${c.payouts.length === 1 ? "the first rank" : `the first ${number(c.payouts.length)} ranks: ${c.payouts.map(share).join(", ")}`}, paid by the block that settles. What no rank earns returns to the host.`],
    ["VOID-3", "When nobody earns a rank, prize, bond and deposits go back."],
  ];
  return h("ul", { class: "rules" }, list.map(([rule, words]) => h("li", {}, h("span", { class: "rule" }, rule), h("span", {}, words))));
}
