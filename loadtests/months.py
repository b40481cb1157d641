"""`python -m loadtests.months`: how the monthly forecasts do, beside the seasonal naive.

On made-up series of eight kinds (loadtests.month_series), 24 months ahead, by how much history
there was. Their seed chose nothing: the settings were chosen on seeds 1 to 3.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from loadtests.month_series import MonthSeries, simulated
from ml_online.monthly import (
    HORIZON,
    MonthlyForecaster,
    forecast_months,
    naive_error,
    seasonal_naive,
)

SEED = 11
HISTORIES = ((3, 11), (12, 23), (24, 35), (36, 59), (60, 120))
"""Months that are known."""

_KIND = 40  # series of each kind and length
_CLOSED, _CLOSES = 10_000, 36


class Found(NamedTuple):
    """Means over series; MASE is relative to the seasonal naive's error in what was known."""

    mase: float
    naive_mase: float
    coverage_80: float
    coverage_95: float


def evaluated(series: Sequence[MonthSeries]) -> Found:
    """The last 24 months of each, foretold from all before; those without a scale left out."""
    rows = []
    for one in series:
        known, actual = one.values[:-HORIZON], one.values[-HORIZON:]
        scale = float(naive_error(known[None])[0])
        if np.isnan(scale):
            continue
        found = forecast_months(known.tolist(), HORIZON, one.first_month)
        naive = [seasonal_naive(known[None], ahead)[0] for ahead in range(1, HORIZON + 1)]
        of = found.quantiles.T
        rows.append(
            (
                np.abs(actual - found.point).mean() / scale,
                np.abs(actual - naive).mean() / scale,
                ((of[1] <= actual) & (actual <= of[5])).mean(),
                ((of[0] <= actual) & (actual <= of[6])).mean(),
            )
        )
    return Found(*(float(mean) for mean in np.mean(rows, axis=0)))


def seconds_a_close() -> float:
    """What it takes to score, learn and foretell one more month of many series with three years."""
    random = np.random.default_rng(SEED)
    values = random.lognormal(4, 1, (_CLOSES + 1, _CLOSED))
    keys = [f"s{number}" for number in range(_CLOSED)]
    forecaster = MonthlyForecaster()
    for month, of_month in enumerate(values, 1):
        began = time.perf_counter()
        forecaster.close(month, dict(zip(keys, of_month.tolist(), strict=True)))
    return time.perf_counter() - began


def main() -> None:
    """Prints a row for each length of history, and what a month of many series takes."""
    table = Table(title=f"{HORIZON} months ahead", box=None, title_justify="left")
    for name in ("months known", "MASE", "seasonal naive", "ratio", "within 80 %", "95 %"):
        table.add_column(name, justify="right")
    for shortest, longest in HISTORIES:
        found = evaluated(list(simulated(SEED, _KIND, HORIZON + shortest, HORIZON + longest)))
        table.add_row(
            f"{shortest}–{longest}",
            f"{found.mase:.3f}",
            f"{found.naive_mase:.3f}",
            f"{found.mase / found.naive_mase:.2f}",
            f"{found.coverage_80:.1%}",
            f"{found.coverage_95:.1%}",
        )
    console = Console()
    console.print(table)
    console.print(f"{_CLOSED:,} series closed in {seconds_a_close():.2f} s")


if __name__ == "__main__":
    main()
