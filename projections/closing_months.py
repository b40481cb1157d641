"""When a month of a shop is over, and what is told of it: pure functions.

A month is over once all of its days are closed. What is told is the sum of what was told of its
days, each at the revision that stands beside it: so a month can be checked against the log of days
alone. Days that are corrected afterwards correct the month once they have rested, as days wait for
sales to do.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from operator import add
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from projections.clock import following
from projections.closing import (
    NOTHING,
    Change,
    Figures,
    Parents,
    Rules,
    Series,
    Values,
    by_subject,
    closing_figures,
    of_figure,
    parts_of,
)
from streams import codec
from streams.codec import Refused
from streams.events import Event, MonthClosed, MonthCorrected

_NAMESPACE = uuid5(NAMESPACE_URL, "tillstream/months")
_DAY = timedelta(days=1)


class ClosedDay(NamedTuple):
    """How often a closed day was corrected, and when it was told last."""

    revision: int
    told_at: datetime


class ToldMonth(NamedTuple):
    """What was told of a month: its revision, when, the sum of which days, and the sums."""

    revision: int
    at: datetime
    days: Mapping[date, int]
    figures: Figures


def closes(month: date, next_day: date) -> bool:
    """Whether all days of a month are closed, where all before `next_day` are."""
    return following(month) <= next_day


def settled(
    days: Mapping[date, ClosedDay], told: Mapping[date, int], at: datetime, rules: Rules
) -> bool:
    """Whether days of a month have been told anew since it was, and have rested."""
    news = [day.told_at for on, day in days.items() if day.revision != told.get(on)]
    return bool(news) and rules.settled(Change(min(news), max(news)), at)


def figures_of(
    first_days: Mapping[Series, date], month: date, told: Mapping[date, Figures]
) -> Figures:
    """The sums of every series that has begun, over what was told of a month's days; zeros where
    the level is dense."""
    sums: dict[Series, Values] = {}
    for figures in told.values():
        for series, values in figures.items():
            sums[series] = Values(*map(add, sums.get(series, NOTHING), values))
    return closing_figures(first_days, following(month) - _DAY, sums)


def telling(
    shop: str,
    month: date,
    revision: int,
    days: Mapping[date, int],
    figures: Figures,
    now: datetime,
    parents: Parents | None = None,
) -> list[Event]:
    """What is told of a month: its closing as revision 0, else a correction; mostly one event."""
    kind = MonthCorrected if revision else MonthClosed
    name = month.isoformat()[:7]
    parts = parts_of(figures, parents or {})
    return [
        Event(
            id=str(uuid5(_NAMESPACE, f"{shop}\0{name}\0{revision}\0{part}")),
            type=kind.__name__,
            shop=shop,
            subject=name,
            time=now,
            received_at=now,
            source="days",
            data=codec.raw(
                kind(
                    month=name,
                    days={day.isoformat(): of_day for day, of_day in sorted(days.items())},
                    figures=listed,
                    revision=revision,
                    part=part,
                    parts=len(parts),
                )
            ),
        )
        for part, listed in enumerate(parts, 1)
    ]


def recall(events: Iterable[Event]) -> Iterator[tuple[tuple[str, date], ToldMonth]]:
    """What the log has told of months, by shop and month, one at a time. The higher revision
    holds."""
    for (shop, subject), of_month in sorted(by_subject(events, MonthClosed).items()):
        said = [(event.time, decoded) for event in of_month if (decoded := _month_closed(event))]
        if said:
            said.sort(key=lambda one: one[1].revision)
            figures: dict[Series, Values] = {}
            for _, data in said:
                figures.update(map(of_figure, data.figures))
            at, last = said[-1]
            days = {date.fromisoformat(day): revision for day, revision in last.days.items()}
            month = date.fromisoformat(f"{subject}-01")
            yield (shop, month), ToldMonth(last.revision, at, days, figures)


def _month_closed(event: Event) -> MonthClosed | None:
    try:
        data = codec.decode_data(event, "days")
    except Refused:
        return None
    return data if isinstance(data, MonthClosed) and data.month == event.subject else None
