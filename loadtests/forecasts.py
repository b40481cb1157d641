"""`python -m loadtests.forecasts [FILE]`: how the sales forecasts do, beside simpler ones.

The days of the file (UCI's Online Retail) are closed one after the other, as the learner hears
them. What was made up to the end of May chose the settings; what was made from June on judges them.
So do twenty synthetic series of one shop, in their second half.
"""

import math
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from ml_online.sales_forecast import SalesForecaster
from ml_online.scores import BUCKETS, HORIZON, SEASON, Made, Tally, summed
from ml_online.series import Series
from streams import codec
from streams.codec import Fact
from streams.events import DayClosed, DayFigure, Event, OrderCompleted, OrderRefunded
from streams.money import Money, SignedMoney
from streams.online_retail import CURRENCY, read

JUDGED_FROM = date(2011, 6, 1)
WEEKS = 8
CONTENDERS = ("Tillstream", "mean of eight weekdays", "seasonal naive")

Days = Mapping[date, Mapping[str, int]]  # net by category, in ten-thousandths; the total under ""


class Period(NamedTuple):
    """A part of the history: its name, and the origins in [first, end); targets are before `end`,
    too."""

    name: str
    first: date
    end: date


def net_by_day(file: Path) -> dict[date, int]:
    """Net revenue of each day from the first to the last, in ten-thousandths."""
    found: Counter[date] = Counter()
    for entry in read(file, ZoneInfo("UTC"), "main", datetime.now(UTC)).entries:
        event = entry.event
        if event.type in ("OrderCompleted", "OrderRefunded"):
            data = codec.decode_fields(event.type, event.data)
            assert isinstance(data, OrderCompleted | OrderRefunded)
            amount = sum(line.price * line.quantity for line in data.products)
            found[event.time.date()] += amount if isinstance(data, OrderCompleted) else -amount
    days = range(min(found).toordinal(), max(found).toordinal() + 1)
    return {day: found[day] for day in map(date.fromordinal, days)}


def synthetic(count: int = 20, days: int = 400) -> Days:
    """Weekly series with noise, a drifting level and a trend; some are closed one day a week."""
    found: dict[date, dict[str, int]] = defaultdict(dict)
    for number in range(count):
        random = Random(number)
        week = [random.uniform(0.4, 1.8) for _ in range(SEASON)]
        if random.random() < 0.3:
            week[5] = 0.0
        level, trend = random.uniform(50, 5_000), random.uniform(-0.0008, 0.0015)
        noise, drift = random.uniform(0.15, 0.5), 0.0
        for day in range(days):
            drift = 0.97 * drift + random.gauss(0, 0.05)
            factor = math.exp(trend * day + drift + random.gauss(0, noise) - noise * noise / 2)
            value = round(level * week[day % SEASON] * factor * 10_000)
            found[date.fromordinal(730_000 + day)][f"c{number:02d}"] = value
    return found


def closed(day: date, nets: Mapping[str, int], offset: int) -> Fact:
    """The close of one day."""
    figures = [
        DayFigure(
            level="category" if key else "total",
            key=key,
            currency=CURRENCY,
            gross=Money(max(0, net)),
            discounts=Money(0),
            refunds=Money(0),
            net=SignedMoney(net),
            orders=0,
            units=0,
        )
        for key, net in nets.items()
    ]
    data = DayClosed(date=day.isoformat(), positions={}, figures=figures)
    at = datetime.combine(day, datetime.min.time(), UTC)
    event = Event(
        id=f"closed-{day}",
        type="DayClosed",
        shop="main",
        subject=data.date,
        time=at,
        received_at=at,
        data=codec.raw(data),
    )
    return Fact("days", 0, offset, event, data)


def of_weekdays(series: Series, made: Made) -> Made:
    """The same forecasts, by the mean of the last eight days of each weekday instead."""
    latest, values = len(series.values) - 1, []
    for horizon in range(1, HORIZON + 1):
        last = latest + horizon - SEASON * math.ceil(horizon / SEASON)
        kept = series.values[last::-SEASON][:WEEKS]
        values.append(max(0, round(sum(kept) / len(kept))))
    return Made(made.scale, values, made.naive)


Judged = Mapping[str, Mapping[str, Sequence[Tally]]]  # by series: of Tillstream, and of the mean


def judged(days: Days, period: Period) -> Judged:
    """Scores of what was made in a period, by series and horizon."""
    forecaster = SalesForecaster()
    found: dict[str, dict[str, list[Tally]]] = defaultdict(
        lambda: {name: [Tally() for _ in range(HORIZON)] for name in CONTENDERS[:2]}
    )
    for offset, (day, nets) in enumerate(days.items()):
        forecaster.learn(closed(day, nets, offset))
        for key, series in forecaster.series("main").items():
            if not period.first <= day < period.end or not series.made:
                continue
            made = series.made[-1][1]
            by_name = {CONTENDERS[0]: made, CONTENDERS[1]: of_weekdays(series, made)}
            for horizon in range(1, HORIZON + 1):
                target = date.fromordinal(day.toordinal() + horizon)
                if target in days and target < period.end:
                    for name, one in by_name.items():
                        tally = found[key.key][name][horizon - 1]
                        tally.add(one, horizon, days[target].get(key.key, 0))
    return found


def mean_errors(found: Judged, name: str, first: int, last: int) -> tuple[float, float]:
    """MAE in units of the currency and MASE, the mean over series."""
    scores = []
    for tallies in found.values():
        of, measure = (name, "model") if name in tallies else (CONTENDERS[0], "seasonal_naive")
        scores.append(summed(tallies[of][first - 1 : last])[1][measure])
    maes = [score.mae or 0.0 for score in scores]
    mases = [score.mase or 0.0 for score in scores]
    return sum(maes) / len(maes) / 10_000, sum(mases) / len(mases)


def table_of(period: Period, found: Judged) -> Table:
    """MAE over all horizons, and MASE by days ahead, of each contender."""
    count = sum(tally.count for tallies in found.values() for tally in tallies[CONTENDERS[0]])
    title = f"{period.name}: {len(found)} series, {count:,} pairs of day and horizon"
    spans = ((1, HORIZON), *BUCKETS)
    heads = ["MAE", *(f"MASE {first}–{last} days" for first, last in spans)]
    table = Table("", title=title, title_justify="left", box=None)
    for head in heads:
        table.add_column(head, justify="right")
    for name in CONTENDERS:
        errors = [mean_errors(found, name, *span) for span in spans]
        table.add_row(name, f"{errors[0][0]:,.0f}", *(f"{mase:.3f}" for _, mase in errors))
    return table


def main(file: Path | None) -> None:
    """Prints a table for each period."""
    console = Console(highlight=False)
    made = synthetic()
    half = Period("Synthetic, second half", sorted(made)[len(made) // 2], date.max)
    if file is not None:
        retail = {day: {"": net} for day, net in net_by_day(file).items()}
        for period in (
            Period("Online Retail, settings chosen on", date.min, JUDGED_FROM),
            Period("Online Retail, judged on", JUDGED_FROM, date.max),
        ):
            console.print(table_of(period, judged(retail, period)), "")
    console.print(table_of(half, judged(made, half)))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
