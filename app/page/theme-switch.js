// The theme: the system's, or the one chosen here.
import { effect, signal } from "@preact/signals";

const KEY = "tillstream-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");
const chosen = document.documentElement.dataset.theme;

/** @type {import("@preact/signals").Signal<"light" | "dark">} */
export const theme = signal(
  chosen === "light" || chosen === "dark" ? chosen : dark.matches ? "dark" : "light",
);
let own = Boolean(chosen);

dark.addEventListener("change", () => {
  if (!own) theme.value = dark.matches ? "dark" : "light";
});

/** Changes to the other theme, and keeps to it. */
export function switchTheme() {
  own = true;
  theme.value = theme.value === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme.value;
  try {
    localStorage.setItem(KEY, theme.value);
  } catch {
    // Storage is closed to us: it holds for this visit.
  }
}

/** Keeps a `theme-color` in step, for the bars that browsers draw around a page. */
export const beginTheme = () =>
  effect(() => {
    theme.value;
    const meta = document.querySelector('meta[name="theme-color"]') ?? document.createElement("meta");
    meta.setAttribute("name", "theme-color");
    meta.setAttribute("content", getComputedStyle(document.body).backgroundColor);
    document.head.append(meta);
  });
