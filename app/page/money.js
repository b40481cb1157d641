// Money as the API has it: exact decimals in strings, summed as whole ten-thousandths.

const UNIT = 10_000n;

/**
 * `"-12.5"` as `-125000n`.
 * @param {string} text a decimal with at most four places
 * @returns {bigint} ten-thousandths
 */
export function units(text) {
  const [whole, places = ""] = text.replace("-", "").split(".");
  const amount = BigInt(whole) * UNIT + BigInt(places.padEnd(4, "0"));
  return text.startsWith("-") ? -amount : amount;
}

/**
 * @param {bigint} amount ten-thousandths
 * @returns {string} an exact decimal
 */
export function decimal(amount) {
  const size = amount < 0n ? -amount : amount;
  const places = (size % UNIT).toString().padStart(4, "0");
  return `${amount < 0n ? "-" : ""}${size / UNIT}.${places}`;
}

/**
 * For drawing only.
 * @param {bigint} amount ten-thousandths
 */
export const approximate = (amount) => Number(amount) / Number(UNIT);

/** @type {Map<string, Intl.NumberFormat>} */
const formats = new Map();
/** @type {Record<string, Intl.NumberFormatOptions>} */
const WAYS = {
  exact: {},
  compact: { notation: "compact", maximumFractionDigits: 2 },
  whole: { minimumFractionDigits: 0, maximumFractionDigits: 0 },
};

/**
 * @param {string} currency
 * @param {"exact" | "compact" | "whole"} way `€1,234.50`, `€1.2K` or `€1,235`
 * @returns {Intl.NumberFormat}
 */
export function moneyFormat(currency, way = "exact") {
  const key = `${currency} ${way}`;
  let format = formats.get(key);
  if (!format) {
    format = new Intl.NumberFormat(undefined, { style: "currency", currency, ...WAYS[way] });
    formats.set(key, format);
  }
  return format;
}

/**
 * Exact: `Intl` takes decimals as strings.
 * @param {bigint} amount ten-thousandths
 * @param {string} currency
 * @returns {string}
 */
export const money = (amount, currency) =>
  moneyFormat(currency).format(/** @type {any} */ (decimal(amount)));

const MANY = 1000n * UNIT;

/**
 * Of something that nobody knows to the cent.
 * @param {bigint} amount ten-thousandths
 * @param {string} currency
 * @returns {string}
 */
export const estimate = (amount, currency) =>
  moneyFormat(currency, amount < MANY ? "exact" : "whole").format(approximate(amount));

const counts = new Intl.NumberFormat();

/** @param {number} count */
export const count = (count) => counts.format(count);
