// Whether the figures are live, and how old they are.
import { useEffect, useState } from "preact/hooks";
import { html } from "./html.js";
import { age } from "./clock.js";
import { count, money } from "./money.js";
import * as state from "./state.js";

const time = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  timeZone: state.timezone,
});
const SAID_EVERY = 20_000;

export function Link() {
  const phase = state.phase.value;
  const silent = state.heard.value ? ` · last heard ${age(state.now.value - state.heard.value)} ago` : "";
  const text =
    phase === "live" ? "Live" : state.heard.value ? `Reconnecting${silent}` : "Connecting";
  return html`<p class=${`link ${phase}`} data-phase=${phase}><i aria-hidden="true" />${text}</p>`;
}

export function Age() {
  const complete = state.completeTo.value;
  const changed = state.changed.value;
  return html`<p>
    ${complete
      ? html`Complete to <b>${time.format(complete)}</b>, ${age(state.now.value - complete)} ago`
      : "Nothing was read yet"}
    ${changed ? html`<span> · last change ${age(state.now.value - changed)} ago</span>` : ""}
    <span> · ${state.timezone}</span>
  </p>`;
}

/** The one thing that is read out: a summary, when it has changed, three times a minute at most. */
export function Spoken() {
  const [said, say] = useState("");
  useEffect(() => {
    const speak = () => {
      if (!state.filled.peek()) return;
      const live = state.phase.peek() === "live" ? "" : "Not live at the moment. ";
      say(
        `${live}Revenue today ${money(state.revenue.peek(), state.currency.peek())}, ` +
          `${count(state.orders.peek())} orders.`,
      );
    };
    const timer = setInterval(speak, SAID_EVERY);
    return () => clearInterval(timer);
  }, []);
  return html`<p class="unseen" role="status">${said}</p>`;
}
