// Revenue today: the figure, how it compares, and its hours beside yesterday's.
import { useComputed, useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { BigAmount, growth } from "./amount.js";
import { axis, bars, Chart, grid, ink } from "./chart.js";
import { hourName } from "./clock.js";
import { html } from "./html.js";
import { approximate, count, money, moneyFormat } from "./money.js";
import * as state from "./state.js";
import { Table } from "./table.js";

const NARROW = 420; // pixels, below which six labels touch
const HOURS = Array.from({ length: 24 }, (_, hour) => hour);
const percent = new Intl.NumberFormat(undefined, {
  style: "percent",
  maximumFractionDigits: 1,
  signDisplay: "exceptZero",
});

export function Today() {
  const currency = state.currency.value;
  return html`<section class="panel today" aria-labelledby="today">
    <h2 id="today">Revenue today</h2>
    ${state.filled.value
      ? html`<${BigAmount} amount=${state.revenue.value} currency=${currency} />`
      : html`<p class="figure waiting" aria-label="not known yet">–</p>`}
    <${Comparison} />
    <${HoursChart} />
  </section>`;
}

function Comparison() {
  const share = growth(state.revenue.value, state.yesterdayByNow.value);
  const before = money(state.yesterdayByNow.value, state.currency.value);
  if (!state.filled.value) return html`<p class="note">Waiting for the first figures</p>`;
  if (share === null && state.orders.value === 0)
    return html`<p class="note">Waiting for the first sale of the day</p>`;
  if (share === null) return html`<p class="note">Nothing was sold yesterday by now</p>`;
  return html`<p class="note">
    <span class=${share < 0 ? "change down" : "change up"}>${percent.format(share)}</span>
    ${" "}on yesterday by this time, ${before}
  </p>`;
}

function HoursChart() {
  const over = useSignal(/** @type {number | null} */ (null));
  const { net, orders } = state.todayByHour.value;
  const yesterday = state.yesterdayByHour.value.net;
  const currency = state.currency.value;
  const data = useComputed(() => [
    HOURS,
    state.yesterdayByHour.value.net.map(approximate),
    state.todayByHour.value.net.map(approximate),
  ]).value;
  const options = useMemo(
    () => ({
      padding: [12, 4, 0, 0],
      scales: {
        x: { time: false, range: () => [-0.6, 23.6] },
        y: { range: (_, low, high) => [Math.min(0, low), Math.max(high, 1) * 1.04] },
      },
      axes: [
        axis({
          splits: (u) => (u.width < NARROW ? [0, 6, 12, 18] : [0, 4, 8, 12, 16, 20]),
          values: (_, hours) => hours.map(hourName),
        }),
        axis({
          size: 56,
          space: 48,
          grid,
          values: (_, values) =>
            values.map((value) => moneyFormat(state.currency.peek(), "compact").format(value)),
        }),
      ],
      series: [
        {},
        { paths: bars(0.84), fill: () => ink("--ghost"), width: 0, points: { show: false } },
        { paths: bars(0.52), fill: () => ink("--accent"), width: 0, points: { show: false } },
      ],
    }),
    [],
  );
  const at = over.value ?? state.hour.value;
  return html`<figure>
    <figcaption class="reading">
      <span class="key now">${hourName(at)}–${hourName(at + 1)}</span>
      <b>${money(net[at], currency)}</b>
      <span>${count(orders[at])} ${orders[at] === 1 ? "order" : "orders"}</span>
      ${yesterday.some(Boolean) &&
      html`<span class="before">
        <span class="key ghost">yesterday</span> ${money(yesterday[at], currency)}
      </span>`}
    </figcaption>
    <${Chart} options=${options} data=${data} onHover=${(i) => (over.value = i)} />
    <${Table}
      caption="Revenue by hour, today and yesterday"
      head=${["Hour", "Today", "Orders", "Yesterday"]}
      rows=${HOURS.filter((hour) => orders[hour] || net[hour] || yesterday[hour]).map((hour) => [
        hourName(hour),
        money(net[hour], currency),
        count(orders[hour]),
        money(yesterday[hour], currency),
      ])}
    />
  </figure>`;
}
