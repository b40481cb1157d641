"""What is answered of sales to come, and of how well those that came were foretold."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Literal, NamedTuple, TypeAlias

from app.api.problems import Problem
from ml_online.daily_intervals import INTERVALS
from ml_online.daily_scores import DailyScores, Score, Scores, Span
from ml_online.drift import Shift
from ml_online.sales_forecast import FIRST_FORECAST, Ahead, SalesForecaster
from ml_online.sales_series import TEN_THOUSAND, Kind, Measure, Series
from streams.events import CalendarEntryPlanned, SalesLevel
from streams.money import text

By: TypeAlias = Literal["bucket", "horizon", "day"]

RECENT = 56
"""Days that models are compared over."""

_IN_UNITS = ("mae", "rmse", "crps")  # of the series
_RELATIVE = ("r2", "wape", "mase", "rmsse")


class Wanted(NamedTuple):
    """Which series of a shop."""

    shop: str
    level: SalesLevel = "total"
    id: str = ""
    currency: str | None = None
    measure: Measure = "net"


def sales(
    known: SalesForecaster, wanted: Wanted, horizon: int, contender: str | None = None
) -> dict[str, Any]:
    """The next days of a series, by who is served or by this contender. Raises Problem."""
    kind = one_kind(known, wanted)
    found = _ahead(known, wanted, kind, horizon, contender=contender)
    return {
        **_named(wanted, kind),
        "contender": contender or known.series(wanted.shop)[kind].forecaster.served,
        "forecasts": [_shown(one) for one in found],
    }


def what_if(
    known: SalesForecaster,
    wanted: Wanted,
    horizon: int,
    entries: Sequence[CalendarEntryPlanned],
) -> dict[str, Any]:
    """The next days of a series if this were planned, too, and what would be different. Raises
    Problem."""
    kind = one_kind(known, wanted)
    planned = _ahead(known, wanted, kind, horizon)
    _reached(entries, planned)
    supposed = _ahead(known, wanted, kind, horizon, entries)
    both = list(zip(planned, supposed, strict=True))
    return {
        **_named(wanted, kind),
        "difference": text(sum(one.value - other.value for other, one in both)),
        "unlearned": sorted(
            known.series(wanted.shop)[kind].forecaster.unlearned() & {one.kind for one in entries}
        ),
        "forecasts": [
            {
                **_shown(one),
                "as_planned": text(other.value),
                "difference": text(one.value - other.value),
            }
            for other, one in both
        ],
    }


def _reached(entries: Sequence[CalendarEntryPlanned], days: Sequence[Ahead]) -> None:
    """Raises Problem where something is supposed of other days alone than those foretold."""
    first, last = days[0].day, days[-1].day
    for number, one in enumerate(entries):
        if date.fromisoformat(one.last) < first or date.fromisoformat(one.first) > last:
            reason = f"none of its days is foretold: these are {first} to {last}"
            field = f"entries.{number}"
            raise Problem(
                422, "invalid", f"{field}: {reason}", [{"field": field, "reason": reason}]
            )


def scores(
    known: SalesForecaster,
    wanted: Wanted,
    levels: Sequence[str],
    window: tuple[date | None, date | None],
    by: By,
) -> dict[str, Any]:
    """How well forecasts did, by level; of one series over all days, where one is named."""
    first, last = (None if day is None else day.toordinal() for day in window)
    found = []
    for kind, series in sorted(known.series(wanted.shop).items()):
        if (
            kind.level in levels
            and kind.measure == wanted.measure
            and wanted.currency in (None, kind.currency)
            and (not wanted.id or wanted.id in series.begun)
        ):
            of_kind = _scores_of(series, first, last, by)
            if wanted.id:
                of_series = series.forecaster.scored.of_series(series.row(wanted.id))
                of_kind = {"id": wanted.id, "overall": _scored(of_series)}
            found.append({"level": kind.level, "currency": kind.currency, **of_kind})
    return {
        "measure": wanted.measure,
        "from": window[0],
        "to": window[1],
        "levels": found,
    }


def models(known: SalesForecaster, shop: str) -> dict[str, Any]:
    """What is learned of a shop: a model for each kind of series, how those that compete did over
    the last weeks, which of them is served, and which shifts of demand were noticed."""
    through = known.trained_through(shop)
    since = None if through is None else through.toordinal() - RECENT + 1
    return {
        "models": [
            {
                "measure": kind.measure,
                "currency": kind.currency,
                "level": kind.level,
                "series": len(series.begun),
                "full": series.full,
                "served": series.forecaster.served,
                "recent": _scored(series.forecaster.scored.window(since)),
                "shifts": [
                    _shift(group, shift)
                    for group, shifts in series.drift.shifts.items()
                    for shift in shifts
                ],
            }
            for kind, series in sorted(known.series(shop).items())
        ]
    }


def one_kind(known: SalesForecaster, wanted: Wanted) -> Kind:
    """The kind that holds the series. Raises Problem where none does, or more than one."""
    found = sorted(
        kind
        for kind, series in known.series(wanted.shop).items()
        if kind.level == wanted.level
        and kind.measure == wanted.measure
        and wanted.id in series.begun
        and wanted.currency in (None, kind.currency)
    )
    if not found:
        series = named_in_words(wanted.shop, wanted.level, wanted.id, wanted.currency)
        raise Problem(
            404,
            "unknown_series",
            f"no closed day of {series} has a sale: a forecast takes {FIRST_FORECAST} of them, and "
            "a day is closed an hour after its end",
        )
    if len(found) > 1:
        reason = f"one of {', '.join(one.currency for one in found)} is needed"
        raise Problem(
            422, "invalid", f"currency: {reason}", [{"field": "currency", "reason": reason}]
        )
    return found[0]


def named_in_words(shop: str, level: str, key: str, currency: str | None) -> str:
    """A series, for whom none was found."""
    one = level if key or level == "total" else f"{level} (which one, says id)"
    of = " ".join(filter(None, (one, key, currency and f"in {currency}")))
    return f"{of} of the shop {shop}"


def _ahead(
    known: SalesForecaster,
    wanted: Wanted,
    kind: Kind,
    horizon: int,
    supposing: Sequence[CalendarEntryPlanned] = (),
    contender: str | None = None,
) -> list[Ahead]:
    found = known.forecasts(wanted.shop, kind, wanted.id, supposing, horizon, contender)
    if not found:
        raise Problem(
            404, "too_few_days", f"a forecast takes {FIRST_FORECAST} closed days of the series"
        )
    return found


def _named(wanted: Wanted, kind: Kind) -> dict[str, Any]:
    return {
        "level": wanted.level,
        "id": wanted.id,
        "currency": kind.currency,
        "measure": wanted.measure,
    }


def _shown(one: Ahead) -> dict[str, Any]:
    return {
        "date": one.day,
        "horizon": one.horizon,
        "value": text(one.value),
        "intervals": {
            percent: [text(one.quantiles[low]), text(one.quantiles[high])]
            for percent, (low, high) in INTERVALS.items()
        },
        "seasonal_naive": text(round(one.naive, -2)),  # in hundredths, as what is foretold
        "known": one.known,
    }


def _scores_of(series: Series, first: int | None, last: int | None, by: By) -> dict[str, Any]:
    scored = series.forecaster.scored
    return {
        "series": len(series.begun),
        "days": _days(scored),
        "overall": _scored(scored.window(first, last)),
        f"by_{by}": [_span(part, by) for part in _parts(scored, first, last, by)],
    }


def _parts(scored: DailyScores, first: int | None, last: int | None, by: By) -> list[Span]:
    if by == "day":
        return scored.by_day(first, last)
    return scored.by_bucket(first, last) if by == "bucket" else scored.by_horizon(first, last)


def _span(part: Span, by: By) -> dict[str, Any]:
    if by == "day":
        return {"date": date.fromordinal(part.first), **_scored(part.scores)}
    return {"from": part.first, "to": part.last, **_scored(part.scores)}


def _days(scored: DailyScores) -> dict[str, date | None]:
    """The days of which a window can be asked."""
    if not scored.first:
        return {"first": None, "last": None}
    return {"first": date.fromordinal(scored.first), "last": date.fromordinal(scored.last)}


def _scored(found: Scores) -> dict[str, Any]:
    return {name: shown(score) for name, score in found.items()}


def shown(score: Score) -> dict[str, Any]:
    """A score as JSON has it: amounts as decimal text, shares and ratios as numbers."""
    amounts = {name: getattr(score, name) for name in _IN_UNITS}
    ratios = {name: getattr(score, name) for name in _RELATIVE}
    coverage = score.coverage or dict.fromkeys(INTERVALS)
    return {
        "pairs": score.pairs,
        **{name: one if one is None else text(_units(one)) for name, one in amounts.items()},
        **{name: one if one is None else round(one, 4) for name, one in ratios.items()},
        "coverage": {
            percent: share if share is None else round(share, 4)
            for percent, share in coverage.items()
        },
    }


def _units(value: float) -> int:
    return round(value * TEN_THOUSAND)


def _shift(group: str, shift: Shift) -> dict[str, Any]:
    return {
        "group": group,
        "noticed": date.fromordinal(shift.day),
        "error_before": round(shift.before, 4),
        "error_since": round(shift.since, 4),
    }
