// An account: what it owns, hosts and competes in. And the page that asks which one.

import { get, list } from "./api.js";
import { h } from "./dom.js";
import { number } from "./format.js";
import { account, badge, empty, fullId, id as shortId, named, section, table, tiles, time, words } from "./parts.js";
import { phaseBadge } from "./phases.js";

const NAME = /^[0-9a-f]{64}$/;

export const accountsView = () => ({
  title: () => "Accounts",

  async load(options) {
    const [status, validators] = await Promise.all([get("/v1/status", options), get("/v1/validators", options)]);
    return { status, validators };
  },

  render: ({ status, validators }) => h("div", { class: "view" },
    h("div", { class: "head" },
      h("h1", {}, "Accounts"),
      h("p", { class: "lead" }, "What an account owns, hosts and competes in. An account is a public key: 64 hexadecimal digits.")),
    h("div", { class: "card" }, finder()),
    section("Known here", table("Accounts that this node knows by their role",
      [
        { name: "Account", header: true, cell: (one) => account(one.account) },
        { name: "Role", cell: (one) => one.role },
      ],
      known(status, validators), { key: (one) => one.account }))),

  // nothing may change below somebody's hands
  finished: () => true,
});

function known(status, { validators }) {
  const rows = validators.map((one) => ({ account: one.account, role: one.account === status.account ? "validator, this node's own" : "validator" }));
  if (status.account && !rows.some((one) => one.account === status.account)) rows.unshift({ account: status.account, role: "this node's own" });
  return rows;
}

// A field for a name, with a message below it when what is typed is none.
function finder() {
  const submit = (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    const name = form.elements.name.value.trim().toLowerCase();
    const message = form.nextElementSibling;
    if (NAME.test(name)) {
      dispatchEvent(new CustomEvent("agon-go", { detail: `/accounts/${name}` }));
      return;
    }
    message.textContent = "That is not an account: enter all 64 hexadecimal digits, as `agon key show` prints them.";
    form.elements.name.setAttribute("aria-invalid", "true");
    form.elements.name.focus();
  };
  return [
    h("form", { class: "find", onsubmit: submit, novalidate: true },
      h("label", {}, "Account", h("input", { name: "name", autocomplete: "off", spellcheck: "false", "aria-describedby": "find-message" })),
      h("button", { class: "button", type: "submit" }, "Show")),
    h("p", { id: "find-message", class: "find-message", role: "alert" }),
  ];
}

export const accountView = (id) => ({
  title: () => `Account ${id.slice(0, 8)}`,

  async load(options) {
    const [view, history] = await Promise.all([
      get(`/v1/accounts/${id}`, options),
      list(`/v1/accounts/${id}/history?limit=50`, { cursor: "below", ...options }),
    ]);
    return { view, history };
  },

  render: ({ view, history }) => h("div", { class: "view" },
    h("div", { class: "head" },
      h("p", { class: "crumbs" }, h("a", { href: "/accounts" }, "Accounts")),
      h("div", { class: "head-row" }, h("h1", {}, `Account ${id.slice(0, 8)}`), view.validator ? badge("accent", "star", "Validator") : null),
      h("p", {}, fullId(view.account))),
    tiles([
      ["Balance", number(view.balance), null, "prize"],
      ["In escrow", number(view.escrowed), "prizes, bonds and deposits"],
      ["Hosted", number(view.hosted_total), "competitions"],
      ["Registrations", number(view.registrations_total)],
      ["Next nonce", number(view.nonce), "transactions are numbered"],
    ]),
    section("Competes in", registrations(view)),
    view.hosted.length ? section("Hosts", hosted(view.hosted)) : null,
    section("History", entries(history))),
});

const competitionLink = (one) => h("a", { href: `/competitions/${one.competition}` }, named(one.title));

function registrations({ registrations: list }) {
  if (list.length === 0) return empty("It has registered no model.");
  const columns = [
    { name: "Competition", header: true, cell: competitionLink },
    { name: "State", cell: (one) => phaseBadge(one.phase) },
    { name: "Registration", cell: (one) => shortId(one.registration) },
    { name: "Score", number: true, cell: (one) => one.score_words ?? "none proven" },
    { name: "Rank", number: true, cell: (one) => (one.rank ? number(one.rank) : "none") },
    { name: "Paid", number: true, cell: (one) => number(one.paid) },
  ];
  return table("Registrations of this account, the newest first", columns, list, { key: (one) => one.registration });
}

function hosted(list) {
  const columns = [
    { name: "Competition", header: true, cell: competitionLink },
    { name: "State", cell: (one) => phaseBadge(one.phase) },
  ];
  return table("Competitions that this account hosts, the newest first", columns, list, { key: (one) => one.competition });
}

function entries({ items, more }) {
  if (items.length === 0) return empty("Nothing has happened to it, as far as this node's blocks tell.");
  const columns = [
    { name: "Block", number: true, header: true, cell: (one) => number(one.height) },
    { name: "Time", cell: (one) => time(one.time_ms) },
    { name: "What", cell: (one) => [words(one.words), one.rule ? h("small", {}, `Rule ${one.rule}`) : null] },
    { name: "Outcome", cell: outcome },
    { name: "Amount", number: true, cell: (one) => (one.amount ? number(one.amount) : "") },
  ];
  return h("div", { class: "stack" },
    table("What happened to this account, the latest first", columns, items),
    more ? h("p", { class: "section-note" }, "Earlier entries are in the HTTP API.") : null);
}

function outcome(one) {
  if (one.outcome === "refused") return badge("bad", "cross", "Refused");
  if (one.outcome === "accepted") return badge("good", "tick", "Accepted");
  return badge("cool", "dot", { sent: "Sent", received: "Received", paid: "Paid" }[one.kind] ?? one.kind);
}
