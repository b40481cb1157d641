// The small figures: this hour, orders, their pace, an average order.
import { html } from "./html.js";
import { count, money } from "./money.js";
import { hourName } from "./clock.js";
import * as state from "./state.js";

const rate = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export function Figures() {
  const currency = state.currency.value;
  const hour = state.hour.value;
  const { net } = state.todayByHour.value;
  const orders = state.orders.value;
  const known = state.filled.value;
  const before = hour > 0 ? net[hour - 1] : state.yesterdayByHour.value.net[23];
  return html`<section class="panel figures" aria-label="Today in figures">
    <dl>
      <${Figure}
        name="This hour"
        value=${known ? money(net[hour], currency) : "–"}
        note=${`since ${hourName(hour)} · ${money(before, currency)} the hour before`}
      />
      <${Pace} />
      <${Figure}
        name="Orders today"
        value=${known ? count(orders) : "–"}
        note="completed: paid, or cash on delivery"
      />
      <${Figure}
        name="Average order"
        value=${orders ? money(state.revenue.value / BigInt(orders), currency) : "–"}
        note="net of discounts and refunds"
      />
    </dl>
  </section>`;
}

/** @param {{name: string, value: string, note: string, children?: any}} props */
function Figure({ name, value, note, children }) {
  return html`<div class="stat">
    <dt>${name}</dt>
    <dd>
      <b>${value}</b>
      ${children}
      <small>${note}</small>
    </dd>
  </div>`;
}

function Pace() {
  const { perMinute, seconds, bars } = state.pace.value;
  const highest = Math.max(3, ...bars.map(({ orders }) => orders));
  return html`<${Figure}
    name="Orders a minute"
    value=${perMinute === null ? "–" : rate.format(perMinute)}
    note=${paceNote(perMinute, seconds)}
  >
    <svg class="pulse" viewBox="0 0 120 40" preserveAspectRatio="none" aria-hidden="true">
      ${bars.map(({ orders, seen }, i) => {
        const height = orders ? Math.max(2, (orders / highest) * 40) : 1;
        return html`<rect
          class=${seen && orders ? "some" : "none"}
          x=${i * 2 + 0.25}
          y=${40 - height}
          width="1.5"
          height=${height}
        />`;
      })}
    </svg>
  <//>`;
}

/**
 * What the pace is of: it is counted from when this page was opened.
 * @param {number | null} perMinute
 * @param {number | null} seconds
 */
function paceNote(perMinute, seconds) {
  if (perMinute === null) return "listening";
  if (seconds === null) return "the mean of this hour";
  if (seconds < 60) return `over ${seconds} s so far, grey: the mean of this hour`;
  return "over the last minute";
}
