// Asking the node. An answer that says no carries what went wrong and what to do next; both are for people.

import { setClock } from "./format.js";

// Nobody watches a page that takes longer for an answer.
const PATIENCE_MS = 15_000;

export class Refused extends Error {
  constructor(status, body) {
    super(body?.error ?? `the node answered with status ${status}`);
    this.status = status;
    this.hint = body?.hint ?? "try again in a moment";
    this.body = body;
  }
}

// Nothing came back at all.
export class Unreachable extends Error {
  constructor() {
    super("the node does not answer");
    this.hint = "check that it runs (agon node run, or agon demo --keep); this page tries again by itself";
  }
}

// The JSON of an answer.
export const get = async (path, options) => (await ask(path, options)).body;

// The JSON of an answer, and where its list goes on.
async function ask(path, { signal, patience = PATIENCE_MS } = {}) {
  const limits = [AbortSignal.timeout(patience), ...(signal ? [signal] : [])];
  let response;
  try {
    response = await fetch(path, { signal: AbortSignal.any(limits), headers: { accept: "application/json" }, cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable();
  }
  const date = Date.parse(response.headers.get("date") ?? "");
  if (!Number.isNaN(date)) setClock(date);
  const body = await response.json().catch(() => undefined);
  if (!response.ok) throw new Refused(response.status, body);
  return { body, cursor: response.headers.get("x-next-cursor"), total: Number(response.headers.get("x-total-count") ?? NaN) };
}

// A list from its pages, at most `most` of them: { items, more, total }.
export async function list(path, { most = 1, cursor = "after", ...options } = {}) {
  const items = [];
  let at = "";
  let total;
  for (let page = 0; page < most; page += 1) {
    const joint = path.includes("?") ? "&" : "?";
    const answer = await ask(at ? `${path}${joint}${cursor}=${encodeURIComponent(at)}` : path, options);
    items.push(...answer.body);
    total ??= answer.total;
    at = answer.cursor;
    if (!at) break;
  }
  return { items, more: Boolean(at), total: Number.isFinite(total) ? total : undefined };
}

// The answer, or undefined when the node has no such thing.
export async function find(path, options) {
  try {
    return await get(path, options);
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return undefined;
    throw error;
  }
}
