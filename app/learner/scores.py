"""The forecasts' scores for a terminal."""

from typing import Any

from rich.markup import escape
from rich.table import Table


def table_of(found: dict[str, Any]) -> Table:
    """Of each level a row per span of days ahead and model, from an answer of
    `/forecasts/scores`; it fits 80 columns."""
    table = Table(
        title=f"{found['measure']}, trained through {found['trained_through']}",
        box=None,
        header_style="dim",
        title_justify="left",
        padding=(0, 1, 0, 0),
    )
    for name in ("ahead", "model"):
        table.add_column(name, no_wrap=True)
    for name in ("pairs", "MAE", "R²", "WAPE", "MASE", "in 80 %", "in 95 %"):
        table.add_column(name, justify="right", no_wrap=True)
    for level in found["levels"]:
        named = filter(None, (level["level"], level.get("id"), level["currency"]))
        table.add_row(f"[bold]{escape(' '.join(named))}[/]")
        spans = level.get("by_bucket", [])
        for models in ({**level["overall"], "from": 1, "to": 45}, *spans):
            span = f"{models['from']}–{models['to']}"
            for model, scores in models.items():
                if isinstance(scores, dict):
                    table.add_row(span, model.replace("_", " "), *_cells(scores))
                    span = ""
    return table


def _cells(scores: dict[str, Any]) -> list[str]:
    ratios = (scores["r2"], scores["wape"], scores["mase"])
    shares = (scores["coverage"][percent] for percent in ("80", "95"))
    return [
        f"{scores['pairs']:,}",
        scores["mae"] or "–",
        *("–" if one is None else f"{one:.2f}" for one in ratios),
        *("–" if one is None else f"{100 * one:.1f}" for one in shares),
    ]
