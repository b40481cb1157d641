// What sells best today.
import { html } from "./html.js";
import { approximate, count, money } from "./money.js";
import * as state from "./state.js";

/** @type {["net" | "units", string][]} */
const RANKINGS = [
  ["net", "Revenue"],
  ["units", "Units"],
];

export function Products() {
  const rows = state.topProducts.value;
  const by = state.ranking.value;
  const size = (/** @type {any} */ row) => (by === "net" ? approximate(row.net) : row.units);
  const most = Math.max(1e-9, ...rows.map(size));
  return html`<section class="panel products" aria-labelledby="products">
    <header>
      <h2 id="products">Top products today</h2>
      <fieldset class="choice">
        <legend class="unseen">Ranked by</legend>
        ${RANKINGS.map(
          ([value, name]) => html`<label>
            <input
              type="radio"
              name="ranking"
              checked=${by === value}
              onChange=${() => (state.ranking.value = value)}
            />
            <span>${name}</span>
          </label>`,
        )}
      </fieldset>
    </header>
    ${rows.length
      ? html`<ol class="ranks">
          ${rows.map(
            (row) => html`<li key=${row.product}>
              <span class="name" title=${row.product}>${row.name}</span>
              <span class="units">${count(row.units)} ${row.units === 1 ? "unit" : "units"}</span>
              <b>${money(row.net, state.currency.value)}</b>
              <i style=${{ inlineSize: `${Math.max(0, size(row) / most) * 100}%` }} />
            </li>`,
          )}
        </ol>`
      : html`<p class="empty">
          ${state.productsFilled.value ? "Nothing was sold today yet." : "Waiting for the first figures."}
        </p>`}
  </section>`;
}
