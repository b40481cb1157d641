"""What a workbook's charts show: a few lines over time, or the largest of many."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from app.exports.cells import NUMBERS
from app.reports.report import Column

_PERIODS = frozenset({"hour", "day", "week", "month", "quarter", "year"})
_MOST_CHARTS = 3  # currencies
_MOST_LINES = 6
_MOST_POINTS = 1_000
_MOST_BARS = 15

Rows = Sequence[Mapping[str, Any]]


class Chart(NamedTuple):
    """Labels along one axis, and for each line, by name, a value at each label."""

    title: str
    over_time: bool
    labels: Sequence[str]
    lines: Mapping[str, Sequence[Decimal | None]]


def charts(columns: Sequence[Column], key: Sequence[str], rows: Rows) -> list[Chart]:
    """A chart for each of the currencies that most rows have: of the first figure that they show,
    over time where they have a period."""
    measure = next((c for c in columns if c.name not in key and c.kind in NUMBERS), None)
    if measure is None or len(rows) < 2:
        return []
    kinds = {column.name: column.kind for column in columns}
    times = [n for n in key if n in _PERIODS or kinds.get(n) in ("day", "month", "time")]
    period = times[0] if times else None
    names = [name for name in key if name not in (period, "currency")]
    if period is None and not names:
        return []
    found = []
    for currency, of in _by_currency(rows):
        title = f"{measure.name.replace('_', ' ')} {currency}".strip()
        if period is None:
            found.append(_largest(title, measure.name, names, of))
        else:
            found.append(_over_time(title, measure.name, period, names, of))
    return [chart for chart in found if chart.labels]


def _by_currency(rows: Rows) -> Sequence[tuple[str, Rows]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row.get("currency") or "", []).append(row)
    return sorted(found.items(), key=lambda of: (-len(of[1]), of[0]))[:_MOST_CHARTS]


def _name(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return " · ".join(str(row[name] if row[name] is not None else "–") for name in names)


def _largest(title: str, measure: str, names: Sequence[str], rows: Rows) -> Chart:
    known = [(Decimal(row[measure]), _name(row, names)) for row in rows if row[measure] is not None]
    largest = sorted(known, key=lambda one: (-one[0], one[1]))[:_MOST_BARS]
    labels = [name for _, name in largest]
    return Chart(title, False, labels, {measure: [number for number, _ in largest]})


def _over_time(title: str, measure: str, period: str, names: Sequence[str], rows: Rows) -> Chart:
    periods = sorted({str(row[period]) for row in rows if row[period] is not None})
    periods = periods[-_MOST_POINTS:]
    by_line: dict[str, dict[str, Decimal]] = {}
    for row in rows:
        if row[measure] is not None:
            line = by_line.setdefault(_name(row, names) or measure, {})
            line[str(row[period])] = Decimal(row[measure])
    kept = sorted(by_line, key=lambda name: (-_size(by_line[name].values()), name))[:_MOST_LINES]
    if len(by_line) > len(kept):
        title = f"{title}, the {_MOST_LINES} largest"
    lines = {name: [by_line[name].get(one) for one in periods] for name in kept}
    return Chart(title, True, periods, lines)


def _size(values: Iterable[Decimal]) -> Decimal:
    return sum(map(abs, values), Decimal(0))
