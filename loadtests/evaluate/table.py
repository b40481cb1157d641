"""An evaluation for a terminal."""

from collections.abc import Callable
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

Figures = dict[str, Any]


def _plain(key: str, form: str) -> Callable[[Figures], str]:
    return lambda figures: "–" if figures[key] is None else format(figures[key], form)


def _between(figures: Figures) -> str:
    if figures["mase_low"] is None:
        return "–"
    return f"{figures['mase_low']:.3f}–{figures['mase_high']:.3f}"


_LINES: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("MASE", _plain("mase", ".3f")),
    ("  95 % of resamples", _between),
    ("RMSSE", _plain("rmsse", ".3f")),
    ("WAPE", _plain("wape", ".1%")),
    ("MASE in total", _plain("total_mase", ".3f")),
    ("R²", _plain("r2", ".3f")),
    ("inside 50 %", _plain("coverage_50", ".1%")),
    ("inside 80 %", _plain("coverage_80", ".1%")),
    ("inside 95 %", _plain("coverage_95", ".1%")),
    ("width of 80 %", _plain("width_80", ".2f")),
    ("score of 80 %", _plain("interval_score_80", ".2f")),
    ("score of 95 %", _plain("interval_score_95", ".2f")),
    ("CRPS", _plain("crps", ".3f")),
    ("not answered", _plain("unanswered", ",")),
    ("CPU ms a series", lambda figures: f"{figures['seconds_per_update'] * 1e3:,.3f}"),
)


def table_of(found: dict[str, Any]) -> Group:
    """A column for each model, from what is written as JSON."""
    settings = found["settings"]
    table = Table(box=None, header_style="dim")
    table.add_column("", no_wrap=True)
    for model in found["models"]:
        table.add_column(model.replace("_", " "), justify="right")
    for name, line in _LINES:
        table.add_row(name, *(line(figures) for figures in found["models"].values()))
    title = (
        f"{settings['series']:,} series, {settings['first_day']} to {settings['last_day']}:"
        f" {len(settings['origins'])} origins × {settings['horizon']} {settings['unit']}"
    )
    notes = (
        "MASE, and widths and scores: in units of the seasonal naive's error before the first"
        " origin. CPU: to close one day of a series; of peers, to fit it once."
    )
    if left := settings["series_without_scale"]:
        notes += f" {left:,} series have no such unit, and are left out of these."
    return Group(Text(title, style="bold"), table, Text(notes, style="dim"))
