// A submission: its verdict and why, who vouches for it, and how to check it oneself.

import { find, get } from "./api.js";
import { h } from "./dom.js";
import { bytes, number, plural, score } from "./format.js";
import { account, command, fullId, named, pairs, section, tiles, time, words } from "./parts.js";
import { hasEnded } from "./phases.js";
import { stateBadge, took } from "./submissions.js";

export const submissionView = (id) => ({
  title: () => "Submission",

  async load(options) {
    const submission = await get(`/v1/submissions/${id}`, options);
    // this node may have refused a proof whose registration it does not know
    const path = `/v1/competitions/${submission.competition}`;
    const [competition, registration, board] = submission.competition
      ? await Promise.all([get(path, options), find(`/v1/registrations/${submission.registration}`, options), get(`${path}/leaderboard`, options)])
      : [];
    return { submission, competition, registration, board };
  },

  render({ submission, competition, registration, board }) {
    const entry = board?.entries.find((one) => one.registration === submission.registration);
    return h("div", { class: "view" },
      h("div", { class: "head" },
        h("p", { class: "crumbs" }, h("a", { href: "/" }, "Competitions"), competition ? [" / ", h("a", { href: `/competitions/${competition.id}` }, named(competition.title))] : null),
        h("div", { class: "head-row" }, h("h1", {}, `Submission ${submission.transaction.slice(0, 8)}`), stateBadge(submission)),
        h("div", { class: "facts" },
          h("span", {}, "By ", account(submission.competitor)),
          submission.height ? h("span", {}, `Block ${number(submission.height)}, `, time(submission.time_ms)) : h("span", {}, "In no block yet"))),
      verdict(submission, competition, registration, entry, board),
      tiles([
        [submission.state === "refused" ? "Claimed score" : "Proven score", score(submission.score, competition?.metric), submission.score_words],
        ["Rank of the registration", entry ? number(entry.rank) : "none", entry ? `of ${number(board.ranked)}${board.settled ? ", final" : ", so far"}` : null],
        ["Verified by", number(submission.certified_by?.length ?? 0), "validators, who signed the block, each after its own check"],
        ["Size of the proof", submission.proof ? bytes(submission.proof.length) : "unknown", submission.verified ? `this node verified it in ${took(submission.verified)}` : "not verified by this node"],
      ]),
      registration ? section("Why this rank", why(registration, entry)) : null,
      section("Verification", verification(submission)),
      section("Verify it yourself", yourself(submission, competition)),
      section("Names", h("div", { class: "card" }, pairs([
        ["Transaction", fullId(submission.transaction)],
        ["Registration", fullId(submission.registration)],
        ["Committed model", registration ? fullId(registration.model) : "unknown"],
        ["Competitor", h("a", { class: "full-id", href: `/accounts/${submission.competitor}` }, submission.competitor)],
        competition ? ["Competition", h("a", { class: "full-id", href: `/competitions/${competition.id}` }, competition.id)] : null,
        submission.proof ? ["Proof", file(submission.proof)] : null,
      ]))));
  },

  news: (before, after) => (before.submission.state === after.submission.state ? "" : `This submission is now ${after.submission.state}`),

  finished: ({ submission, competition }) => Boolean(submission.height && competition && hasEnded(competition.phase)),
});

const file = (proof) => (proof.held
  ? h("a", { class: "full-id", href: `/v1/blobs/${proof.id}`, download: "score.proof" }, proof.id)
  : [fullId(proof.id), h("span", { class: "small" }, "its bytes are not on this node")]);

const VERDICTS = {
  accepted: ["good", "Accepted: the score is proven"],
  refused: ["bad", "Refused"],
  waiting: ["warm", "Waiting"],
  verifying: ["warm", "Being verified"],
  ready: ["warm", "Valid here, waiting for a block"],
};

function verdict(submission, competition) {
  const [tone, title] = VERDICTS[submission.state] ?? ["warm", submission.state];
  return h("div", { class: `card verdict ${tone}` }, h("div", { class: "stack" }, h("h2", {}, title), h("p", {}, sentence(submission, competition))));
}

function sentence(submission, competition) {
  const { state, rule, reason, score_words: proven, waiting_for: waiting, best } = submission;
  switch (state) {
    case "accepted":
      return [`The model that was committed to before the test set was opened has this score on all ${plural(competition.samples, "sample")}: ${proven}. Its weights stay hidden. `,
        best ? "It counts for the leaderboard." : "Another proof of the same registration is better and counts instead."];
    case "refused":
      return [rule ? h("strong", {}, `Rule ${rule}: `) : null, words(reason ?? "the proof is not valid"), ". ",
        rule === "SUB-9" ? "A proof that is not valid costs the registration's deposit, and proofs that were valid before stay." : ""];
    case "verifying":
      return "This node is checking the proof now. Every validator does, before it signs the block that will hold it.";
    case "ready":
      return "This node has found the proof valid; it waits for a block to hold it.";
    default:
      return waiting ? `It waits for ${waiting}.` : "It waits to be looked at.";
  }
}

function why(registration, entry) {
  const { what, rule } = entry?.why ?? registration.why;
  return h("div", { class: "card" }, h("div", { class: "stack" },
    h("p", {}, h("strong", {}, entry ? `Rank ${entry.rank}. ` : "No rank. "), words(what.charAt(0).toUpperCase() + what.slice(1)), ".", h("span", { class: "small" }, `Rule ${rule}`)),
    entry?.tied ? h("p", {}, "Others have the same score. Of equal scores, the model that was registered first is ahead: the earlier block, then the earlier transaction in it.") : null,
    h("p", { class: "section-note" },
      `Registered in block ${number(registration.height)}, transaction ${number(registration.index)}. Deposit ${registration.deposit}.`,
      registration.paid ? ` Paid ${number(registration.paid)}.` : "")));
}

function verification({ verified, certified_by: signers, round, height }) {
  const own = verified
    ? `${verified.valid ? "Valid" : "Invalid"}, in ${took(verified)}${verified.together > 1 ? ` (its share of ${plural(verified.together, "proof")} judged together)` : ""}`
    : "This node has not verified it: it took the result from blocks that more than two thirds of the validators signed.";
  return h("div", { class: "card" }, pairs([
    ["This node", [own, verified?.reason ? h("span", { class: "small" }, verified.reason) : null]],
    verified?.at_ms ? ["When", time(verified.at_ms)] : null,
    ["Signed by", signers?.length ? h("ul", { class: "plain" }, signers.map((one) => h("li", {}, account(one)))) : "no block holds it yet"],
    height ? ["Block", [`${number(height)}`, round ? `, decided in round ${round}` : ", decided in the first round of voting"]] : null,
  ]));
}

function yourself(submission, competition) {
  const node = `--node ${location.origin}`;
  return h("div", { class: "stack" },
    h("p", { class: "section-note" }, "These commands believe no node: they take the blocks from it and check signatures, rules and proofs again on your machine."),
    competition ? h("p", {}, "Why this competitor's result is what it is, each step with its rule:") : null,
    competition ? command(`agon explain ${competition.id} ${submission.registration} ${node}`) : null,
    h("p", {}, "Everything, every proof included, from the genesis on:"),
    command(`agon audit ${node}`),
    competition && hasEnded(competition.phase) && competition.phase !== "cancelled"
      ? [h("p", {}, "The result as a file that proves itself to whoever has the genesis:"), command(`agon settlement export ${competition.id} --out result ${node}`)]
      : null);
}
