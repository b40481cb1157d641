// What the page knows, as signals: the feed and a few queries write, the panels read.
import { batch, computed, signal } from "@preact/signals";
import { addDays, shopClock } from "./clock.js";
import { Feed } from "./feed.js";
import { units } from "./money.js";
import { Pulse } from "./pulse.js";

/** @typedef {import("./feed.js").Change} Change */
/** @typedef {import("./feed.js").Phase} Phase */

const { dataset } = document.body;
const address = new URL(location.href);

export const shop = address.searchParams.get("shop") ?? "main";
export const timezone = dataset.timezone ?? "UTC";
const clock = shopClock(timezone);

/** The moment, once a second. */
export const now = signal(Date.now());
export const local = computed(() => clock(now.value));
/** The shop's date: a string, so that what depends on it is computed once a day. */
export const today = computed(() => local.value.day);
export const hour = computed(() => local.value.hour);

// The link.

/** @type {import("@preact/signals").Signal<Phase>} */
export const phase = signal("connecting");
/** When the feed was last known to be live. */
export const heard = signal(0);
/** Whether what is shown may be old: the feed has been away for five seconds. */
export const stale = computed(() => phase.value !== "live" && now.value - heard.value > 5_000);
/** When a figure last changed. */
export const changed = signal(0);
/** Up to when every event is in the figures: from the API's answers. */
export const completeTo = signal(0);

// Live figures.

/**
 * A metric's figures by id. Readers see them once per frame; while the page is hidden, not at all.
 * @template T
 */
class Held {
  /** @type {Map<string, T>} */ figures = new Map();
  filled = signal(false);
  #version = signal(0);
  #drawing = false;

  /** @param {(value: any) => T} read */
  constructor(read) {
    this.read = read;
  }

  /** @param {Change} change */
  take(change) {
    if (change.type === "snapshot") this.figures.clear();
    for (const { id, value } of change.figures) this.figures.set(id, this.read(value));
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      batch(() => {
        this.filled.value = true;
        this.#version.value += 1;
      });
    });
  }

  /** The figures, to be read in a computation. */
  get all() {
    this.#version.value;
    return this.figures.values();
  }
}

/** @typedef {{day: string, hour: number, currency: string, net: bigint, orders: number, units: number}} Sales */
/** @typedef {{day: string, currency: string, product: string, name: string, net: bigint, units: number}} Product */

/** @type {Held<Sales>} */
const sales = new Held((value) => ({
  day: value.day,
  hour: Number(value.hour.slice(11, 13)),
  currency: value.currency,
  net: units(value.net),
  orders: value.orders,
  units: value.units,
}));

/** @type {Held<Product>} */
const products = new Held((value) => ({
  day: value.day,
  currency: value.currency,
  product: value.product,
  name: value.name ?? value.product,
  net: units(value.net),
  units: value.units - value.refunded_units,
}));

export const filled = sales.filled;
export const productsFilled = products.filled;
/** The currency that the shop counts in. */
export const own = dataset.currency ?? "EUR";
const asked = address.searchParams.get("currency") ?? "";
export const currency = signal(/^[A-Z]{3}$/.test(asked) ? asked : own);

/** The shop's own currency first, then whatever was sold in these days. */
export const currencies = computed(() => {
  const others = new Set([currency.value]);
  for (const row of sales.all) others.add(row.currency);
  others.delete(own);
  return [own, ...[...others].sort()];
});

const pulse = new Pulse();
const YOUNG_HOUR = 10; // minutes

/**
 * A day's net revenue and orders by hour of the shop's clock.
 * @param {string} day
 */
function byHour(day) {
  const net = Array(24).fill(0n);
  const orders = Array(24).fill(0);
  for (const row of sales.all) {
    if (row.day !== day || row.currency !== currency.value) continue;
    net[row.hour] += row.net;
    orders[row.hour] += row.orders;
  }
  return { net, orders };
}

/** @param {bigint[]} amounts */
const sum = (amounts) => amounts.reduce((total, amount) => total + amount, 0n);

export const todayByHour = computed(() => byHour(today.value));
export const yesterdayByHour = computed(() => byHour(addDays(today.value, -1)));
export const revenue = computed(() => sum(todayByHour.value.net));
export const orders = computed(() => todayByHour.value.orders.reduce((a, b) => a + b, 0));

/** Yesterday up to this time of day; the hour that runs counts by its share. */
export const yesterdayByNow = computed(() => {
  const { net } = yesterdayByHour.value;
  const past = sum(net.slice(0, hour.value));
  return past + (net[hour.value] * BigInt(local.value.minute)) / 60n;
});

/** Orders a minute in this hour, and in the one before while this one is young. */
const usualPace = computed(() => {
  if (!filled.value) return null;
  const minutes = local.value.minute;
  const { orders: counts } = todayByHour.value;
  const young = minutes < YOUNG_HOUR;
  const before = hour.value ? counts[hour.value - 1] : yesterdayByHour.value.orders[23];
  return (counts[hour.value] + (young ? before : 0)) / ((young ? 60 : 0) + minutes + 1);
});

export const pace = computed(() => pulse.read(now.value, currency.value, usualPace.value));

/** @type {import("@preact/signals").Signal<"net" | "units">} */
export const ranking = signal("net");
export const topProducts = computed(() => {
  const rows = [];
  for (const row of products.all) {
    if (row.day === today.value && row.currency === currency.value) rows.push(row);
  }
  const by = ranking.value;
  rows.sort((a, b) => (a[by] < b[by] ? 1 : a[by] > b[by] ? -1 : a.product < b.product ? -1 : 1));
  return rows.slice(0, 8);
});

// Queries.

const PATIENCE = 10_000;

/**
 * @param {string} path
 * @param {Record<string, string>} query
 */
async function ask(path, query) {
  const answer = await fetch(`${path}?${new URLSearchParams({ shop, ...query })}`, {
    signal: AbortSignal.timeout(PATIENCE),
  });
  const body = await answer.json();
  return { ok: answer.ok, status: answer.status, body };
}

/** A day and its revenue; of one ahead, between which amounts four of five should be.
 * @typedef {{date: string, net: bigint, between?: [bigint, bigint] | null}} Day */
/** @typedef {{mae: string | null, naive: string | null, pairs: number}} Score */
/** @type {import("@preact/signals").Signal<Day[]>} */
export const pastDays = signal([]);
/** @type {import("@preact/signals").Signal<{state: "loading" | "learning" | "past" | "away" | "ready", days: Day[], detail: string}>} */
export const forecast = signal({ state: "loading", days: [], detail: "" });
/** How well forecasts did; null while that is not known.
 * @type {import("@preact/signals").Signal<Score | null>} */
export const score = signal(null);

// An answer that comes after another currency was chosen, or the day is over, is of no use.

async function askHistory() {
  const [of, until] = [currency.value, today.value];
  const span = { from: addDays(until, -28), to: addDays(until, -1) };
  const query = { ...span, grain: "day", currency: of };
  const { ok, body } = await ask("/v1/sales/revenue", query);
  if (!ok || of !== currency.value || until !== today.value) return;
  const found = new Map(body.rows.map((/** @type {any} */ row) => [row.day, units(row.net)]));
  const first = body.rows.length ? body.rows[0].day : until;
  const days = [];
  for (let date = first; date < until; date = addDays(date, 1)) {
    days.push({ date, net: found.get(date) ?? 0n });
  }
  pastDays.value = days;
}

async function askForecast() {
  const of = currency.value;
  const query = { level: "total", horizon: "28", currency: of };
  const { ok, status, body } = await ask("/v1/forecasts/sales", query);
  if (of !== currency.value) return;
  const told = ok ? body.forecasts : [];
  const days = told
    .filter((/** @type {any} */ row) => row.date >= today.value)
    .map((/** @type {any} */ row) => ({
      date: row.date,
      net: units(row.value),
      between: row.intervals?.["80"]?.map(units) ?? null,
    }));
  forecast.value = { state: stateOf(ok, status, body, days), days, detail: detailOf(status, body) };
}

/**
 * @param {boolean} ok
 * @param {number} status
 * @param {any} body
 * @param {Day[]} days
 */
function stateOf(ok, status, body, days) {
  if (days.length) return "ready";
  if (ok && body.forecasts.length) return "past";
  // A 404 of its own says that the days do not suffice yet; a plain one, that there is no such query.
  return ok || (status === 404 && body.code !== "http") ? "learning" : "away";
}

/**
 * @param {number} status
 * @param {any} body
 */
const detailOf = (status, body) => (status === 503 ? body.detail : (body.trained_through ?? ""));

async function askScore() {
  const of = currency.value;
  const { ok, body } = await ask("/v1/forecasts/scores", { level: "total", currency: of });
  if (of !== currency.value) return;
  const found = ok ? body.levels[0]?.overall : null;
  const served = found?.tillstream;
  score.value = served
    ? { mae: served.mae, naive: found.seasonal_naive.mae, pairs: served.pairs }
    : null;
}

async function askAge() {
  if (document.visibilityState !== "visible") return;
  const day = { from: today.value, to: today.value };
  const { ok, body } = await ask("/v1/sales/revenue", { grain: "total", ...day });
  if (ok && body.complete_to.time) completeTo.value = Date.parse(body.complete_to.time);
}

/** @param {() => Promise<void>} question what fails is asked again, and the age shows it */
const quietly = (question) => question().catch(() => {});

function askDays() {
  quietly(askHistory);
  quietly(askForecast);
  quietly(askScore);
}

// Beginning.

const AGE_EVERY = 3_000;
const DAYS_EVERY = 60_000;

/** @type {Feed} */
let feed;

function subscribeProducts() {
  products.filled.value = false;
  feed.subscribe("products", {
    subscribe: "best_sellers",
    shop,
    filter: { day: "today", currency: currency.value },
  });
}

/**
 * Shows another currency; the address keeps it.
 * @param {string} chosen
 */
export function chooseCurrency(chosen) {
  currency.value = chosen;
  if (chosen === own) address.searchParams.delete("currency");
  else address.searchParams.set("currency", chosen);
  history.replaceState(null, "", address);
  subscribeProducts();
  askDays();
}

/** @param {Change} change */
function take(change) {
  if (change.type === "delta" && change.figures.length) changed.value = Date.now();
  if (change.id === "products") return products.take(change);
  sales.take(change);
  pulse.take(sales.figures.values(), today.value, Date.now());
}

/** @param {Phase} next */
function enter(next) {
  if (next === "live") heard.value = Date.now();
  else pulse.restart();
  phase.value = next;
}

/** Opens the feed and starts the clocks. */
export function begin() {
  const url = new URL("/v1/live", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  feed = new Feed(url.href, { change: take, phase: enter });
  // Now, and with every new day: the snapshots leave behind what is past.
  today.subscribe(() => {
    feed.subscribe("sales", { subscribe: "revenue", shop, filter: { dimension: "total" } });
    subscribeProducts();
    askDays();
  });
  quietly(askAge);
  setInterval(() => (now.value = Date.now()), 1000);
  setInterval(() => quietly(askAge), AGE_EVERY);
  setInterval(askDays, DAYS_EVERY);
}
