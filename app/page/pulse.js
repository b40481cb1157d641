// How fast orders come in, from what this page has seen: counts at moments, some minutes back.

const SPAN = 150_000;
const WINDOW = 60_000;
const ENOUGH = 5_000;
const GRAIN = 500;
const BARS = 60;
const BAR = SPAN / BARS;

/** @typedef {{at: number, orders: number}} Sample */
/** @typedef {{perMinute: number | null, seconds: number, bars: number[]}} Pace */

export class Pulse {
  /** @type {Map<string, Sample[]>} by currency, oldest first; the first is where we began */
  #samples = new Map();
  #day = "";
  #began = 0;

  /** What was missed during a break must not look like a rush. */
  restart() {
    this.#samples.clear();
    this.#began = 0;
  }

  /**
   * @param {Iterable<{day: string, currency: string, orders: number}>} rows
   * @param {string} day
   * @param {number} at milliseconds
   */
  take(rows, day, at) {
    if (day !== this.#day) this.restart();
    this.#day = day;
    /** @type {Map<string, number>} */
    const totals = new Map();
    for (const row of rows) {
      if (row.day !== day) continue;
      totals.set(row.currency, (totals.get(row.currency) ?? 0) + row.orders);
    }
    for (const [currency, orders] of totals) {
      let samples = this.#samples.get(currency);
      if (!samples) {
        // A currency that was not there when we began had no order then.
        samples = this.#began ? [{ at: this.#began, orders: 0 }] : [];
        this.#samples.set(currency, samples);
      }
      const last = samples.length > 1 ? samples[samples.length - 1] : null;
      if (last && at - last.at < GRAIN) last.orders = orders;
      else samples.push({ at, orders });
      while (samples.length > 2 && samples[1].at < at - SPAN) samples.shift();
    }
    this.#began ||= at;
  }

  /**
   * @param {number} at milliseconds
   * @param {string} currency
   * @returns {Pace}
   */
  read(at, currency) {
    const samples = this.#samples.get(currency) ?? [];
    if (!samples.length) return { perMinute: null, seconds: 0, bars: Array(BARS).fill(0) };
    const span = Math.min(WINDOW, at - samples[0].at);
    const came = samples[samples.length - 1].orders - countAt(samples, at - span);
    const end = Math.ceil(at / BAR) * BAR;
    const edges = Array.from({ length: BARS + 1 }, (_, i) =>
      countAt(samples, end - (BARS - i) * BAR),
    );
    return {
      perMinute: span < ENOUGH ? null : (came / span) * 60_000,
      seconds: Math.round(span / 1000),
      bars: edges.slice(1).map((edge, i) => Math.max(0, edge - edges[i])),
    };
  }
}

/**
 * The count at a moment; before the first sample, that sample's.
 * @param {Sample[]} samples
 * @param {number} at
 */
function countAt(samples, at) {
  for (let i = samples.length - 1; i > 0; i -= 1) {
    if (samples[i].at <= at) return samples[i].orders;
  }
  return samples[0].orders;
}
