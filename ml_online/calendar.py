"""What is known ahead of a shop's days, as numbers that forecasters take.

Of each series and day: whether the shop is `closed` (1), how strong a `promotion` is (1 is usual),
the `price` as the logarithm of its ratio to the usual one, and whether it is a public `holiday`
(1). All are 0 on a usual day.

An entry holds for all that lies below its scope: one of the whole shop for every series, one of a
category for its products and their variants. Nothing reaches upwards but promotions, of which a
wider series gets the share of its products (a product: of its variants) that have one.

Of each entry it is kept what was said of it last, and when: all go by what is known by now.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml_online.public_holidays import code_of, holidays_of
from streams.events import CalendarEntryPlanned

Array = NDArray[np.float64]
Parents = Mapping[str, Mapping[str, str]]
"""By level, what each key lies in: `{"product": {"mug": "kitchen"}, "variant": {"red": "mug"}}`."""

KNOWN = ("closed", "promotion", "price", "holiday")
_CLOSED, _PROMOTION, _PRICE, _HOLIDAY = range(len(KNOWN))

_BREADTH = ("total", "country", "category", "product", "variant")  # the narrower is the nearer
_ASSORTMENT = ("category", "product", "variant")
_ABOVE = {"product": "category", "variant": "product"}
_INSIDE = {"total": "product", "country": "product", "category": "product", "product": "variant"}
_STEEPEST = math.log(100)  # of prices: what is further from the usual one is taken for that


class _Entry(NamedTuple):
    """Days are ordinals, both included; `value` is as KNOWN has it."""

    kind: str
    first: int
    last: int
    level: str
    key: str
    value: float


class _Said(NamedTuple):
    """What was said of an entry last, and when."""

    at: datetime
    entry: _Entry


class Calendar:
    """What is planned in all shops, and where these are."""

    def __init__(self) -> None:
        self._said: dict[str, dict[str, _Said]] = {}
        self._country: dict[str, str] = {}

    def lies_in(self, shop: str, country: str | None) -> None:
        """Whose holidays a shop's days have: ISO 3166, with a part of the country where that has
        its own (`GB-SCT`). As long as nothing is said, no day is a holiday."""
        if country:
            self._country[shop] = country

    def plan(self, shop: str, planned: CalendarEntryPlanned, at: datetime) -> None:
        """An entry, or what it is from now on. Of days that no calendar has, nothing is planned."""
        if entry := _entry(planned):
            self._said.setdefault(shop, {})[planned.entry_id] = _Said(at, entry)

    def withdraw(self, shop: str, entry_id: str) -> None:
        self._said.get(shop, {}).pop(entry_id, None)

    def supposing(self, shop: str, entries: Iterable[CalendarEntryPlanned]) -> "Calendar":
        """A calendar in which this is planned too, last of all; this one stays as it is."""
        other = Calendar()
        other._country = dict(self._country)
        other._said = {name: dict(known) for name, known in self._said.items()}
        for planned in entries:
            other.plan(shop, planned, datetime.max.replace(tzinfo=UTC))
        return other

    def forget(self, shop: str, before: int) -> None:
        """Lets go of entries that ended before a day and are not asked about any more."""
        known = self._said.get(shop, {})
        for entry_id in [name for name, said in known.items() if said.entry.last < before]:
            del known[entry_id]

    def known(
        self,
        shop: str,
        level: str,
        keys: Sequence[str],
        parents: Parents,
        first_day: int,
        days: int,
    ) -> Array:
        """[len(keys), days, len(KNOWN)] of the days from an ordinal on, as planned now. Keys
        without a parent lie in nothing but the shop."""
        entries = self._entries(shop, first_day, first_day + days - 1)
        window = _Window(first_day, days, parents)
        found = np.zeros((len(keys), days, len(KNOWN)))
        of_kind = {
            kind: [entry for entry in entries if entry.kind == kind] for kind in KNOWN[:_HOLIDAY]
        }
        rows = _Rows(level, keys, parents) if entries else None
        if rows is not None:
            for kind, column in (("closed", _CLOSED), ("price", _PRICE)):
                for entry in of_kind[kind]:
                    found[rows.of(entry), window.days_of(entry), column] = entry.value
        if promotions := of_kind["promotion"]:
            found[..., _PROMOTION] = window.promotions(promotions, level, keys)
        found[..., _HOLIDAY] = self._holidays(shop, level, keys, first_day, days)
        return found

    def _entries(self, shop: str, first: int, last: int) -> list[_Entry]:
        """Those of some days, the widest first: what is said of a part goes before what is said of
        the whole, and what was said later before what was."""
        found = [
            (_BREADTH.index(entry.level), at, entry_id, entry)
            for entry_id, (at, entry) in self._said.get(shop, {}).items()
            if entry.first <= last and entry.last >= first
        ]
        return [entry for *_, entry in sorted(found)]

    def _holidays(self, shop: str, level: str, keys: Sequence[str], first: int, days: int) -> Array:
        """[len(keys), days] of countries, else [1, days]."""
        countries = keys if level == "country" else [self._country.get(shop, "")]
        at = {code: number for number, code in enumerate(dict.fromkeys(map(_code, countries)))}
        marks = np.zeros((len(at), days))
        years = range(date.fromordinal(first).year, date.fromordinal(first + days - 1).year + 1)
        for code, number in at.items():
            for year in years if code else ():
                for day in holidays_of(code, year):
                    if first <= day < first + days:
                        marks[number, day - first] = 1.0
        return marks[[at[_code(country)] for country in countries]]

    # What is kept.

    def state(self) -> Iterator[Any]:
        """All that was said last, in rows of what JSON can say."""
        yield dict(sorted(self._country.items()))
        for shop, known in sorted(self._said.items()):
            for entry_id, (at, entry) in sorted(known.items()):
                yield [shop, entry_id, at.isoformat(), list(entry)]

    def restore(self, rows: Iterable[Any]) -> None:
        """Goes on from a state."""
        self._country, *entries = rows
        self._said = {}
        for shop, entry_id, at, entry in entries:
            said = _Said(datetime.fromisoformat(at), _Entry(*entry))
            self._said.setdefault(shop, {})[entry_id] = said


class _Rows:
    """Which rows of a level's keys lie in what."""

    def __init__(self, level: str, keys: Sequence[str], parents: Parents) -> None:
        self._lying: dict[str, dict[str, list[int]]] = {}
        self._count = len(keys)
        inside: Sequence[str | None] = keys
        scope: str | None = level
        while scope is not None:
            lying = self._lying[scope] = {}
            for row, key in enumerate(inside):
                if key is not None:
                    lying.setdefault(key, []).append(row)
            above = parents.get(scope, {})
            inside = [None if key is None else above.get(key) for key in inside]
            scope = _ABOVE.get(scope)

    def of(self, entry: _Entry) -> slice | list[int]:
        """The rows that an entry holds for, which an index takes."""
        if entry.level == "total":
            return slice(None)
        return self._lying.get(entry.level, {}).get(entry.key, [])


class _Window(NamedTuple):
    """Some days, and what lies in what."""

    first: int
    days: int
    parents: Parents

    def days_of(self, entry: _Entry) -> slice:
        return slice(max(entry.first - self.first, 0), entry.last - self.first + 1)

    def promotions(self, entries: Sequence[_Entry], level: str, keys: Sequence[str]) -> Array:
        """How strong promotions are, [len(keys), days]: the strongest where there are several."""
        found = np.zeros((len(keys), self.days))
        rows = _Rows(level, keys, self.parents)
        for entry in entries:
            at = rows.of(entry), self.days_of(entry)
            found[at] = np.maximum(found[at], entry.value)
        inside = _INSIDE.get(level)
        narrower = [entry for entry in entries if _narrower(entry.level, level)]
        if inside and narrower:
            found = np.maximum(found, self._shares(narrower, level, keys, inside))
        if level == "total" and (of_countries := [e for e in entries if e.level == "country"]):
            countries = list(self.parents.get("country", ()))
            mean = self.promotions(of_countries, "country", countries).sum(axis=0)
            found = np.maximum(found, mean / max(len(countries), 1))
        return found

    def _shares(
        self, entries: Sequence[_Entry], level: str, keys: Sequence[str], inside: str
    ) -> Array:
        """The means over what lies in each key."""
        lying = self.parents.get(inside, {})
        strengths = self.promotions(entries, inside, list(lying))
        if level in ("total", "country"):
            return np.broadcast_to(
                strengths.sum(axis=0) / max(len(lying), 1), (len(keys), self.days)
            )
        row_of = {key: row for row, key in enumerate(keys)}
        rows = np.array([row_of.get(key, len(keys)) for key in lying.values()], dtype=np.int64)
        sums = np.zeros((len(keys) + 1, self.days))
        np.add.at(sums, rows, strengths)
        counts = np.bincount(rows, minlength=len(keys) + 1)
        found: Array = (sums / np.maximum(counts, 1)[:, None])[:-1]
        return found


def _narrower(one: str, other: str) -> bool:
    """Whether a level of the assortment lies in another one. Countries do not lie in it."""
    return one in _ASSORTMENT and _BREADTH.index(one) > _BREADTH.index(other)


def _entry(planned: CalendarEntryPlanned) -> _Entry | None:
    try:
        first, last = (date.fromisoformat(day) for day in (planned.first, planned.last))
    except ValueError:
        return None
    value = float(planned.value)
    if planned.kind == "closed":
        value = 1.0
    elif planned.kind == "price":
        value = max(-_STEEPEST, min(_STEEPEST, math.log(value))) if value else -_STEEPEST
    return _Entry(
        planned.kind, first.toordinal(), last.toordinal(), planned.level, planned.key, value
    )


def _code(country: str) -> str:
    return (code_of(country) or "") if country else ""
