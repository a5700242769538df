// The state of a proof, and who vouches for it.

import { h } from "./dom.js";
import { effort, plural } from "./format.js";
import { badge } from "./parts.js";

const STATES = {
  waiting: ["", "ring", "Waiting"],
  verifying: ["cool", "half", "Verifying"],
  ready: ["cool", "dot", "Ready for a block"],
  accepted: ["good", "tick", "Accepted"],
  refused: ["bad", "cross", "Refused"],
};

export const stateBadge = ({ state }) => badge(...(STATES[state] ?? ["", "ring", state]));

// Who has verified a proof: the validators that signed its block, each after judging it itself, and this node.
export function vouched({ certified_by, verified, state }) {
  const signers = certified_by?.length ?? 0;
  const others = signers ? plural(signers, "validator") : "no validator yet";
  return [others, h("small", {}, verified ? `this node in ${took(verified)}` : state === "waiting" ? "not judged yet" : "not by this node")];
}

export function took(verified) {
  if (verified.took_ms === null || verified.took_ms === undefined) return "a time that was not noted";
  return effort(verified.took_ms);
}
