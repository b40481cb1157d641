// The same figures as a table, for whoever reads rather than looks.
import { html } from "./html.js";

/**
 * @param {{caption: string, head: string[], rows: (string | number)[][]}} props
 */
export function Table({ caption, head, rows }) {
  return html`<details class="table">
    <summary>As a table</summary>
    <div class="scroll" tabindex="0" role="region" aria-label=${caption}>
      <table>
        <caption class="unseen">${caption}</caption>
        <thead><tr>${head.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
        <tbody>
          ${rows.map(
            ([first, ...rest]) => html`<tr>
              <th scope="row">${first}</th>
              ${rest.map((cell) => html`<td>${cell}</td>`)}
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </details>`;
}
