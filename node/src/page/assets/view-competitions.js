// The list of competitions: those that run first, then those that have ended, the newest first.

import { get, list } from "./api.js";
import { h } from "./dom.js";
import { number, plural } from "./format.js";
import { command, empty, named, section, sign, tiles } from "./parts.js";
import { hasEnded, phaseBadge, remaining } from "./phases.js";

const PAGES = 3;

export const competitionsView = () => ({
  title: () => "Competitions",

  async load(options) {
    const [status, competitions] = await Promise.all([get("/v1/status", options), list("/v1/competitions", { most: PAGES, ...options })]);
    return { status, ...competitions };
  },

  render({ status, items, more }) {
    const running = items.filter((one) => !hasEnded(one.phase)).sort((one, other) => until(one) - until(other));
    const ended = items.filter((one) => hasEnded(one.phase)).reverse();
    const prizes = running.reduce((sum, one) => sum + one.prize, 0);
    return h("div", { class: "view" },
      h("div", { class: "head" },
        h("h1", {}, "Competitions"),
        h("p", { class: "lead" }, "Hidden models, a sealed test set, proven scores. Validators check every proof, and the prize pays itself.")),
      tiles([
        ["Running", number(running.length)],
        ["Prizes at stake", number(prizes), null, "prize"],
        ["Ended", number(ended.length)],
        ["Block", number(status.height), `${plural(status.validators, "validator")}`],
      ]),
      section("Running", running.length ? cards(running) : none(items.length)),
      ended.length ? section("Ended", cards(ended)) : null,
      more ? h("p", { class: "section-note" }, "There are more than fit here: ", h("a", { href: "/v1/competitions", "data-outside": true }, "the HTTP API has all of them"), ".") : null);
  },

  news(before, after) {
    const known = new Map(before.items.map((one) => [one.id, one.phase]));
    const words = after.items.flatMap((one) => {
      if (!known.has(one.id)) return [`New competition: ${one.title}`];
      return known.get(one.id) === one.phase ? [] : [`${one.title} is now ${one.phase}`];
    });
    return words.join(". ");
  },
});

const until = ({ phase, opens_at, register_until, key_until, prove_until }) =>
  ({ announced: opens_at, open: register_until, sealed: key_until, proving: prove_until })[phase];

function none(others) {
  const words = others ? "No competition is running now." : "There is no competition on this network yet.";
  return h("div", { class: "stack" },
    empty(words, "A host opens one from a file with training and test data; it appears here with the block that holds it."),
    command(`agon host new data.npz --release --node ${location.origin}`));
}

const cards = (competitions) => h("ul", { class: "cards" }, competitions.map((one) =>
  h("li", { "data-key": one.id },
    h("article", { class: "card competition" },
      h("div", { class: "row" }, phaseBadge(one.phase), h("span", { class: "prize" }, h("span", { class: "visually-hidden" }, "Prize "), sign("star"), number(one.prize))),
      h("h3", {}, h("a", { href: `/competitions/${one.id}` }, named(one.title))),
      h("div", { class: "row small" },
        h("span", {}, plural(one.registrations, "competitor")),
        one.metric ? h("span", {}, `${one.metric}, ${plural(one.samples, "sample")}`) : null),
      h("div", { class: "foot" }, remaining(one))))));
