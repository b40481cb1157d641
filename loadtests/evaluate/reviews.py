"""A table of reviews: texts, stars and perhaps times, in the order in which they were written."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import duckdb

from loadtests.evaluate.sheet import BadTable, load, told

_EPOCH = re.compile(r"(\d{10})(?:\.\d+)?|(\d{13})")
_SLASHED = re.compile(r"(\d{1,2})[/.](\d{1,2})[/.](\d{2}|\d{4})(?:[ T].*)?")
_FORMATS = (
    *("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%d-%b-%y", "%d-%b-%Y", "%m %d, %Y"),
    *("%Y/%m/%d", "%Y%m%d", "%d-%m-%Y"),
)
_ORDERS = {"d/m/y": (2, 1, 0), "m/d/y": (2, 0, 1)}
_LONGEST = 20_000  # letters of a review, as events have them


class Review(NamedTuple):
    """One of them; the time is None where the table tells none."""

    text: str
    stars: int
    time: datetime | None


class Reviews(NamedTuple):
    """Those that can be judged, and how many were left out for want of a text, or of stars."""

    rows: Sequence[Review]
    without_text: int
    without_stars: int


def read(path: Path, text: str, stars: str, time: str | None, date_format: str = "") -> Reviews:
    """The reviews of a file, by time where it is told, else as they stand. Raises BadTable."""
    with duckdb.connect(":memory:") as database:
        load(database, path, list(dict.fromkeys(filter(None, (text, stars, time)))))
        columns = [f"{told(name)}::VARCHAR" for name in (text, stars, time or stars)]
        rows = database.execute(f"SELECT {', '.join(columns)} FROM sheet ORDER BY rowid").fetchall()  # noqa: S608
    worded = [row for row in rows if (row[0] or "").strip()]
    starred = [row for row in worded if (row[1] or "").strip()]
    if not starred:
        raise BadTable(
            f"no row has both a text in {text!r} and stars in {stars!r}: name other columns"
        )
    when = _times(time, [row[2] for row in starred], date_format) if time else None
    found = [
        Review(row[0][:_LONGEST], _stars(stars, row[1]), when[n] if when else None)
        for n, row in enumerate(starred)
    ]
    found.sort(key=lambda one: one.time or datetime.min.replace(tzinfo=UTC))
    return Reviews(found, len(rows) - len(worded), len(worded) - len(starred))


def _stars(column: str, cell: str) -> int:
    try:
        value = float(cell.strip().replace(",", "."))
    except ValueError:
        value = 0.0
    if not (value.is_integer() and 1 <= value <= 5):
        raise BadTable(
            f"the column {column!r} has {cell[:60]!r}: stars are whole, from 1 to 5."
            " Mend or leave out those rows, or name another column with --stars"
        )
    return int(value)


def _times(column: str, cells: Sequence[str | None], date_format: str) -> list[datetime]:
    if date_format and date_format not in _ORDERS:
        raise BadTable(f"--date-format {date_format!r}: it is {' or '.join(_ORDERS)}")
    if missing := sum(not (cell or "").strip() for cell in cells):
        raise BadTable(
            f"the column {column!r} is empty in {missing:,} rows: leave these rows out, or leave"
            " out --time, and reviews are taken as they stand"
        )
    texts = [(cell or "").strip() for cell in cells]
    slashed = _slashed(column, texts, date_format)
    return [_time(column, text, slashed) for text in texts]


def _slashed(
    column: str, texts: Sequence[str], date_format: str
) -> Callable[[str], datetime | None]:
    """Reads such as 5/9/2019, in the one order in which all of them are dates. Raises BadTable."""
    found = [match for text in texts if (match := _SLASHED.fullmatch(text))]
    orders = [date_format] if date_format else list(_ORDERS)
    fits = [
        name for name in orders if all(int(match[1 + _ORDERS[name][1]]) <= 12 for match in found)
    ]
    if found and len(fits) != 1:
        raise BadTable(
            f"the column {column!r} can be read in more than one way, or in none, such as"
            f" {found[0][0]!r}: say which with --date-format {' or '.join(_ORDERS)}"
        )

    def read_one(text: str) -> datetime | None:
        match = _SLASHED.fullmatch(text)
        if match is None:
            return None
        year, month, day = (int(match[1 + place]) for place in _ORDERS[fits[0]])
        return datetime(year + 2000 if year < 100 else year, month, day, tzinfo=UTC)

    return read_one


def _time(column: str, text: str, slashed: Callable[[str], datetime | None]) -> datetime:
    if epoch := _EPOCH.fullmatch(text):
        return datetime.fromtimestamp(int(epoch[1] or epoch[2][:10]), UTC)
    try:
        if (found := slashed(text)) is not None:
            return found
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except ValueError:
        pass
    last = text.rpartition(" on ")[2]  # Reviewed in Germany on May 9, 2019
    for form in _FORMATS:
        try:
            return datetime.strptime(last, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise BadTable(
        f"the column {column!r} has {text[:60]!r}, which is no time that is read here: write it as"
        " 2019-05-09, name another column, or leave out --time: reviews are then taken as they"
        " stand"
    )
