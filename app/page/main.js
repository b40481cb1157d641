// The page: a header, four panels, and how old it all is.
import { render } from "preact";
import { html } from "./html.js";
import { Figures } from "./panel-figures.js";
import { Forecast } from "./panel-forecast.js";
import { Age, Link, Spoken } from "./panel-link.js";
import { Products } from "./panel-products.js";
import { Today } from "./panel-today.js";
import * as state from "./state.js";
import { beginTheme, switchTheme, theme } from "./theme-switch.js";

function Header() {
  const other = theme.value === "dark" ? "light" : "dark";
  return html`<header class="top">
    <h1><${Mark} /><span>Tillstream</span></h1>
    ${state.shop !== "main" && html`<p class="shop">${state.shop}</p>`}
    <${Link} />
    <label class="currency">
      <span class="unseen">Currency</span>
      <select
        value=${state.currency.value}
        onChange=${(/** @type {any} */ event) => state.chooseCurrency(event.target.value)}
      >
        ${state.currencies.value.map((name) => html`<option value=${name}>${name}</option>`)}
      </select>
    </label>
    <button class="theme" type="button" onClick=${switchTheme} aria-label=${`Use the ${other} theme`}>
      <svg viewBox="0 0 20 20" aria-hidden="true">
        <circle cx="10" cy="10" r="7" />
        <path d="M10 3a7 7 0 0 1 0 14z" />
      </svg>
    </button>
  </header>`;
}

const Mark = () => html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
  <rect width="32" height="32" rx="9" />
  <path d="M6 21c4 0 4-9 8-9s3 6 6 6 3-7 6-7" />
</svg>`;

function Page() {
  return html`
    <${Header} />
    <main class=${state.stale.value && state.filled.value ? "stale" : ""}>
      <${Today} />
      <${Figures} />
      <${Products} />
      <${Forecast} />
    </main>
    <footer>
      <${Age} />
      <nav aria-label="More"><a href="/docs">API</a></nav>
    </footer>
    <${Spoken} />
  `;
}

beginTheme();
state.begin();
render(html`<${Page} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
