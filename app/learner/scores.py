"""The forecasts' scores for a terminal."""

from typing import Any

from rich.table import Table

_MODELS = ("model", "seasonal_naive")


def table_of(found: dict[str, Any]) -> Table:
    """A row per series and span of days ahead, from an answer of `/forecasts/scores`."""
    table = Table(
        title=f"Net revenue, trained through {found['trained_through']}",
        caption="mean MASE over series: "
        + ", ".join(f"{name} {found['mean_mase'][name] or '–'}" for name in _MODELS),
        box=None,
        header_style="dim",
        title_justify="left",
        caption_justify="left",
    )
    for name in ("series", "days ahead"):
        table.add_column(name)
    for name in ("pairs", "MAE", "MASE", "MAE of seasonal naive", "MASE"):
        table.add_column(name, justify="right")
    for series in found["series"]:
        name = " ".join(filter(None, (series["level"], series["id"], series["currency"])))
        for row in ({**series["overall"], "from": 1, "to": 28}, *series["by_bucket"]):
            cells = [row[model][score] for model in _MODELS for score in ("mae", "mase")]
            table.add_row(
                name,
                f"{row['from']}–{row['to']}",
                f"{row['pairs']:,}",
                *("–" if cell is None else str(cell) for cell in cells),
            )
            name = ""
    return table
