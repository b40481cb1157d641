"""`python -m loadtests.forecasts FILE`: how the sales forecasts do on a real shop.

The days of the file (UCI's Online Retail) are closed one after the other, as the learner hears
them. What was made up to the end of May chose the settings; what was made from June on judges them.
"""

import sys
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from ml_online.sales_forecast import MEASURE, SalesForecaster, SeriesKey
from ml_online.scores import BUCKETS, MODELS, Tally, summed
from streams import codec
from streams.codec import Fact
from streams.events import DayClosed, DayFigure, Event, OrderCompleted, OrderRefunded
from streams.money import Money, SignedMoney, text
from streams.online_retail import CURRENCY, read

JUDGED_FROM = date(2011, 6, 1)
_TOTAL = SeriesKey("total", "", CURRENCY)


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


def closed(day: date, net: int, offset: int) -> Fact:
    """The close of one day, with the total alone: the file knows no categories."""
    figure = DayFigure(
        level="total",
        currency=CURRENCY,
        gross=Money(max(0, net)),
        discounts=Money(0),
        refunds=Money(0),
        net=SignedMoney(net),
        orders=0,
        units=0,
    )
    data = DayClosed(date=day.isoformat(), positions={}, figures=[figure])
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


def judged(nets: dict[date, int]) -> dict[str, list[Tally]]:
    """By horizon: the scores of what was made before a day, and from that day on."""
    forecaster = SalesForecaster()
    found = {name: [Tally() for _ in range(28)] for name in ("chosen on", "judged on")}
    for offset, (day, net) in enumerate(nets.items()):
        forecaster.learn(closed(day, net, offset))
        made = forecaster.series("main")[_TOTAL].made
        if not made:
            continue
        name = "judged on" if day >= JUDGED_FROM else "chosen on"
        for horizon in range(1, 29):
            target = date.fromordinal(day.toordinal() + horizon)
            if target in nets and (name == "judged on" or target < JUDGED_FROM):
                found[name][horizon - 1].add(made[-1][1], horizon, nets[target])
    return found


def table_of(name: str, tallies: list[Tally]) -> Table:
    """MAE and MASE by days ahead, of each model."""
    title = f"Net revenue a day, {CURRENCY}: days the settings were {name}"
    table = Table("days ahead", "pairs", title=title, title_justify="left", box=None)
    for model in MODELS:
        table.add_column(f"MAE {model}", justify="right")
        table.add_column(f"MASE {model}", justify="right")
    for first, last in ((1, 28), *BUCKETS):
        count, scores = summed(tallies[first - 1 : last])
        cells = [
            cell
            for model in MODELS
            for cell in (text(round(scores[model].mae or 0)), f"{scores[model].mase or 0:.3f}")
        ]
        table.add_row(f"{first}–{last}", f"{count:,}", *cells)
    return table


def main(file: Path) -> None:
    """Prints both tables."""
    assert MEASURE == "net"
    console = Console(highlight=False)
    for name, tallies in judged(net_by_day(file)).items():
        console.print(table_of(name, tallies), "")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
