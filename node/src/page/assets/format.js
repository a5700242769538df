// Numbers, times and names as people read them.

const GROUPED = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const MOMENT = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hour12: false });

// The network's clock less this browser's, in milliseconds: a phone's clock may be wrong, the deadlines are the network's.
let offset = 0;

export function setClock(networkMs) {
  const difference = networkMs - Date.now();
  // the header that it comes from counts whole seconds
  offset = Math.abs(difference) > 2_000 ? difference : 0;
}

export const now = () => Date.now() + offset;

export const number = (value) => GROUPED.format(value);

// A time in the reader's zone: without the date today, without seconds when they tell nothing.
export function moment(ms) {
  const date = new Date(ms);
  if (date.toDateString() === new Date(now()).toDateString()) return CLOCK.format(date);
  return (Math.abs(ms - now()) < 7 * 86_400_000 ? MOMENT : DAY).format(date);
}

export const iso = (ms) => new Date(ms).toISOString();

// The beginning of a long name, as the command line shows it.
export const short = (id) => String(id).slice(0, 8);

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

// "2 d 3 h", "4 min 05 s", "12 s".
export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3_600) % 24, Math.floor(seconds / 60) % 60];
  const two = (value) => String(value).padStart(2, "0");
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${two(minutes)} min`;
  if (minutes > 0) return `${minutes} min ${two(seconds % 60)} s`;
  return `${seconds} s`;
}

// Work of a machine: "840 ms", "2.41 s".
export const effort = (ms) => (ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(2)} s`);

export function bytes(count) {
  if (count < 1_024) return plural(count, "byte");
  const units = ["KiB", "MiB", "GiB"];
  let value = count / 1_024;
  let unit = 0;
  while (value >= 1_024 && unit < units.length - 1) {
    value /= 1_024;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

// Basis points as a share.
export const share = (points) => `${Number((points / 100).toFixed(2))} %`;

// Metrics that are a share of the samples or a mean of shares.
const SHARES = /^(accuracy|top-\d+|balanced-accuracy|macro-f1)$/;

export const isShare = (metric) => SHARES.test(metric);

// Whether a greater score is better.
export const moreIsBetter = (metric) => isShare(metric) || metric === "r2";

// A proven score: a share in per cent, anything else with four significant digits.
export function score(value, metric) {
  if (value === null || value === undefined) return "unknown";
  if (isShare(metric)) return `${(value * 100).toFixed(2)} %`;
  return Number.isFinite(value) ? String(Number(value.toPrecision(6))) : "undefined";
}
