"""The figures as a bookkeeper would count them: all events of an order at once, in decimals.

It knows no states, batches or differences, and shares no code with the projections.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_FLOOR, Decimal
from itertools import chain
from typing import Any, NamedTuple

Told = Mapping[str, Any]
Measures = dict[str, Decimal]

MONEY = ("gross", "discounts", "refunds", "adjustments")
COUNTS = ("orders", "units", "refunded_units")
MEASURES = (*MONEY, *COUNTS)
DIMENSIONS = ("total", "country", "category", "product")

_ZERO = Decimal(0)
_SMALLEST = Decimal("0.0001")

Row = tuple[str, str, datetime, str, str]  # shop, dimension, hour in UTC, key, currency
Seller = tuple[str, date, str, str]  # shop, day, product, currency
Buyer = tuple[str, str, date, str, str]  # shop, customer or "", day, country, currency
Minute = tuple[str, datetime, str, str]  # shop, minute in UTC, country, currency
Period = tuple[str, str, str, date, str, str]  # shop, grain, dimension, first day, key, currency
# Shop, hour in UTC, currency, country, customer, order, category, product.
SoldLine = tuple[str, datetime, str, str, str, str, str, str]


class Line(NamedTuple):
    """One product's share of an entry."""

    product: str
    category: str
    gross: Decimal = _ZERO
    discounts: Decimal = _ZERO
    refunds: Decimal = _ZERO
    adjustments: Decimal = _ZERO
    units: int = 0
    refunded_units: int = 0


class Entry(NamedTuple):
    """What an order does to the books at one moment."""

    at: datetime
    currency: str
    country: str
    is_sale: bool
    lines: Sequence[Line]
    order: tuple[str, str] = ("", "")  # its id, and who its customer is


class OrderPage(NamedTuple):
    """One order: its status, whom it was told by, and its sums."""

    status: str
    currency: str
    country: str
    sums: Mapping[str, Decimal]
    events: Mapping[str, str]
    """The ids of the events that it consists of, by what they are to it."""
    times: Mapping[str, datetime]
    """When it was ordered, completed, paid and shipped, as far as it was."""


@dataclass
class Books:
    """Every figure that is not zero."""

    revenue: dict[Row, Measures] = field(default_factory=dict)
    best_sellers: dict[Seller, Measures] = field(default_factory=dict)
    periods: dict[Period, Measures] = field(default_factory=dict)
    minutes: dict[Minute, Measures] = field(default_factory=dict)
    lines: dict[SoldLine, Measures] = field(default_factory=dict)
    customers: dict[Buyer, Measures] = field(default_factory=dict)
    orders: dict[tuple[str, str], OrderPage] = field(default_factory=dict)
    names: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """Of each shop's products, all that were told: it is not said which of them is shown."""


def recount(events: Iterable[Told]) -> Books:
    """The books of events that count, in whatever order."""
    told: dict[tuple[str, str], list[Told]] = defaultdict(list)
    for event in events:
        if event["type"] in _OF_ORDERS:
            told[event["shop"], event["subject"]].append(event)
    revenue: dict[Row, Measures] = defaultdict(lambda: dict.fromkeys(MEASURES, _ZERO))
    sellers: dict[Seller, Measures] = defaultdict(lambda: dict.fromkeys(MEASURES, _ZERO))
    periods: dict[Period, Measures] = defaultdict(lambda: dict.fromkeys(MEASURES, _ZERO))
    minutes: dict[Minute, Measures] = defaultdict(lambda: dict.fromkeys(MEASURES, _ZERO))
    sold: dict[SoldLine, Measures] = defaultdict(lambda: dict.fromkeys(MEASURES, _ZERO))
    customers: dict[Buyer, Measures] = defaultdict(lambda: dict.fromkeys(MEASURES, _ZERO))
    pages: dict[tuple[str, str], OrderPage] = {}
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (shop, order_id), of_order in told.items():
        story = _Story(of_order)
        if not story.says_something:
            continue
        entries = story.entries()
        pages[shop, order_id] = story.page(entries)
        for entry in entries:
            _book(shop, entry, revenue, sellers)
            _book_periods(shop, entry, periods)
            _book_minute(shop, entry, minutes)
            _book_lines(shop, entry, sold)
            _book_customer(shop, entry, customers)
        for line in chain.from_iterable(_products(one) for one in of_order):
            names[shop, line["product_id"]].add(line.get("name") or "")
    return Books(
        *(_not_zero(revenue), _not_zero(sellers), _not_zero(periods), _not_zero(minutes)),
        *(_not_zero(sold), _not_zero(customers), pages, dict(names)),
    )


_OF_ORDERS = frozenset(
    {"OrderPlaced", "OrderCompleted", "OrderUpdated", "OrderPaid", "OrderShipped"}
    | {"OrderDelivered", "OrderCancelled", "OrderRefunded", "SalesAdjusted"}
)


def _book(
    shop: str, entry: Entry, revenue: dict[Row, Measures], sellers: dict[Seller, Measures]
) -> None:
    """The shop's clock is UTC."""
    hour = entry.at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    rows: set[Row] = set()
    products: set[Seller] = set()
    for line in entry.lines:
        keys = ("", entry.country, line.category, line.product)
        of_line = [
            (shop, dimension, hour, key, entry.currency)
            for dimension, key in zip(DIMENSIONS, keys, strict=True)
        ]
        for row in of_line:
            _add(revenue[row], line)
        rows.update(of_line)
        if line.product:
            seller = (shop, hour.date(), line.product, entry.currency)
            _add(sellers[seller], line)
            products.add(seller)
    if entry.is_sale:
        for row in rows:
            revenue[row]["orders"] += 1
        for seller in products:
            sellers[seller]["orders"] += 1


def _book_periods(shop: str, entry: Entry, periods: dict[Period, Measures]) -> None:
    """By day and by month. No channel is ever told here, and a product is its own only variant."""
    day = entry.at.astimezone(UTC).date()
    rows: set[Period] = set()
    for line in entry.lines:
        keys = {
            "total": "",
            "country": entry.country,
            "channel": "",
            "category": line.category,
            "product": line.product,
            "variant": line.product,
        }
        for grain, first in (("day", day), ("month", day.replace(day=1))):
            for dimension, key in keys.items():
                row = (shop, grain, dimension, first, key, entry.currency)
                _add(periods[row], line)
                rows.add(row)
    for row in rows if entry.is_sale else ():
        periods[row]["orders"] += 1


def _book_minute(shop: str, entry: Entry, minutes: dict[Minute, Measures]) -> None:
    """What came in and went out again: no corrections, no units."""
    minute = entry.at.astimezone(UTC).replace(second=0, microsecond=0)
    row = minutes[shop, minute, entry.country, entry.currency]
    for line in entry.lines:
        _add(row, line._replace(adjustments=_ZERO, units=0, refunded_units=0))
    row["orders"] += entry.is_sale


def _book_lines(shop: str, entry: Entry, sold: dict[SoldLine, Measures]) -> None:
    hour = entry.at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    order_id, customer = entry.order
    for line in entry.lines:
        where = (shop, hour, entry.currency, entry.country, customer, order_id)
        row = (*where, line.category, line.product)
        _add(sold[row], line)
        sold[row]["orders"] += int(entry.is_sale)


def _book_customer(shop: str, entry: Entry, customers: dict[Buyer, Measures]) -> None:
    """What corrects the books is no customer's."""
    day, customer = entry.at.astimezone(UTC).date(), entry.order[1]
    row = customers[shop, customer, day, entry.country, entry.currency]
    for line in entry.lines:
        _add(row, line._replace(adjustments=_ZERO))
    row["orders"] += entry.is_sale


def _add(measures: Measures, line: Line) -> None:
    for name in MEASURES:
        if name != "orders":
            measures[name] += getattr(line, name)


def _sums(lines: Iterable[Line]) -> Measures:
    found = list(lines)
    return {name: sum((getattr(one, name) for one in found), _ZERO) for name in MONEY}


def _not_zero(figures: Mapping[Any, Measures]) -> dict[Any, Measures]:
    found = {
        key: {name: value for name, value in measures.items() if value}
        for key, measures in figures.items()
    }
    return {key: measures for key, measures in found.items() if measures}


def _by_time(told: Told) -> tuple[datetime, str]:
    return told["time"], told["id"]


class _Story:
    """All that was told of one order."""

    def __init__(self, told: Sequence[Told]) -> None:
        self._told = sorted(told, key=_by_time)
        self.sale = self._first("OrderCompleted")
        self.placed = self._first("OrderPlaced")
        self.cancelled = self._first("OrderCancelled")
        self.paid = self._first("OrderPaid")
        updates: list[Told] = [
            t for t in self._told if t["type"] == "OrderUpdated" and _products(t)
        ]
        self.update = updates[-1] if updates else None
        self.refunds: dict[str, Told] = {}
        for one in self._told:
            if one["type"] == "OrderRefunded":
                self.refunds.setdefault(one["data"].get("refund_id") or one["id"], one)
        self.adjustments = {t["id"]: t for t in self._told if t["type"] == "SalesAdjusted"}

    def _first(self, kind: str) -> Told | None:
        return next((told for told in self._told if told["type"] == kind), None)

    @property
    def says_something(self) -> bool:
        """An update without lines says nothing."""
        return any(t["type"] != "OrderUpdated" or _products(t) for t in self._told)

    def _speakers(self) -> list[Told]:
        told = (self.sale, self.placed, self.update, self.cancelled, self.paid)
        return [*(one for one in told if one), *self._refunds_by_time()]

    def _answer(self, name: str) -> str:
        return next((v for told in self._speakers() if (v := told["data"].get(name))), "")

    def _customer(self) -> str:
        return next((who for told in self._speakers() if (who := told.get("person"))), "")

    def _refunds_by_time(self) -> list[Told]:
        return sorted(self.refunds.values(), key=_by_time)

    def entries(self) -> list[Entry]:
        currency, country = self._answer("currency") or "XXX", self._answer("country")

        def entry(told: Told, lines: Sequence[Line], *, is_sale: bool = False) -> Entry:
            own = told["data"]
            where = own.get("currency") or currency, own.get("country") or country
            return Entry(told["time"], *where, is_sale, lines, (told["subject"], self._customer()))

        sold = self._sold()
        found = [entry(self.sale, sold, is_sale=True)] if self.sale else []
        left = [[line.gross - line.discounts, Decimal(line.units)] for line in sold]
        back = self._refunds_by_time()
        if self.cancelled and self.sale:
            back.append(self.cancelled)
        given = [(one, _given_back(one, sold, left)) for one in back]
        found += [entry(one, lines) for one, lines in given if lines]
        for one in self.adjustments.values():
            amount = _amount(one["data"]["amount"])
            found.append(entry(one, [Line("", "", adjustments=amount)]))
        return found

    def _sold(self) -> list[Line]:
        if not self.sale:
            return []
        later = self.update and self.update["time"] >= self.sale["time"]
        data = self.update["data"] if self.update and later else self.sale["data"]
        gross = [_amount(one["price"]) * one.get("quantity", 1) for one in data["products"]]
        discount = min(_amount(data.get("discount") or 0), sum(gross, _ZERO))
        return [
            Line(
                one["product_id"],
                one.get("category") or "",
                gross=amount,
                discounts=share,
                units=one.get("quantity", 1),
            )
            for one, amount, share in zip(
                data["products"], gross, shared(discount, gross), strict=True
            )
        ]

    def page(self, entries: Sequence[Entry]) -> OrderPage:
        own = self._answer("currency") or "XXX"
        all_lines = [line for entry in entries for line in entry.lines]
        lines = [line for entry in entries if entry.currency == own for line in entry.lines]
        events = {
            name: told["id"]
            for name, told in (
                ("placed", self.placed),
                ("sale", self.sale),
                ("update", self.update),
                ("paid", self.paid),
                ("shipped", self._first("OrderShipped")),
                ("delivered", self._first("OrderDelivered")),
                ("cancelled", self.cancelled),
            )
            if told
        }
        events |= {f"refund {name}": told["id"] for name, told in self.refunds.items()}
        events |= {f"adjustment {name}": name for name in self.adjustments}
        return OrderPage(
            self._status(_sums(all_lines)),
            own,
            self._answer("country"),
            _sums(lines),
            events,
            self._times(),
        )

    def _times(self) -> dict[str, datetime]:
        found = {
            "ordered_at": self.placed or self.sale,
            "completed_at": self.sale,
            "paid_at": self.paid,
            "shipped_at": self._first("OrderShipped"),
        }
        return {name: told["time"] for name, told in found.items() if told}

    def _status(self, sums: Mapping[str, Decimal]) -> str:
        if self.cancelled:
            return "cancelled"
        if sums["refunds"] and sums["refunds"] >= sums["gross"] - sums["discounts"]:
            return "refunded"
        kinds = {told["type"] for told in self._told}
        for kind in ("Delivered", "Shipped", "Completed", "Paid", "Placed"):
            if f"Order{kind}" in kinds:
                return kind.lower()
        return "adjusted" if self.adjustments else "updated"


def _products(told: Told) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = told["data"].get("products") or ()
    return found


def _amount(value: Any) -> Decimal:
    return Decimal(value)


def shared(amount: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """An amount by weight, in whole ten-thousandths: what rounding down leaves goes to those who
    lost most by it, the first of them first."""
    total = sum(weights, _ZERO)
    if not total:
        return [_ZERO] * len(weights)
    floors, lost = [], []
    for weight in weights:
        whole, rest = divmod(amount * weight, total * _SMALLEST)
        floors.append(whole.to_integral_value(ROUND_FLOOR) * _SMALLEST)
        lost.append(rest)
    over = int((amount - sum(floors, _ZERO)) / _SMALLEST)
    for i in sorted(range(len(weights)), key=lambda i: -lost[i])[:over]:
        floors[i] += _SMALLEST
    return floors


def _given_back(told: Told, sold: Sequence[Line], left: list[list[Decimal]]) -> list[Line]:
    """What a refund or the cancellation gives back; it is taken off what is left of each line."""
    data, is_refund = told["data"], told["type"] == "OrderRefunded"
    if is_refund and data.get("products"):
        return [_line_back(one, sold, left) for one in data["products"]]
    amount = next((data[name] for name in ("revenue", "total") if data.get(name) is not None), None)
    if not is_refund or amount is None:
        back = [(money, int(units)) for money, units in left]
        left[:] = [[_ZERO, _ZERO] for _ in left]
    else:
        amounts = [money for money, _ in left]
        if not sum(amounts, _ZERO):
            whole = _amount(amount)
            return [Line("", "", refunds=whole)] if whole else []
        back = [(share, 0) for share in shared(_amount(amount), amounts)]
        for rest, (share, _) in zip(left, back, strict=True):
            rest[0] = max(_ZERO, rest[0] - share)
    return [
        Line(line.product, line.category, refunds=money, refunded_units=units)
        for line, (money, units) in zip(sold, back, strict=True)
        if money or units
    ]


def _line_back(one: Mapping[str, Any], sold: Sequence[Line], left: list[list[Decimal]]) -> Line:
    units = one.get("quantity", 1)
    money, category = _amount(one["price"]) * units, one.get("category") or ""
    open_money, open_units = money, Decimal(units)
    for line, rest in zip(sold, left, strict=True):
        if line.product == one["product_id"]:
            category = one.get("category") or line.category
            taken = min(open_money, rest[0]), min(open_units, rest[1])
            rest[:] = [rest[0] - taken[0], rest[1] - taken[1]]
            open_money, open_units = open_money - taken[0], open_units - taken[1]
    return Line(one["product_id"], category, refunds=money, refunded_units=units)


def by_period(
    revenue: Mapping[Row, Measures], shop: str, dimension: str, grain: str
) -> Iterator[tuple[tuple[str, str, str], Measures]]:
    """A shop's figures along one dimension: (period, key, currency) and what is not zero."""
    sums: dict[tuple[str, str, str], Measures] = defaultdict(lambda: dict.fromkeys(MEASURES, _ZERO))
    for (of_shop, of_dimension, hour, key, currency), measures in revenue.items():
        if (of_shop, of_dimension) == (shop, dimension):
            row = sums[_PERIODS[grain](hour), key, currency]
            for name, value in measures.items():
                row[name] += value
    yield from _not_zero(sums).items()


_PERIODS: Mapping[str, Callable[[datetime], str]] = {
    "total": lambda _: "",
    "hour": datetime.isoformat,
    "day": lambda hour: hour.date().isoformat(),
    "month": lambda hour: f"{hour:%Y-%m}",
}
