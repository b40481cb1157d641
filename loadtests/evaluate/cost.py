"""`python -m loadtests.evaluate.cost`: closing a day of many series, beside refitting AutoETS.

The series have more than a year behind them, as those of a shop that has been there for a while,
and two known inputs. AutoETS is timed on a sample, on the last 400 days of each. Where numpy uses
several cores, all of them count.
"""

import statistics
import time
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from loadtests.evaluate.peers import installed
from ml_online.daily import HORIZON, SEASON, DailyForecaster

Array = NDArray[np.float64]

INPUTS = ("closed", "promotion")
FIRST = 739_000
TIMED = 10
SAMPLE = 40
REFITTED = 400
GOAL = 2.0


def shop(series: int, days: int) -> tuple[Array, Array]:
    """Sales [series, day] with a weekly course, and known inputs [series, day + HORIZON, input]."""
    random = np.random.default_rng(1)
    level = random.lognormal(1.0, 1.2, series)[:, None]
    course = np.array([0.8, 0.8, 0.9, 1.0, 1.2, 1.5, 0.8])[(FIRST + np.arange(days)) % 7]
    inputs = np.zeros((series, days + HORIZON, len(INPUTS)))
    inputs[:, :, 0] = random.random(days + HORIZON) < 0.02
    inputs[:, :, 1] = random.random((series, days + HORIZON)) < 0.1
    promoted = 1 + 0.5 * inputs[:, :days, 1]
    values = random.poisson(level * course * promoted * (1 - inputs[:, :days, 0]))
    return values.astype(np.float64), inputs


def refitted(values: Array) -> float | None:
    """Processor time to fit AutoETS to one of these series; None where it is not installed."""
    if "auto_ets" not in installed():
        return None
    from statsforecast.models import AutoETS

    AutoETS(season_length=SEASON).forecast(y=values[0], h=HORIZON)  # compiles
    begin = time.process_time()
    for series in values:
        AutoETS(season_length=SEASON).forecast(y=series, h=HORIZON)
    return (time.process_time() - begin) / len(values)


def main(
    series: Annotated[int, typer.Option(help="how many")] = 10_000,
    days: Annotated[int, typer.Option(help="of history")] = 460,
) -> None:
    """Prints seconds of processor time: to close one day, and to refit as many."""
    console = Console(highlight=False)
    values, inputs = shop(series, days)
    forecaster = DailyForecaster(INPUTS)
    forecaster.rows([f"series {number}" for number in range(series)])
    took = []
    for day in track(range(days), f"closing {days} days", console=console):
        ahead = inputs[:, day + 1 : day + 1 + HORIZON]
        begin = time.process_time()
        forecaster.close(FIRST + day, values[:, day], inputs[:, day], ahead)
        took.append(time.process_time() - begin)
    seconds = statistics.median(took[-TIMED:])
    console.print(f"closing a day of {series:,} series: {seconds:.2f} s (goal {GOAL})")
    fitted = refitted(values[:SAMPLE, -REFITTED:])
    if fitted is None:
        console.print("AutoETS is not installed: .venv/bin/uv sync --inexact --group peers")
    else:
        whole = fitted * series
        console.print(
            f"refitting AutoETS for as many: {whole / 60:.0f} min ({fitted * 1000:.0f} ms each, of "
            f"{SAMPLE}), {whole / seconds:,.0f} times as long"
        )


if __name__ == "__main__":
    typer.run(main)
