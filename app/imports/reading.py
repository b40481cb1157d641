"""A row of a table as what it says was sold, by a mapping; or what is wrong with it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from app.imports.cells import (
    UNIT,
    Cell,
    Unread,
    is_percent,
    moment_of,
    short_id,
    text_of,
    time_of_day,
    units_of,
)
from app.imports.currencies import written_in
from app.imports.dialect import Record
from app.imports.mapping import Mapping as Map
from app.imports.words import TOTALS, words
from streams import money
from streams.codec import AHEAD, EARLIEST_YEAR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)
_MOST_QUANTITY = 10_000_000
_LONGEST_VALUE = 64
_REMEMBERED = 1 << 16


class Kind(IntEnum):
    """What a row is to its order."""

    SALE = 0
    PENDING = 1
    CANCELLED = 2
    RETURNED = 3
    REFUND = 4
    ADJUSTMENT = 5


_MEANT = {
    "sale": Kind.SALE,
    "pending": Kind.PENDING,
    "cancelled": Kind.CANCELLED,
    "returned": Kind.RETURNED,
}


class Sold(Struct, frozen=True, array_like=True, gc=False):
    """One row. Times in microseconds since 1970, money in ten-thousandths. `extra` of the units
    cost a ten-thousandth more: so a total stays exact that its quantity does not divide.

    `order` is empty where no column names it, and `content` stands for all that the row says."""

    line: int
    kind: int
    order: str
    content: str
    at: int
    product: str
    name: str
    category: str
    brand: str
    variant: str
    quantity: int
    price: int
    extra: int
    discount: int
    tax: int
    shipping: int
    currency: str
    country: str
    channel: str
    customer: str
    shipped: int
    delivered: int


class Fault(NamedTuple):
    """What is wrong with a row, and where. `value` is never that of a personal column."""

    line: int
    column: str
    value: str
    reason: str


class Bad(Exception):
    """A row that cannot be taken; its faults."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(faults[0].reason)
        self.faults = faults


class Aside(Exception):
    """A row that is no sale, and not wrong either: why."""


class Reader:
    """Rows of one header, by one mapping. `key` is the shop's own, for pseudonyms and contents."""

    def __init__(self, mapping: Map, now: datetime, key: bytes) -> None:
        self._mapping = mapping
        self._columns = [one.name for one in mapping.columns]
        self._at = {one.target: place for place, one in enumerate(mapping.columns) if one.target}
        self._format = {one.target: one.format for one in mapping.columns if one.target}
        self._mark = mapping.decimal
        self._zone = ZoneInfo(mapping.timezone)
        self._latest = (now + AHEAD - _EPOCH) // _MICRO
        self._earliest = (datetime(EARLIEST_YEAR, 1, 2, tzinfo=UTC) - _EPOCH) // _MICRO
        self._key = key
        row = self._at.get("row")
        self._said = [place for place in range(len(self._columns)) if place != row]
        self._moment = lru_cache(_REMEMBERED)(self._moment_anew)
        self._pseudonym = lru_cache(_REMEMBERED)(self._pseudonym_anew)
        self._places = {target: self._at.get(target, -1) for target in _READ}
        # A table says the same again and again: each cell is understood once.
        self._number = lru_cache(_REMEMBERED, typed=True)(lambda cell: units_of(cell, self._mark))
        self._named = lru_cache(_REMEMBERED, typed=True)(short_id)
        self._signed = [self._at[target] for target in _SIGNED if target in self._at]
        self._texts = [(self._places[target], most) for target, most in _TEXTS]

    def read(self, record: Record) -> Sold:
        """Raises Bad, Aside."""
        if record.wrong:
            raise Bad([Fault(record.line, "", "", record.wrong)])
        cells, width = record.fields, len(self._columns)
        if len(cells) != width:
            if len(cells) > width and any(text_of(cell) for cell in cells[width:]):
                reason = f"{len(cells)} fields, where the header names {width}"
                raise Bad([Fault(record.line, "", "", reason)])
            cells = [*cells, *[None] * (width - len(cells))][:width]
        try:
            return self._sold(record.line, cells)
        except Unread:
            self._look_aside(cells)
            raise Bad(self._faults(record.line, cells)) from None

    def _look_aside(self, cells: Sequence[Cell]) -> None:
        """What stands in a table, and is none of its rows. Raises Aside."""
        told = [text_of(cell) for cell in cells]
        if not any(told):
            raise Aside("an empty row")
        if sum(a == b for a, b in zip(told, self._columns, strict=True)) > len(told) / 2:
            raise Aside("the header again")
        times = self._at.get("time", -1)
        first = next((one for place, one in enumerate(told) if one and place != times), "")
        on_time = told[times] if times >= 0 else ""
        if {*words(first)[:2], *words(on_time)[:2]} & TOTALS:
            raise Aside("a line of totals")

    def _faults(self, line: int, cells: Sequence[Cell]) -> list[Fault]:
        """Everything that is wrong with a row, column by column."""
        found: list[Fault] = []
        for target, check in self._checks().items():
            place = self._at.get(target, -1)
            if place < 0:
                continue
            try:
                check(cells[place])
            except Unread as error:
                value = "" if target == "customer" else text_of(cells[place])
                shown = value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}…"
                found.append(Fault(line, self._columns[place], shown, str(error)))
        if not found:  # each is well by itself
            try:
                self._sold(line, cells)
            except Unread as error:
                found.append(Fault(line, "", "", str(error)))
        return found

    def _checks(self) -> Mapping[str, Callable[[Cell], object]]:
        amounts = dict.fromkeys(("quantity", "unit_price", "total"), self._amount)
        optional = ("discount", "tax", "shipping")
        return {
            "time": lambda cell: self._time(cell, "time"),
            "product" if "product" in self._at else "name": self._product,
            "order": self._named,
            "customer": self._named,
            **amounts,
            **dict.fromkeys(optional, lambda cell: text_of(cell) and self._amount(cell)),
            "currency": self._currency,
            "status": self._meaning,
        }

    # One column at a time.

    def _moment_anew(self, cell: Cell, form: str) -> int:
        found = moment_of(cell, form)
        if found.tzinfo is None:
            found = found.replace(tzinfo=self._zone)
        return (found - _EPOCH) // _MICRO

    def _time(self, cell: Cell, target: str) -> int:
        if cell is None or cell == "":
            raise Unread("empty")
        try:
            at = self._moment(cell, self._format[target])
        except OverflowError:
            raise Unread("no such day or time") from None
        if at > self._latest:
            raise Unread("in the future")
        if at < self._earliest:
            raise Unread(f"before {EARLIEST_YEAR}")
        return at

    def _when(self, cells: Sequence[Cell]) -> int:
        cell, clock = cells[self._places["time"]], self._places["clock"]
        if clock < 0 or not text_of(cells[clock]):
            return self._time(cell, "time")
        day = moment_of(cell, self._format["time"])
        at = datetime.combine(day.date(), time_of_day(cells[clock]), day.tzinfo)
        return self._time(at, "time")

    def _amount(self, cell: Cell) -> int:
        if cell is None or cell == "":
            raise Unread("empty")
        return self._number(cell)

    def _some(self, cells: Sequence[Cell], target: str, default: int) -> int:
        place = self._places[target]
        if place < 0 or cells[place] is None or cells[place] == "":
            return default
        return self._number(cells[place])

    def _share(self, cells: Sequence[Cell], target: str, amount: int) -> int:
        """A discount or a tax: an amount, or a part of one."""
        place = self._places[target]
        cell = cells[place] if place >= 0 else None
        if cell is None or cell == "":
            return 0
        form = self._format[target]
        percent = is_percent(cell)
        told = abs(units_of(str(cell).rstrip(" %") if percent else cell, self._mark))
        if percent or form == "percent":
            return _divided(amount * told, 100 * UNIT)
        return _divided(amount * told, UNIT) if form == "fraction" else told

    def _product(self, cell: Cell) -> str:
        if not (text := self._named(cell)):
            raise Unread("empty")
        return text

    def _currency(self, cell: Cell) -> str:
        text = text_of(cell).upper() or self._mapping.currency
        if not (len(text) == 3 and text.isascii() and text.isalpha()):
            raise Unread("no currency such as EUR")
        return text

    def _in_currency(self, cells: Sequence[Cell]) -> str:
        """A row's currency: what its column says, else the signs of its amounts. None is taken for
        another."""
        amounts = [cells[place] for place in self._signed]
        place = self._places["currency"]
        told = self._currency(cells[place]) if place >= 0 else self._mapping.currency
        try:
            found = written_in(amounts, told)
        except ValueError as error:
            raise Unread(str(error)) from None
        if found != told and place >= 0 and text_of(cells[place]):
            raise Unread(f"its amounts are written in {found}, its currency is {told}")
        return found

    def _meaning(self, cell: Cell) -> Kind:
        word = text_of(cell)
        meaning = self._mapping.statuses.get(word, "sale" if not word else "")
        if meaning == "none":
            raise Aside(f"no sale: {word[:_LONGEST_VALUE]}")
        if meaning not in _MEANT:
            raise Unread("an unknown state: say what it means (`statuses`)")
        return _MEANT[meaning]

    def _pseudonym_anew(self, customer: str) -> str:
        return f"c-{hashlib.blake2b(customer.encode(), key=self._key, digest_size=12).hexdigest()}"

    def _content(self, cells: Sequence[Cell]) -> str:
        told = "\0".join([text_of(cells[place]) for place in self._said])
        return hashlib.blake2b(told.encode(), key=self._key, digest_size=12).hexdigest()

    # All of them.

    def _sold(self, line: int, cells: Sequence[Cell]) -> Sold:
        places = self._places
        at = self._when(cells)
        named = places["product"] if places["product"] >= 0 else places["name"]
        product = self._product(cells[named])
        order = self._named(cells[places["order"]]) if places["order"] >= 0 else ""
        kind = self._meaning(cells[places["status"]]) if places["status"] >= 0 else Kind.SALE
        units = places["quantity"]
        quantity = self._amount(cells[units]) if units >= 0 else UNIT
        if quantity == 0:
            raise Aside("a quantity of zero")
        if abs(quantity) > _MOST_QUANTITY * UNIT:
            raise Unread("too large a quantity")
        kind, amount, count = self._worth(cells, kind, quantity)
        discount = 0
        if places["discount"] >= 0 and kind is not Kind.ADJUSTMENT:
            discount = self._share(cells, "discount", amount)
        if discount > amount >= 0:
            raise Unread("a discount larger than the price")
        price, extra = divmod(amount, count) if amount > 0 else (amount, 0)
        customer = self._named(cells[places["customer"]]) if places["customer"] >= 0 else ""
        currency = self._in_currency(cells)
        name, category, brand, variant, country, channel = [
            "" if place < 0 or (cell := cells[place]) is None else text_of(cell)[:most]
            for place, most in self._texts
        ]
        return Sold(
            line,
            kind,
            order,
            "" if order else self._content(cells),
            at,
            product,
            name if places["product"] >= 0 else product,
            category,
            brand,
            variant,
            count,
            price,
            extra,
            discount,
            self._share(cells, "tax", amount - discount) if places["tax"] >= 0 else 0,
            max(0, self._some(cells, "shipping", 0)) if places["shipping"] >= 0 else 0,
            currency,
            country,
            channel,
            self._pseudonym(customer) if customer else "",
            self._later(cells, "shipped") if places["shipped"] >= 0 else 0,
            self._later(cells, "delivered") if places["delivered"] >= 0 else 0,
        )

    def _worth(self, cells: Sequence[Cell], kind: Kind, quantity: int) -> tuple[Kind, int, int]:
        """What a row is, its amount and its units. Fractions of a unit are one, at that amount."""
        count = abs(quantity) // UNIT
        if self._places["unit_price"] >= 0:
            price = self._amount(cells[self._places["unit_price"]])
            amount = abs(quantity) * price
            whole = amount % UNIT == 0
            amount = amount // UNIT if whole else _divided(amount, UNIT)
            adjusts = price < 0 < quantity
        else:
            amount = self._amount(cells[self._places["total"]])
            adjusts = False
            if amount < 0:
                amount, quantity = -amount, -abs(quantity)
        if amount == 0:
            raise Aside("no price: neither sold nor given back")
        if abs(amount) > money.LARGEST:
            raise Unread("too large an amount")
        if quantity % UNIT:
            count = 1
        if adjusts:
            return Kind.ADJUSTMENT, amount, count
        if amount < 0:  # both are below zero
            amount = -amount
        if quantity < 0:
            return Kind.REFUND, amount, count
        return kind, amount, count

    def _later(self, cells: Sequence[Cell], target: str) -> int:
        """A time that need not be there; what is no time is not told."""
        place = self._places[target]
        if place < 0 or not text_of(cells[place]):
            return 0
        try:
            return self._time(cells[place], target)
        except Unread:
            return 0


_READ = (
    *("order", "time", "clock", "product", "name", "category", "brand", "variant", "quantity"),
    *("unit_price", "total", "discount", "tax", "shipping", "currency", "country", "channel"),
    *("customer", "status", "shipped", "delivered"),
)


_SIGNED = ("unit_price", "total", "discount", "tax", "shipping")

_TEXTS = (
    *(("name", 512), ("category", 128), ("brand", 512), ("variant", 512)),
    *(("country", 64), ("channel", 512)),
)


def _divided(amount: int, by: int) -> int:
    """To the nearest whole, halves up."""
    return (2 * amount + by) // (2 * by)
