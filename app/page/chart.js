// uPlot as a Preact component: sized by its box, coloured by the theme, silent to screen readers,
// for whom every panel has a table.
import { useEffect, useRef } from "preact/hooks";
import { html } from "./html.js";
import { theme } from "./theme-switch.js";

const { uPlot } = /** @type {any} */ (globalThis);

const probe = document.createElement("i");
probe.hidden = true;
document.body.append(probe);

/**
 * A custom property as a colour that a canvas understands.
 * @param {string} name such as `--accent`
 */
export function ink(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

const FONT = '12px "Inter Variable", ui-sans-serif, system-ui, sans-serif';

/**
 * An axis with quiet labels; the one below, unless its options say otherwise.
 * @param {object} options uPlot's
 */
export const axis = (options) => ({
  size: 32,
  stroke: () => ink("--muted"),
  font: FONT,
  ticks: { show: false },
  border: { show: false },
  grid: { show: false },
  gap: 10,
  ...options,
});

export const grid = { stroke: () => ink("--line"), width: 1 };

/**
 * @param {{options: object, data: any[], onHover: (index: number | null) => void}} props
 */
export function Chart({ options, data, onHover }) {
  const host = useRef(/** @type {HTMLDivElement | null} */ (null));
  const plot = useRef(/** @type {any} */ (null));
  const hover = useRef(onHover);
  hover.current = onHover;

  useEffect(() => {
    const box = /** @type {HTMLDivElement} */ (host.current);
    plot.current = new uPlot(
      {
        width: box.clientWidth,
        height: box.clientHeight,
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
        hooks: { setCursor: [(/** @type {any} */ u) => hover.current(u.cursor.idx ?? null)] },
        ...options,
      },
      data,
      box,
    );
    const observer = new ResizeObserver(() =>
      plot.current.setSize({ width: box.clientWidth, height: box.clientHeight }),
    );
    observer.observe(box);
    const unsubscribe = theme.subscribe(() => plot.current.redraw(false));
    document.fonts.ready.then(() => plot.current?.redraw(false));
    return () => {
      observer.disconnect();
      unsubscribe();
      plot.current.destroy();
      plot.current = null;
    };
  }, []);

  useEffect(() => plot.current?.setData(data), [data]);

  return html`<div class="chart" ref=${host} aria-hidden="true" />`;
}

export const bars = (/** @type {number} */ share) =>
  uPlot.paths.bars({ size: [share, 64], radius: 0.18 });
export const line = () => uPlot.paths.linear();
