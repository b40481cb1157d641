"""What the values of a column look like: counted over a sample, further where that is undecided."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime

from app.imports.cells import (
    UNIT,
    Cell,
    Unread,
    amount,
    date_formats,
    decimal_marks,
    is_percent,
    text_of,
)
from app.imports.words import COUNTRIES, COUNTRY_CODES, CURRENCIES, SIGNS, plain

SAMPLE_ROWS = 5_000
_MOST_DISTINCT = 2_000
_SIGNS = sorted(SIGNS, key=len, reverse=True)


class Profile:
    """The values of one column so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.filled = 0
        self.empty = 0
        self.marks: Counter[str] = Counter()
        """Of the numbers: how many need `.`, need `,`, or can be read with either (`.,`)."""
        self.dates: Counter[tuple[str, ...]] = Counter()
        """By the formats that each can be read in."""
        self.typed_dates = 0
        self.typed_numbers = 0
        self.percents = 0
        self.negative = 0
        self.whole = 0
        self.rising = 0
        self.signs: Counter[str] = Counter()
        self.codes = 0
        self.countries = 0
        self.values: Counter[str] = Counter()
        self.least = self.greatest = 0.0
        self._before: float | None = None

    @property
    def numbers(self) -> int:
        return self.marks.total()

    @property
    def distinct(self) -> int:
        """At most so many as are counted."""
        return len(self.values)

    def share(self, count: int) -> float:
        return count / self.filled if self.filled else 0.0

    def add(self, cell: Cell) -> None:
        text = text_of(cell)
        if not text:
            self.empty += 1
            return
        self.filled += 1
        if text in self.values or len(self.values) < _MOST_DISTINCT:
            self.values[text] += 1
        if isinstance(cell, date | datetime):
            self.typed_dates += 1
        elif isinstance(cell, int | float) and not isinstance(cell, bool):
            self.typed_numbers += 1
            self._number(float(cell), ".,")
        elif isinstance(cell, str):
            self._text(text)

    def _text(self, text: str) -> None:
        if (marks := decimal_marks(text)) is not None and (
            found := _float(text, marks)
        ) is not None:
            self._number(found, marks)
            self.percents += is_percent(text)
            if not text[0].isdigit() or not text[-1].isdigit():
                self._sign(text)
        elif formats := date_formats(text):
            self.dates[formats] += 1
        if len(text) == 3 and text in CURRENCIES:
            self.codes += 1
        if len(text) < 40 and (plain(text) in COUNTRIES or text in COUNTRY_CODES):
            self.countries += 1

    def _number(self, value: float, marks: str) -> None:
        whole = value.is_integer()
        self.marks[marks] += 1
        self.negative += value < 0
        self.whole += whole
        self.rising += self._before is not None and value == self._before + 1
        self._before = value
        self.least, self.greatest = min(self.least, value), max(self.greatest, value)

    def _sign(self, text: str) -> None:
        for sign in _SIGNS:
            if sign in text:
                self.signs[sign] += 1
                return
        for word in text.replace("\u00a0", " ").split():
            if word in CURRENCIES:
                self.signs[word] += 1

    @property
    def undecided(self) -> bool:
        """Whether more rows could say in which format its dates are."""
        return bool(self.dates) and len(self.date_fits) > 1

    @property
    def date_fits(self) -> list[str]:
        """The formats in which nearly all of its dates can be read; several: it is not known in
        which they are."""
        counts: Counter[str] = Counter()
        for formats, count in self.dates.items():
            counts.update(dict.fromkeys(formats, count))
        total = self.dates.total()
        best = [form for form, count in counts.items() if count == total]
        if best or not counts:
            return best
        form, count = counts.most_common(1)[0]
        # Some lines may be broken; if many are, two formats are mixed and neither is to be taken.
        return [form] if count >= 0.9 * total else []


def _float(text: str, marks: str) -> float | None:
    try:
        return amount(text.removesuffix("%"), marks[0]) / UNIT
    except Unread:
        return None


def profiles(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> list[Profile]:
    """Each column's, over a sample, and over all rows for columns whose dates are undecided."""
    found = [Profile(name) for name in columns]
    for number, row in enumerate(rows):
        if number < SAMPLE_ROWS:
            for profile, cell in zip(found, row, strict=False):
                profile.add(cell)
            continue
        open_ones = [place for place, profile in enumerate(found) if profile.undecided]
        if not open_ones:
            break
        for place in open_ones:
            text = text_of(row[place]) if place < len(row) else ""
            if text and (formats := date_formats(text)):
                found[place].dates[formats] += 1
    return found
