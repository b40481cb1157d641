"""What a process that makes a file is told, and what it says of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

Format = Literal["xlsx", "csv", "parquet"]
MEDIA_TYPES: Mapping[Format, str] = {
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}


class OfReport(Struct, frozen=True, tag="report"):
    """A report, and what it is asked, as JSON."""

    report: str
    asked: str
    format: Format


class OfMonth(Struct, frozen=True, tag="month"):
    """All sales of a month, as a workbook."""

    year: int
    month: int


class Seen(Struct, frozen=True):
    """The snapshot of Postgres that whoever asks holds, and what is to be said of it: when it was
    taken, and up to when all events are in it. Found by the same names, it is the same figures."""

    dsn: str
    search_path: str
    snapshot: str
    now: datetime
    cart_silence: timedelta
    complete_to: datetime | None


class Task(Struct, frozen=True):
    """A file to make, from what is seen, in a folder that is there for it alone."""

    of: OfReport | OfMonth
    shop: str
    timezone: str
    seen: Seen
    path: str


class Made(Struct, frozen=True, tag="made"):
    """It is made: so many rows, by a process that took so much memory."""

    rows: int
    most_kilobytes: int


class Refused(Struct, frozen=True, tag="refused"):
    """It cannot be made, and why; `code` is what the API calls that."""

    reason: str
    code: str = "too_many_rows"


Outcome = Made | Refused


class TooLarge(Exception):
    """There is more than a file holds; the message says what to do."""


class Said(Struct, frozen=True):
    """What a summary says besides figures: lines of a name and what it is."""

    title: str
    lines: Sequence[tuple[str, str]]
