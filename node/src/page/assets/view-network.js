// The network: who validates, how fast blocks are final, who is connected, who contradicted itself.

import { get } from "./api.js";
import { finalityChart } from "./charts.js";
import { h } from "./dom.js";
import { number, plural } from "./format.js";
import { account, badge, empty, fullId, id, pairs, section, table, tiles, time } from "./parts.js";

const BLOCKS = 60;
const RECENT = 10;

export const networkView = () => ({
  title: () => "Network",

  async load(options) {
    const [network, validators, peers, evidence, readiness] = await Promise.all([
      get("/v1/network", options),
      get("/v1/validators", options),
      get("/v1/peers", options),
      get("/v1/evidence", options),
      // not ready is an answer too
      get("/ready", options).catch((error) => error.body ?? undefined),
    ]);
    const blocks = network.blocks.slice(0, BLOCKS).reverse();
    return { network, validators, peers, evidence, readiness, blocks };
  },

  render({ network, validators, peers, evidence, readiness, blocks }) {
    return h("div", { class: "view" },
      h("div", { class: "head" },
        h("div", { class: "head-row" }, h("h1", {}, network.name), readiness ? readyBadge(readiness) : null),
        readiness && !readiness.ready ? h("ul", { class: "section-note" }, readiness.reasons.map((reason) => h("li", {}, reason))) : null),
      tiles([
        ["Block", number(network.height), time(network.time_ms)],
        ["Time between blocks", seconds(network.finality.interval_p50_ms), "median"],
        ["Final after", seconds(network.finality.p50_ms), network.finality.p90_ms ? `median; nine of ten within ${seconds(network.finality.p90_ms)}` : "median"],
        ["Validators", number(network.validators), `${plural(peers.peers.length, "peer")} of this node`],
        ["Transactions waiting", number(network.mempool.transactions)],
        ["Proofs waiting", number(network.verification.waiting), `${number(network.verification.valid)} found valid, ${number(network.verification.invalid)} invalid`],
      ]),
      section("Finality", finality(blocks)),
      section("Validators", validatorTable(validators, blocks)),
      section("Peers of this node", peerTable(peers)),
      peers.bans.length ? section("Kept away", bans(peers.bans)) : null,
      section("Evidence", evidenceTable(evidence)),
      section("Latest blocks", blockTable(blocks)),
      section("This network", h("div", { class: "card" }, pairs([
        ["Network", fullId(network.network)],
        ["State root", fullId(network.state_root)],
        ["Rules", `version ${network.protocol_version}`],
        ["Money", `${number(network.supply)} in all, ${number(network.treasury)} of it in the treasury`],
        ["This node", network.account ? [account(network.account), network.validator ? " validates" : " follows"] : "follows without a key"],
        ["Genesis", h("a", { href: "/v1/genesis", download: "genesis.json" }, "Download")],
      ]))));
  },

  news(before, after) {
    const more = after.evidence.length - before.evidence.length;
    return more > 0 ? `${plural(more, "new piece")} of evidence against a validator` : "";
  },
});

const seconds = (ms) => (ms === null || ms === undefined ? "unknown" : `${(ms / 1_000).toFixed(2)} s`);

const readyBadge = (readiness) => (readiness.ready ? badge("good", "tick", "This node is ready") : badge("bad", "cross", "This node is not ready"));

function finality(blocks) {
  const chart = finalityChart(blocks);
  if (!chart) return empty("Not enough blocks yet.", "The chart shows the seconds between blocks, once there are three.");
  return h("div", { class: "stack" },
    h("p", { class: "section-note" }, "A block is final the moment it is decided: more than two thirds of the voting power have signed it, and nothing can undo it."),
    h("div", { class: "card" }, chart));
}

function validatorTable({ validators, total_power: total, pending }, blocks) {
  const proposed = new Map();
  for (const block of blocks) proposed.set(block.proposer, (proposed.get(block.proposer) ?? 0) + 1);
  const columns = [
    { name: "Validator", header: true, cell: (one) => account(one.account) },
    { name: "Power", number: true, cell: (one) => [number(one.power), h("small", {}, `${((one.power / total) * 100).toFixed(1)} %`)] },
    { name: "Proposed", number: true, cell: (one) => [number(proposed.get(one.account) ?? 0), h("small", {}, `of the last ${number(blocks.length)}`)] },
    { name: "Key", cell: (one) => (one.rotated_at ? `changed at block ${number(one.rotated_at)}` : "never changed") },
  ];
  return h("div", { class: "stack" },
    table("Validators in the order of their turns", columns, validators, { key: (one) => one.account }),
    pending.length ? h("p", { class: "section-note" }, `${plural(pending.length, "measure")} under way that some validators approve: see `, h("a", { href: "/v1/validators", "data-outside": true }, "the HTTP API"), ".") : null);
}

function peerTable({ peers }) {
  if (peers.length === 0) return empty("No peer is connected.", "A network of one validator needs none. Otherwise check network.bootstrap in config.toml.");
  const columns = [
    { name: "Peer", header: true, cell: (one) => h("span", { class: "id", title: one.peer }, `…${one.peer.slice(-8)}`) },
    { name: "Address", cell: (one) => h("span", { class: "full-id" }, one.address.split("/p2p/")[0]) },
    { name: "Height", number: true, cell: (one) => number(one.height) },
    { name: "Direction", cell: (one) => (one.incoming ? "it called" : "this node called") },
    { name: "Misbehaviour", number: true, cell: (one) => [number(one.points), one.points ? h("small", {}, "banned at 100") : null] },
  ];
  return table("Peers connected to this node", columns, peers, { key: (one) => one.peer });
}

function bans(list) {
  const columns = [
    { name: "Who", header: true, cell: (one) => h("span", { class: "full-id" }, one.subject) },
    { name: "Until", cell: (one) => (one.until_ms ? time(one.until_ms) : "the operator's settings change") },
    { name: "Why", cell: (one) => one.reason },
  ];
  return table("Peers and addresses that this node keeps away", columns, list, { key: (one) => one.subject });
}

function evidenceTable(evidence) {
  if (evidence.length === 0) return empty("No validator has contradicted itself, as far as this node has noticed.");
  const columns = [
    { name: "Validator", header: true, cell: (one) => account(one.validator) },
    { name: "Height", number: true, cell: (one) => number(one.height) },
    { name: "Round", number: true, cell: (one) => number(one.round) },
    { name: "Signed two of", cell: (one) => one.kind },
    { name: "For the blocks", cell: (one) => one.messages.map((message) => h("div", {}, message.block ? id(message.block) : "none")) },
  ];
  return table("Contradicting messages that a validator signed", columns, evidence);
}

function blockTable(blocks) {
  const latest = blocks.slice(-RECENT).reverse();
  if (latest.length === 0) return empty("There is no block yet.");
  const columns = [
    { name: "Block", number: true, header: true, cell: (one) => h("a", { href: `/v1/blocks/${one.height}`, "data-outside": true }, number(one.height)) },
    { name: "Time", cell: (one) => time(one.time_ms) },
    { name: "Proposer", cell: (one) => account(one.proposer) },
    { name: "Transactions", number: true, cell: (one) => number(one.transactions) },
    { name: "Signers", number: true, cell: (one) => number(one.signers) },
    { name: "Round", number: true, cell: (one) => number(one.round) },
    { name: "After", number: true, cell: (one) => seconds(one.interval_ms) },
  ];
  return table("The latest blocks", columns, latest, { key: (one) => String(one.height) });
}
