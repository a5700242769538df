// What the node reports by itself: a stream of events, or long polls where no stream gets through.

import { get, Refused } from "./api.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8_000;
// After so many long polls, a stream is tried again.
const POLLS = 20;
// A stream sends something every few seconds, be it a comment; the browser notices when the connection ends.
const OPENING_MS = 10_000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const shown = () =>
  new Promise((resolve) => {
    if (!document.hidden) return resolve();
    document.addEventListener("visibilitychange", () => resolve(), { once: true });
  });

// Calls `changed(status)` at the start and `changed()` whenever something has happened, and `state(name, error)` with
// "live", "polling" or "disconnected" for as long as the page lives.
export async function follow({ changed, state }) {
  let pause = FIRST_PAUSE_MS;
  for (;;) {
    // a page that nobody sees holds no connection; a browser has few for each host
    await shown();
    try {
      changed(await get("/v1/status"));
      pause = FIRST_PAUSE_MS;
    } catch (error) {
      state("disconnected", error);
      await sleep(pause);
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
      continue;
    }
    const began = Date.now();
    if (!(await stream(changed, state))) await poll(changed, state);
    // whatever ends at once is not begun again at once
    if (Date.now() - began < FIRST_PAUSE_MS) await sleep(FIRST_PAUSE_MS);
  }
}

// Follows the stream to its end; whether there was one.
function stream(changed, state) {
  return new Promise((resolve) => {
    const source = new EventSource("/v1/events");
    let opened = false;
    const end = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", hidden);
      source.close();
      resolve(opened);
    };
    const hidden = () => document.hidden && end();
    const timer = setTimeout(() => !opened && end(), OPENING_MS);
    document.addEventListener("visibilitychange", hidden);
    source.onopen = () => {
      opened = true;
      state("live");
    };
    source.onerror = end;
    for (const kind of KINDS) source.addEventListener(kind, () => changed());
  });
}

// Kinds of events that the node sends.
const KINDS = ["hello", "block", "competition", "registration", "leaderboard", "submission", "evidence"];

async function poll(changed, state) {
  try {
    let { height } = await get("/v1/status");
    for (let count = 0; count < POLLS && !document.hidden; count += 1) {
      state("polling");
      // answered at the next block, or after 20 seconds without one
      const status = await get(`/v1/wait?height=${height}`, { patience: 40_000 });
      if (status.height !== height) changed(status);
      height = status.height;
    }
  } catch (error) {
    if (error instanceof Refused) await sleep(FIRST_PAUSE_MS * 4);
  }
}
