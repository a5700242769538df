// The frame: which view an address shows, what keeps it fresh, and what a screen reader hears of it.

import { Unreachable } from "./api.js";
import { h, patch } from "./dom.js";
import { duration, now, short } from "./format.js";
import { follow } from "./live.js";
import { failed, loading } from "./parts.js";
import { accountView, accountsView } from "./view-account.js";
import { competitionView } from "./view-competition.js";
import { competitionsView } from "./view-competitions.js";
import { networkView } from "./view-network.js";
import { submissionView } from "./view-submission.js";

// Changes come in bursts: a block and what it caused. They are shown together.
const GATHER_MS = 250;
// A view that loads faster than this shows no placeholder.
const LOADING_MS = 150;

const main = document.getElementById("main");
const element = (id) => document.getElementById(id);

let shown = { path: undefined, view: undefined, data: undefined, stop: new AbortController() };
let status;

const ROUTES = [
  [/^\/$/, competitionsView, "competitions"],
  [/^\/competitions\/([^/]+)$/, competitionView, "competitions"],
  [/^\/submissions\/([^/]+)$/, submissionView, "competitions"],
  [/^\/network$/, networkView, "network"],
  [/^\/accounts$/, accountsView, "accounts"],
  [/^\/accounts\/([^/]+)$/, accountView, "accounts"],
];

function route(path) {
  for (const [pattern, view, nav] of ROUTES) {
    const match = pattern.exec(path);
    // an id is letters and digits; what else somebody writes there reaches no request
    if (match) return { view: view(match[1]?.replaceAll(/[^0-9A-Za-z]/g, "")), nav };
  }
  return { view: undefined };
}

// A view is { load(options), render(data, show), title(data), news(before, after), finished(data) }.
async function show({ focus = true } = {}) {
  shown.stop.abort();
  const { view, nav } = route(location.pathname);
  const current = { path: location.pathname, view, data: undefined, stop: new AbortController() };
  shown = current;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.nav === nav) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const placeholder = setTimeout(() => shown === current && main.replaceChildren(loading()), LOADING_MS);
  await refresh(current);
  clearTimeout(placeholder);
  if (shown !== current || !focus) return;
  scrollTo(0, 0);
  main.focus({ preventScroll: true });
  announce(document.title.replace(" · Agon", ""));
}

// Loads what the view shows and changes what differs. What was shown stays when the node does not answer.
async function refresh(current) {
  if (!current.view) return draw(failed({ status: 404, message: "there is no such page", hint: "go to the list of competitions" }), "Not found");
  try {
    const before = current.data;
    const data = await current.view.load({ signal: current.stop.signal });
    if (shown !== current) return;
    current.data = data;
    redraw(current);
    const news = before && current.view.news?.(before, data);
    if (news) announce(news);
  } catch (error) {
    if (shown !== current) return;
    if (!current.data) draw(failed(error), "Not loaded");
    if (!(error instanceof Unreachable) && error.status === undefined) console.error(error);
  }
}

function redraw(current) {
  const again = () => shown === current && refresh(current);
  draw(current.view.render(current.data, again), current.view.title(current.data));
}

function draw(content, title) {
  patch(main, h("div", {}, content));
  document.title = `${withoutTurns(title)} · Agon`;
}

// A hostile name may turn the direction of what is written after it. Elements keep that to themselves, plain text does not.
const withoutTurns = (text) => text.replaceAll(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "");

function announce(words) {
  element("announcer").textContent = withoutTurns(words);
}

// One refresh at a time, and one more when something happened meanwhile.
let gathering;
let refreshing = false;
let again = false;
function changed(newStatus) {
  if (newStatus) {
    status = newStatus;
    drawFooter();
  }
  gathering ??= setTimeout(async () => {
    gathering = undefined;
    if (refreshing) {
      again = true;
      return;
    }
    refreshing = true;
    const current = shown;
    if (current.data === undefined || !current.view?.finished?.(current.data)) await refresh(current);
    refreshing = false;
    if (again) {
      again = false;
      changed();
    }
  }, GATHER_MS);
}

let connected;
function connection(state, error) {
  if (state === connected) return;
  connected = state;
  element("connection").dataset.state = state;
  const words = { live: "Live", polling: "Live", disconnected: "Disconnected" };
  element("connection-text").textContent = words[state];
  const banner = element("disconnected");
  banner.hidden = state !== "disconnected";
  banner.textContent = state === "disconnected" ? `This page is not up to date: ${error.message}. What to do: ${error.hint}.` : "";
}

function drawFooter() {
  const { name, network, version } = status;
  patch(element("footer"), h("div", {},
    h("span", {}, `${name}, network `, h("span", { class: "id", title: network }, short(network))),
    h("span", {}, `agon ${version}`),
    h("a", { href: "/v1/docs", "data-outside": true }, "HTTP API"),
    h("span", {}, "Served by your node. Asks no other host.")));
}

// Deadlines and progress move between two refreshes too.
function tick() {
  let passed = false;
  for (const left of document.querySelectorAll("time[data-until]")) {
    const until = Number(left.dataset.until);
    const words = duration(until - now());
    if (left.textContent !== words) left.textContent = words;
    passed ||= until <= now() && until > now() - 5_000;
  }
  for (const bar of document.querySelectorAll("progress[data-from]")) bar.value = now() - Number(bar.dataset.from);
  if (passed) changed();
}

function follows(event) {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  // a link in a chart has its address in an object
  const address = new URL(link.getAttribute("href"), location.href);
  if (address.origin !== location.origin || link.hasAttribute("data-outside") || link.hasAttribute("download")) return;
  if (address.hash && address.pathname === location.pathname) return;
  event.preventDefault();
  history.pushState(undefined, "", address.pathname);
  show();
}

document.addEventListener("click", follows);
// the skip link changes the address too, but not the page
addEventListener("popstate", () => location.pathname !== shown.path && show());
addEventListener("agon-retry", () => show());
addEventListener("agon-go", (event) => {
  history.pushState(undefined, "", event.detail);
  show();
});
let resized;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => shown.data !== undefined && redraw(shown), 120);
});
setInterval(tick, 1_000);

show({ focus: false });
follow({ changed, state: connection });
