"""What one cell says: an amount, a time, a word. A format is that of a whole column."""

import math
import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from app.imports.words import MONTHS, SIGNS, plain
from streams import money

Cell = str | int | float | bool | date | datetime | time | timedelta | None
"""As a file gives it: CSV only text, a spreadsheet typed values."""

UNIT: int = money.UNIT
_LARGEST_DIGITS = 13
_LONGEST_ID = 128

# Amounts.

_SIGN_WORDS = "|".join(re.escape(sign) for sign in sorted(SIGNS, key=len, reverse=True))
_NOISE = re.compile(rf"(?:{_SIGN_WORDS}|(?<![A-Za-z])[A-Z]{{3}}(?![A-Za-z])|[\s'’_])")
_GROUPED = {
    ".": re.compile(r"(\d{1,3}(?:,\d{2,3})*,\d{3}|\d*)(?:\.(\d*))?"),
    ",": re.compile(r"(\d{1,3}(?:\.\d{2,3})*\.\d{3}|\d*)(?:,(\d*))?"),
}
_EXPONENT = re.compile(r"[+-]?\d+(?:\.\d+)?[eE][+-]?\d{1,3}")


class Unread(ValueError):
    """A cell does not say what its column should; the message says why, for a person."""


def _bare(text: str) -> tuple[str, bool]:
    """An amount without currency, spaces and sign, and whether it is negative."""
    bare = _NOISE.sub("", text).removesuffix(",-").removesuffix(".-")
    negative = False
    if bare.startswith("(") and bare.endswith(")"):
        bare, negative = bare[1:-1], True
    if bare[:1] in ("-", "−", "+"):
        negative ^= bare[0] != "+"
        bare = bare[1:]
    elif bare[-1:] in ("-", "−"):
        bare, negative = bare[:-1], not negative
    return bare, negative


def decimal_marks(text: str) -> str | None:
    """Which decimal marks an amount can be read with: `.`, `,`, both, or None if it is none."""
    if _EXPONENT.fullmatch(text.strip()):
        return "."
    bare, _ = _bare(text.strip().removesuffix("%"))
    if not bare or not any(letter.isdigit() for letter in bare):
        return None
    found = "".join(mark for mark in ".," if _GROUPED[mark].fullmatch(bare))
    if found == ".,":
        for mark in ".,":
            # One mark before three digits may group or divide; before any other number it divides.
            whole, told, fraction = bare.partition(mark)
            if told and (len(fraction) != 3 or whole in ("", "0") or len(whole) > 3):
                return mark
    return found or None


@lru_cache(maxsize=1 << 16)
def amount(text: str, mark: str) -> int:
    """Ten-thousandths, halves to even where there are more places. Raises Unread."""
    if _EXPONENT.fullmatch(text.strip()):
        return from_float(float(text))
    bare, negative = _bare(text.strip())
    found = _GROUPED[mark].fullmatch(bare)
    if found is None or not (found[1] or found[2]) or not bare.isascii():
        raise Unread("no number" if decimal_marks(text) is None else f"no number with {mark!r}")
    whole = (found[1] or "0").replace("," if mark == "." else ".", "")
    fraction = found[2] or ""
    if len(whole.lstrip("0")) > _LARGEST_DIGITS:
        raise Unread("too large a number")
    units = int(whole + fraction[:4].ljust(4, "0"))
    if rest := fraction[4:].rstrip("0"):
        half = "5".ljust(len(rest), "0")
        units += int(rest > half or (rest == half and units % 2 == 1))
    if units > money.LARGEST:
        raise Unread("too large a number")
    return -units if negative else units


def from_float(value: float) -> int:
    """A spreadsheet's number in ten-thousandths. Raises Unread."""
    if not math.isfinite(value) or abs(value) * UNIT > money.LARGEST:
        raise Unread("too large a number")
    return round(value * UNIT)


def units_of(cell: Cell, mark: str) -> int:
    """A cell's number in ten-thousandths. Raises Unread."""
    if isinstance(cell, str):
        return amount(cell, mark)
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        raise Unread("no number")
    return from_float(cell)


def is_percent(cell: Cell) -> bool:
    return isinstance(cell, str) and cell.rstrip().endswith("%")


# Times.

_CLOCK = (
    r"(?:[ T,]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?P<zone>Z|UTC|[+-]\d{2}:?\d{2})?)?"
)
_NUMBERS = re.compile(rf"(\d{{1,4}})([./\- ])(\d{{1,2}})\2(\d{{1,4}})\.?{_CLOCK}")
_COMPACT = re.compile(rf"(\d{{4}})(\d{{2}})(\d{{2}}){_CLOCK}")
_NAMED = re.compile(
    rf"(?:[^\W\d_]+\.?,?\s+)?(?:(\d{{1,2}})(?:st|nd|rd|th|er|\.)?[\s\-/]*(?:de |of )?"
    rf"([^\W\d_]{{3,}})\.?|([^\W\d_]{{3,}})\.?[\s\-](\d{{1,2}})(?:st|nd|rd|th)?),?"
    rf"[\s\-/]*(?:de |del )?(\d{{4}}|\d{{2}}){_CLOCK}"
)
_TIME_OF_DAY = re.compile(
    r"(\d{1,2})(?::|h)(\d{2})?(?::(\d{2})(?:\.\d+)?)?\s*([AaPp]\.?[Mm]\.?)?(?:Uhr)?"
)
_EXCEL_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001

DATE_FORMATS = ("y-m-d", "d/m/y", "m/d/y", "named", "compact", "excel", "unix", "unix-ms")
"""What a column of dates can be. Any of `/ . - space` divides its parts."""


def date_formats(text: str) -> tuple[str, ...]:
    """All formats in which a text is a date; numbers alone are no dates here."""
    if (
        len(text) > 48
        or not any(map(str.isdigit, text))
        or not any(mark in text for mark in "-/. ")
    ):
        return ()
    return tuple(one for one in ("y-m-d", "d/m/y", "m/d/y", "named") if _fits(text, one))


def _fits(text: str, form: str) -> bool:
    try:
        moment(text, form)
    except Unread:
        return False
    return True


def moment_of(cell: Cell, form: str) -> datetime:
    """A cell's time, naive where it tells no zone. Raises Unread."""
    if isinstance(cell, str):
        return moment(cell, form)
    if isinstance(cell, datetime):
        return cell
    if isinstance(cell, date):
        return datetime.combine(cell, time())
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        whole = int(cell) if float(cell).is_integer() else cell
        return moment(str(whole), form)
    raise Unread("no date")


@lru_cache(maxsize=1 << 16)
def moment(text: str, form: str) -> datetime:
    """A text's time in a format, naive where it tells no zone. Raises Unread."""
    text = text.strip()
    try:
        return _moment(text, form)
    except Unread:
        raise
    except (ValueError, OverflowError, OSError):
        raise Unread("no such day or time") from None


def _moment(text: str, form: str) -> datetime:
    if form in ("excel", "unix", "unix-ms"):
        return _counted(float(text), form)
    if form == "named":
        if (found := _NAMED.fullmatch(text)) is None:
            raise Unread("no date with the name of a month")
        named = MONTHS.get(plain(found[2] or found[3]))
        if named is None:
            raise Unread(f"no month is called {(found[2] or found[3])[:20]!r}")
        return _at(found[5], named, found[1] or found[4], found)
    if form == "compact":
        if (found := _COMPACT.fullmatch(text)) is None:
            raise Unread("no date such as 20240131")
        return _at(found[1], found[2], found[3], found)
    if form == "y-m-d" and len(text) in (10, 19) and text[4] == "-" and text[7] == "-":
        return datetime.fromisoformat(text)
    if (found := _NUMBERS.fullmatch(text)) is None:
        raise Unread("no date")
    first, second, third = found[1], found[3], found[4]
    if (len(first) == 4) != (form == "y-m-d") or (form != "y-m-d" and len(third) not in (2, 4)):
        raise Unread(f"no date such as {form}")
    if form == "y-m-d":
        return _at(first, second, third, found)
    day, month = (first, second) if form == "d/m/y" else (second, first)
    return _at(third, month, day, found)


def _counted(number: float, form: str) -> datetime:
    if form == "excel":
        if not 1 <= number < 2_958_466:
            raise Unread("no day of a spreadsheet")
        # To the millisecond, as a spreadsheet shows it: a float of days is no more exact.
        micros = round(number * 86_400_000) * 1000
        return _EXCEL_EPOCH + timedelta(microseconds=micros)
    return datetime.fromtimestamp(number / 1000 if form == "unix-ms" else number, UTC)


def _at(year: str, month: str | int, day: str, clock: "re.Match[str]") -> datetime:
    full = int(year) if len(year) > 2 else 2000 + int(year) - (100 if int(year) >= 70 else 0)
    hour = int(clock["hour"] or 0)
    if half := (clock["half"] or "").lower():
        if not 1 <= hour <= 12:
            raise Unread("no such time")
        hour = hour % 12 + (12 if half[0] == "p" else 0)
    micros = int((clock["part"] or "0")[:6].ljust(6, "0"))
    found = datetime(  # noqa: DTZ001
        full, int(month), int(day), hour, int(clock["minute"] or 0), int(clock["second"] or 0),
        micros,
    )  # fmt: skip
    told = clock["zone"]
    if not told:
        return found
    return datetime.fromisoformat(found.isoformat() + ("Z" if told == "UTC" else told))


def time_of_day(cell: Cell) -> time:
    """A column of its own may hold the time that goes with the day. Raises Unread."""
    if isinstance(cell, datetime):
        return cell.time()
    if isinstance(cell, time):
        return cell
    if isinstance(cell, float | int) and not isinstance(cell, bool) and 0 <= cell < 1:
        return (_EXCEL_EPOCH + timedelta(microseconds=round(cell * 86_400) * 1_000_000)).time()
    found = _TIME_OF_DAY.fullmatch(str(cell).strip()) if isinstance(cell, str) else None
    if found is None:
        raise Unread("no time of day")
    hour = int(found[1])
    if half := (found[4] or "").lower():
        hour = hour % 12 + (12 if half[0] == "p" else 0)
    try:
        return time(hour, int(found[2] or 0), int(found[3] or 0))
    except ValueError:
        raise Unread("no time of day") from None


# Words.


def text_of(cell: Cell) -> str:
    """A cell as text, an id that a spreadsheet made a number as it was: `17850.0` is `17850`."""
    if isinstance(cell, str):
        return cell.strip()
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, datetime):
        return cell.isoformat(" ")
    return str(cell)


def id_of(cell: Cell) -> str:
    """As `text_of`, also where it was written out as text."""
    text = text_of(cell)
    return text[:-2] if text.endswith(".0") and text[:-2].isdecimal() else text


def short_id(cell: Cell) -> str:
    """As `id_of`. Raises Unread where that is longer than any id may be."""
    text = id_of(cell)
    if len(text) > _LONGEST_ID:
        raise Unread(f"more than {_LONGEST_ID} characters")
    return text
