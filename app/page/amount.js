// Amounts, and the way a figure moves from one value to the next.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "./html.js";
import { approximate, decimal, money, moneyFormat } from "./money.js";

const MOVE = 600; // milliseconds
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/**
 * A value on its way: exact where it rests, near enough while it moves.
 * @param {bigint} amount ten-thousandths
 * @returns {string} a decimal
 */
function useMoving(amount) {
  const [shown, show] = useState(decimal(amount));
  const at = useRef(amount);
  useEffect(() => {
    const from = at.current;
    if (from === amount || calm.matches || document.hidden) {
      at.current = amount;
      show(decimal(amount));
      return undefined;
    }
    const begun = performance.now();
    let frame = requestAnimationFrame(function move(moment) {
      const part = Math.min(1, Math.max(0, (moment - begun) / MOVE));
      const eased = 1 - (1 - part) ** 3;
      const whole = BigInt(Math.round(Number(amount - from) * eased));
      at.current = part < 1 ? from + whole : amount;
      show(decimal(at.current));
      if (part < 1) frame = requestAnimationFrame(move);
    });
    return () => cancelAnimationFrame(frame);
  }, [amount]);
  return shown;
}

/**
 * The figure of the page: its cents are quieter than its euros.
 * @param {{amount: bigint, currency: string}} props
 */
export function BigAmount({ amount, currency }) {
  const shown = useMoving(amount);
  const parts = moneyFormat(currency).formatToParts(/** @type {any} */ (shown));
  return html`<p class="figure">
    <span aria-hidden="true">
      ${parts.map(({ type, value }) => html`<span class=${type}>${value}</span>`)}
    </span>
    <span class="unseen" data-exact=${decimal(amount)}>${money(amount, currency)}</span>
  </p>`;
}

/**
 * How one amount compares with another.
 * @param {bigint} amount
 * @param {bigint} before
 * @returns {number | null} a share, such as 0.12; null where there is nothing to compare with
 */
export const growth = (amount, before) =>
  before > 0n ? approximate(amount - before) / approximate(before) : null;
