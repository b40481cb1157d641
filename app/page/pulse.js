// How fast orders come in, from what this page has seen: counts at moments, some minutes back. For
// the time before, it knows the hours' figures alone, and so their mean.

const SPAN = 150_000;
const WINDOW = 60_000;
const ENOUGH = 5_000;
const GRAIN = 500;
const BARS = 60;
const BAR = SPAN / BARS;

/** @typedef {{at: number, orders: number}} Sample */
/** @typedef {{orders: number, seen: boolean}} Bar what came, or the mean of the hour if not seen */
/** @typedef {{perMinute: number | null, seconds: number | null, bars: Bar[]}} Pace seconds seen */

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
   * @param {number | null} mean orders a minute before this page saw them; null if not known
   * @returns {Pace}
   */
  read(at, currency, mean) {
    const samples = this.#samples.get(currency) ?? [];
    const first = samples.length ? samples[0].at : at;
    const span = Math.min(WINDOW, at - first);
    const enough = span >= ENOUGH;
    return {
      perMinute: enough ? (this.#came(samples, at - span) / span) * 60_000 : mean,
      seconds: enough ? Math.round(span / 1000) : null,
      bars: this.#bars(samples, Math.ceil(at / BAR) * BAR, first, mean),
    };
  }

  /**
   * @param {Sample[]} samples
   * @param {number} since milliseconds
   */
  #came(samples, since) {
    return samples[samples.length - 1].orders - countAt(samples, since);
  }

  /**
   * @param {Sample[]} samples
   * @param {number} end milliseconds
   * @param {number} first milliseconds
   * @param {number | null} mean
   * @returns {Bar[]}
   */
  #bars(samples, end, first, mean) {
    return Array.from({ length: BARS }, (_, i) => {
      const [from, to] = [end - (BARS - i) * BAR, end - (BARS - i - 1) * BAR];
      if (to <= first) return { orders: ((mean ?? 0) * BAR) / 60_000, seen: false };
      const came = samples.length ? countAt(samples, to) - countAt(samples, from) : 0;
      return { orders: Math.max(0, came), seen: true };
    });
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
