// A competition: what it asks, where it stands, who leads, what is proven, what is paid.

import { get, list } from "./api.js";
import { scoreChart } from "./charts.js";
import { h } from "./dom.js";
import { bytes, number, plural, score, share, short } from "./format.js";
import { account, badge, command, empty, fullId, named, pairs, section, submissionLink, table, tiles, time, words } from "./parts.js";
import { comingUp, hasEnded, phaseBadge, phaseName, timeline } from "./phases.js";
import { rules, taskWords } from "./rules.js";
import { stateBadge, vouched } from "./submissions.js";

// Pages of 200 submissions.
const PAGES = 5;
// Lines of the leaderboard that are shown at once.
const SHOWN = 100;

export function competitionView(id) {
  let most = SHOWN;
  return {
    title: ({ competition }) => competition.title,

    async load(options) {
      const path = `/v1/competitions/${id}`;
      const [competition, board, submissions] = await Promise.all([
        get(path, options),
        get(`${path}/leaderboard`, options),
        list(`${path}/submissions?limit=200`, { most: PAGES, ...options }),
      ]);
      return { competition, board, submissions };
    },

    render({ competition, board, submissions }, again) {
      const more = () => {
        most += SHOWN;
        again();
      };
      return h("div", { class: "view" },
        head(competition),
        tiles([
          ["Prize", number(competition.prize), payoutNote(competition), "prize"],
          ["Competitors", number(competition.registrations), `${plural(submissions.total ?? submissions.items.length, "proof")} so far`],
          ["Decided by", competition.metric, `${plural(competition.samples, "sample")}, ${taskWords(competition.task)}`],
          leader(board),
        ]),
        section("Timeline", h("div", { class: "card" }, timeline(competition), comingUp(competition))),
        section("Leaderboard", leaderboard(competition, board, submissions, most, more)),
        section("Scores", scores(competition, submissions)),
        section("Proofs", proofs(competition, submissions)),
        h("div", { class: "columns" },
          section("Rules", h("div", { class: "card" }, rules(competition))),
          h("div", { class: "stack apart" },
            section("Prize and payout", payout(competition, board)),
            section(hasEnded(competition.phase) ? "Check the result" : "Take part", takePart(competition)),
            section("Data and commitments", data(competition)))));
    },

    news(before, after) {
      const told = [];
      if (before.competition.phase !== after.competition.phase) told.push(`Now: ${phaseName(after.competition.phase)}`);
      const [was, is] = [before.board.entries[0], after.board.entries[0]];
      if (is && is.registration !== was?.registration) told.push(`${short(is.competitor)} leads with ${is.score_words}`);
      return told.join(". ");
    },

    // proofs that are verified late may still get their verdict, nothing else changes
    finished: ({ competition, submissions }) => hasEnded(competition.phase) && Boolean(competition.ending)
      && submissions.items.every((one) => one.height),
  };
}

function head(competition) {
  return h("div", { class: "head" },
    h("p", { class: "crumbs" }, h("a", { href: "/" }, "Competitions")),
    h("div", { class: "head-row" }, h("h1", {}, named(competition.title)), phaseBadge(competition.phase)),
    competition.description ? h("p", { class: "lead description", dir: "auto" }, competition.description) : null,
    h("div", { class: "facts" },
      h("span", {}, "Host ", account(competition.host)),
      h("span", {}, "Opened ", time(competition.opened.time_ms), `, block ${number(competition.opened.height)}`)));
}

function payoutNote({ payouts }) {
  return payouts.length === 1 ? "all to the first" : `to the first ${number(payouts.length)}`;
}

function leader(board) {
  const first = board.entries[0];
  if (!first) return ["Best score", "none", "no proof is accepted yet"];
  return [board.settled ? "Winning score" : "Best score", score(first.score, board.metric), [first.score_words, ", ", account(first.competitor)]];
}

function leaderboard(competition, board, submissions, most, more) {
  if (board.entries.length === 0) {
    return empty(...(NOBODY[competition.phase] ?? ["Nobody is ranked."]));
  }
  const entries = board.entries.slice(0, most);
  const proofsOf = new Map();
  for (const one of submissions.items) {
    if (one.best) proofsOf.set(one.registration, one.transaction);
  }
  const columns = [
    { name: "Rank", kind: "rank", header: true, cell: (entry) => number(entry.rank) },
    { name: "Competitor", cell: (entry) => account(entry.competitor) },
    { name: "Score", number: true, cell: (entry) => [h("strong", {}, score(entry.score, board.metric)), h("small", {}, entry.score_words)] },
    { name: "Why this rank", cell: (entry) => [why(entry), proofsOf.has(entry.registration) ? h("small", {}, "Proof ", submissionLink(proofsOf.get(entry.registration))) : null] },
    { name: board.settled ? "Paid" : "Would earn", number: true, cell: (entry) => earned(entry, competition, board) },
  ];
  const kind = (entry) => (entry.rank === 1 ? "first" : "");
  const note = board.settled
    ? "The ranking is final: the block that settled the competition fixed it and paid the prize."
    : "The ranking may still change: it becomes final when the competition settles.";
  return h("div", { class: "stack" },
    h("p", { class: "section-note" }, note),
    table("Leaderboard, the best first", columns, entries, { key: (entry) => entry.registration, kind }),
    ties(board),
    board.entries.length > entries.length
      ? h("p", {}, h("button", { class: "quiet", type: "button", onclick: more }, `Show more of ${number(board.entries.length)}`))
      : null);
}

const NOBODY = {
  announced: ["Nobody is ranked yet.", "Competitors can register when registration opens; scores come after the key is released."],
  open: ["Nobody is ranked yet.", "Models are being registered. Scores come after the key of the test set is released."],
  sealed: ["Nobody is ranked yet.", "Registration is closed. Scores come once the host releases the key."],
  proving: ["No proof is accepted yet.", "Competitors are proving their scores now; each appears here with the block that holds its proof."],
  void: ["Nobody is ranked: the competition is void.", "Prize and payout below says who got what back."],
  cancelled: ["Nobody is ranked: the host took the competition back before anybody registered.", undefined],
};

function why(entry) {
  const position = `registered in block ${number(entry.height)}, transaction ${number(entry.index)}`;
  if (entry.why.outcome === "tied_and_later") {
    return [badge("cool", "ring", "Tie, later"), h("small", {}, `${position}, after rank ${entry.rank - 1} with the same score`)];
  }
  if (entry.tied) return [badge("cool", "ring", "Tie, earliest"), h("small", {}, `${position}, before the others with this score`)];
  return [entry.rank === 1 ? "Best proven score" : "Next best score", h("small", {}, position)];
}

function ties(board) {
  const tied = board.entries.filter((entry) => entry.tied);
  if (tied.length === 0) return null;
  return h("p", { class: "section-note" }, `${plural(tied.length, "line")} share a score. Rule ${board.ties.rule}: ${board.ties.words}.`);
}

function earned(entry, competition, board) {
  const points = competition.payouts[entry.rank - 1] ?? 0;
  const amount = board.settled ? entry.prize ?? 0 : entry.would_earn;
  return [number(amount), points ? h("small", {}, share(points)) : null];
}

function scores(competition, { items }) {
  const chart = scoreChart(items, competition.metric);
  if (chart) return h("div", { class: "card" }, chart);
  return empty("No score is proven yet.", hasEnded(competition.phase) ? undefined : "Each accepted proof becomes a point here.");
}

function proofs(competition, { items, more, total }) {
  if (items.length === 0) {
    return empty("No proof has been submitted.", hasEnded(competition.phase) ? undefined : "Proofs are taken from the release of the key to the last deadline.");
  }
  const columns = [
    { name: "Proof", header: true, cell: (one) => submissionLink(one.transaction) },
    { name: "State", cell: (one) => [stateBadge(one), one.reason ? h("small", {}, one.rule ? `${one.rule}: ` : "", words(one.reason)) : null, one.waiting_for ? h("small", {}, `waits for ${one.waiting_for}`) : null] },
    { name: "Competitor", cell: (one) => account(one.competitor) },
    { name: one(competition.metric), number: true, cell: (proof) => [score(proof.score, competition.metric), proof.state === "refused" ? h("small", {}, "claimed") : proof.best ? h("small", {}, "counts") : null] },
    { name: "Verified by", cell: (proof) => vouched(proof) },
    { name: "Size", number: true, cell: (proof) => (proof.proof ? bytes(proof.proof.length) : "unknown") },
    { name: "Block", number: true, cell: (proof) => (proof.height ? number(proof.height) : "none yet") },
  ];
  const rows = [...items].reverse();
  return h("div", { class: "stack" },
    table("Proofs, the latest first", columns, rows, { key: (proof) => proof.transaction }),
    more ? h("p", { class: "section-note" }, `These are the first ${number(items.length)}${total ? ` of ${number(total)}` : ""}; the HTTP API has all of them.`) : null);
}

// A metric as the head of a column.
const one = (metric) => (metric === "accuracy" ? "Accuracy" : metric);

const REASONS = {
  prize: "prize",
  unclaimed_prize: "prize that no rank earned",
  deposit: "deposit returned",
  bond: "bond returned",
  bond_share: "share of the host's lost bond",
};

function payout(competition, board) {
  const { ending } = competition;
  if (ending?.payments?.length) {
    const columns = [
      { name: "To", header: true, cell: (payment) => account(payment.account) },
      { name: "What for", cell: (payment) => [REASONS[payment.reason] ?? payment.reason, payment.rule ? h("small", {}, payment.rule) : null] },
      { name: "Amount", number: true, cell: (payment) => number(payment.amount) },
    ];
    return h("div", { class: "stack" },
      h("p", { class: "section-note" }, `Paid by block ${number(ending.height)}${ending.words ? `: ${ending.words}` : ""}.`),
      table("Payments at the end", columns, ending.payments));
  }
  const rows = competition.payouts.map((points, index) => ({ rank: index + 1, points, entry: board.entries[index] }));
  const columns = [
    { name: "Rank", header: true, cell: (row) => number(row.rank) },
    { name: "Share", number: true, cell: (row) => share(row.points) },
    { name: "Amount", number: true, cell: (row) => number(Math.floor((competition.prize * row.points) / 10_000)) },
    { name: "Now", cell: (row) => (row.entry ? account(row.entry.competitor) : "nobody yet") },
  ];
  return h("div", { class: "stack" },
    hasEnded(competition.phase) ? null : h("p", { class: "section-note" }, `In escrow: the prize of ${number(competition.prize)} and the host's bond of ${number(competition.bond)}.`),
    table("Shares of the prize", columns, rows));
}

function takePart({ id, phase }) {
  const node = `--node ${location.origin}`;
  if (!hasEnded(phase)) {
    const entering = phase === "announced" || phase === "open";
    const note = entering
      ? "Data to train on, then one command that may be stopped and run again: it registers the hidden model, waits for the key, proves and submits."
      : "Registration is closed. For whoever has registered, this command goes on: it waits for the key if it must, proves and submits.";
    const lines = [entering ? `agon competitions download ${id} ${node}` : null, `agon compete ${id} model.onnx --wait ${node}`];
    return h("div", { class: "stack" }, h("p", { class: "section-note" }, note), lines.filter(Boolean).map(command));
  }
  return h("div", { class: "stack" },
    h("p", { class: "section-note" }, "Check it yourself: every block, proof and payment again, or as a file that proves itself."),
    command(`agon audit ${node}`),
    phase === "cancelled" ? null : command(`agon settlement export ${id} --out result ${node}`));
}

function data(competition) {
  const file = (blob, name) => h("a", { href: `/v1/blobs/${blob.id}`, download: name }, `Download, ${bytes(blob.length)}`);
  return h("div", { class: "card" }, pairs([
    ["Training data", competition.training_data ? file(competition.training_data, "training.agon") : "none published"],
    ["Sealed test set", file(competition.sealed_data, "sealed.agon")],
    ["Inputs", `${plural(competition.features, "feature")} on a public grid`],
    ["Least score", competition.minimum_words ?? "none"],
    ["Deposit", number(competition.deposit)],
    ["Bond of the host", number(competition.bond)],
    ["Competition", fullId(competition.id)],
    ["Test set's digest", fullId(competition.data_digest)],
    ["Commitment to the key", fullId(competition.key_commitment)],
    ["Key", competition.key ? fullId(competition.key) : "not released"],
  ]));
}
