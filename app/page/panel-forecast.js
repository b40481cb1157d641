// The days behind and the 28 ahead, or an honest word on why there are none.
import { useComputed, useSignal } from "@preact/signals";
import { useMemo, useRef } from "preact/hooks";
import { axis, Chart, grid, ink, line } from "./chart.js";
import { addDays, longDay, shortDay } from "./clock.js";
import { html } from "./html.js";
import { approximate, estimate, money, moneyFormat, units } from "./money.js";
import * as state from "./state.js";
import { Table } from "./table.js";

const ENOUGH_PAIRS = 28; // of a forecast and what came

export function Forecast() {
  const { state: how, days } = state.forecast.value;
  const past = state.pastDays.value;
  const drawn = how === "ready" || past.length > 1;
  const total = days.reduce((sum, day) => sum + day.net, 0n);
  return html`<section class="panel forecast" aria-labelledby="forecast">
    <header>
      <h2 id="forecast">${how === "ready" || !drawn ? "The next 28 days" : "The last 28 days"}</h2>
      ${how === "ready"
        ? html`<p class="note"><b>${estimate(total, state.currency.value)}</b> expected</p>`
        : drawn && html`<p class="note">${reason()}</p>`}
    </header>
    ${drawn
      ? html`<${Days} />`
      : html`<div class="empty">
          <svg viewBox="0 0 200 48" aria-hidden="true">
            <path class="past" d="M2 38c14 2 18-14 32-12s16 12 30 8 18-18 32-16" />
            <path class="ahead" d="M96 18c14 2 18 14 32 12s16-18 32-16 18 10 38-4" />
          </svg>
          <p>${reason()}</p>
        </div>`}
  </section>`;
}

/** Why there is no forecast. */
function reason() {
  const { state: how, detail } = state.forecast.value;
  const closed = state.pastDays.value.length;
  if (how === "loading") return "Asking for the forecast";
  if (how === "learning") return `Learning: ${closed} ${closed === 1 ? "day" : "days"} closed yet`;
  if (how === "past") return `The last closed day is ${longDay(detail)}, too long ago`;
  return detail || "No forecast is available";
}

/** How far off it was, beside the simplest forecast there is. */
function Score() {
  const { mae, naive, pairs } = state.score.value ?? { mae: null, naive: null, pairs: 0 };
  if (mae === null || naive === null || pairs < ENOUGH_PAIRS) return null;
  const currency = state.currency.value;
  return html`<p class="note score">
    Foretold before the day, it was off by <b>${estimate(units(mae), currency)}</b> a day; the last
    week repeated, by ${estimate(units(naive), currency)}.
  </p>`;
}

/**
 * Between which amounts four days of five should be, where that is told.
 * @param {state.Day} day
 * @param {string} currency
 */
function range(day, currency) {
  if (!day.between) return "";
  const [low, high] = day.between.map((amount) => estimate(amount, currency));
  return `, 80 % between ${low} and ${high}`;
}

function Days() {
  const over = useSignal(/** @type {number | null} */ (null));
  const data = useComputed(() => {
    const past = state.pastDays.value;
    const ahead = state.forecast.value.days;
    const first = past[0]?.date ?? ahead[0]?.date;
    const end = (ahead[ahead.length - 1] ?? past[past.length - 1])?.date;
    const sold = new Map(past.map((day) => [day.date, approximate(day.net)]));
    const expected = new Map(ahead.map((day) => [day.date, approximate(day.net)]));
    const edge = (/** @type {0 | 1} */ side) =>
      new Map(ahead.map((day) => [day.date, day.between ? approximate(day.between[side]) : null]));
    const [low, high] = [edge(0), edge(1)];
    const last = past[past.length - 1];
    // The line goes on from where the other ends, and what may be opens from there.
    if (last && expected.has(addDays(last.date, 1))) {
      for (const line of [expected, low, high]) line.set(last.date, approximate(last.net));
    }
    const dates = [];
    for (let date = first; date && date <= end; date = addDays(date, 1)) dates.push(date);
    return {
      dates,
      columns: [
        dates.map((_, i) => i),
        dates.map((date) => sold.get(date) ?? null),
        dates.map((date) => expected.get(date) ?? null),
        dates.map((date) => high.get(date) ?? null),
        dates.map((date) => low.get(date) ?? null),
      ],
    };
  }).value;
  const dates = useRef(data.dates); // for the axis, which outlives this drawing
  dates.current = data.dates;
  const options = useMemo(
    () => ({
      padding: [12, 8, 0, 0],
      scales: {
        x: { time: false },
        y: { range: (_, low, high) => [Math.min(0, low), Math.max(high, 1) * 1.06] },
      },
      axes: [
        axis({
          splits: (_, __, low, high) => {
            const weeks = [];
            for (let day = Math.ceil(low); day <= high; day += 14) weeks.push(day);
            return weeks;
          },
          values: (_, splits) =>
            splits.map((i) => (dates.current[i] ? shortDay(dates.current[i]) : "")),
        }),
        axis({
          size: 56,
          space: 44,
          grid,
          values: (_, values) =>
            values.map((value) => moneyFormat(state.currency.peek(), "compact").format(value)),
        }),
      ],
      series: [
        {},
        { paths: line(), stroke: () => ink("--ink-soft"), width: 1.75, points: { show: false } },
        {
          paths: line(),
          stroke: () => ink("--accent"),
          width: 2,
          dash: [5, 4],
          points: { show: false },
        },
        { paths: line(), width: 0, points: { show: false } },
        { paths: line(), width: 0, points: { show: false } },
      ],
      bands: [{ series: [3, 4], fill: () => ink("--accent-wash") }],
    }),
    [],
  );
  const ahead = state.forecast.value.days;
  const past = state.pastDays.value;
  const rest = ahead[0] ?? past[past.length - 1];
  const at = over.value === null ? rest?.date : data.dates[over.value];
  const expected = ahead.find((day) => day.date === at);
  const shown = expected ?? past.find((day) => day.date === at);
  const currency = state.currency.value;
  return html`<figure>
    <figcaption class="reading">
      <span class=${expected ? "key ahead" : "key sold"}>${at ? longDay(at) : ""}</span>
      <b>${shown ? (expected ? estimate : money)(shown.net, currency) : "–"}</b>
      <span>${expected ? `expected${range(expected, currency)}` : "sold"}</span>
    </figcaption>
    <${Chart} options=${options} data=${data.columns} onHover=${(i) => (over.value = i)} />
    ${ahead.length > 0 && html`<${Score} />`}
    <${Table}
      caption="Revenue by day: sold, then expected"
      head=${["Day", "Revenue", ""]}
      rows=${[
        ...past.map((day) => [longDay(day.date), money(day.net, currency), "sold"]),
        ...ahead.map((day) => [
          longDay(day.date),
          estimate(day.net, currency),
          `expected${range(day, currency)}`,
        ]),
      ]}
    />
  </figure>`;
}
