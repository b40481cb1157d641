"""The shop's own books: what it sold, gave back and corrected, and so what every figure has to be.

They are kept by the shop as it acts, and know nothing of events, their order or their repetition.
Money is an integer of ten-thousandths of a currency's unit.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

MONEY = ("gross", "discounts", "refunds", "net", "adjustments")
COUNTS = ("orders", "units", "refunded_units")
REVENUE_COLUMNS = (*MONEY, *COUNTS)
TOP_COLUMNS = ("gross", "discounts", "refunds", "net", *COUNTS)
ORDER_COLUMNS = ("status", "currency", "country", *MONEY)

DIMENSIONS = ("total", "country", "category", "product")
GRAINS = ("total", "hour", "day", "month")
RANKINGS = ("units", "gross", "net", "orders")
ALL_TIME = "all"

Key = tuple[str, ...]
Values = tuple[str | int, ...]
View = dict[Key, Values]
"""One answer's rows: (period, key, currency), (product, currency) or (order id,) → its columns."""


class Posting(NamedTuple):
    """One product's share of something that was booked at one moment."""

    at: datetime
    product: str
    category: str
    gross: int = 0
    discounts: int = 0
    refunds: int = 0
    adjustments: int = 0
    units: int = 0
    refunded_units: int = 0


@dataclass
class Item:
    """A line of an order: what was paid for it, and what of that has not been given back."""

    product: str
    category: str
    units: int
    gross: int
    discount: int
    left: int = field(init=False)
    units_left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left, self.units_left = self.gross - self.discount, self.units


@dataclass
class Account:
    """One order's page."""

    currency: str
    country: str
    status: str = "placed"
    sold_at: datetime | None = None
    items: list[Item] = field(default_factory=list)
    later: list[Posting] = field(default_factory=list)

    def postings(self) -> Iterator[Posting]:
        """Everything booked: the sale, as last changed, and what came after it."""
        for item in self.items if self.sold_at else ():
            yield Posting(
                self.sold_at,  # type: ignore[arg-type]  # mypy forgets what the line above asked
                item.product,
                item.category,
                gross=item.gross,
                discounts=item.discount,
                units=item.units,
            )
        yield from self.later

    @property
    def left(self) -> int:
        return sum(item.left for item in self.items)


class Books:
    """What the shop did, order by order."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self.accounts: dict[str, Account] = {}

    # What the shop does.

    def placed(self, order: Mapping[str, Any]) -> None:
        """An order is there and not paid yet: no sale."""
        self.accounts[order["order_id"]] = Account(order["currency"], order["country"])

    def sold(self, at: datetime, order: Mapping[str, Any]) -> None:
        """A sale, with its discount shared out over its lines by their worth."""
        if order["order_id"] not in self.accounts:
            self.placed(order)
        account = self.accounts[order["order_id"]]
        account.sold_at, account.status = at, "completed"
        account.items = _items(order)

    def changed(self, order: Mapping[str, Any]) -> None:
        """Before anything of it was given back, an order's lines become others."""
        self.accounts[order["order_id"]].items = _items(order)

    def stage(self, order_id: str, status: str) -> None:
        """An order is shipped or delivered."""
        self.accounts[order_id].status = status

    def took_back(self, at: datetime, order_id: str, product: str, units: int, price: str) -> None:
        """So many of a product come back, at the price that was paid for them."""
        account = self.accounts[order_id]
        item = next(item for item in account.items if item.product == product)
        worth = units_of(price) * units
        item.left, item.units_left = item.left - worth, item.units_left - units
        self._give(account, at, item, worth, units)
        self._note_refunded(account)

    def refunded(self, at: datetime, order_id: str, amount: str) -> None:
        """An amount is given back and the goods are kept; each line bears its share of it."""
        account = self.accounts[order_id]
        shares = split(units_of(amount), [item.left for item in account.items])
        for item, share in zip(account.items, shares, strict=True):
            item.left -= share
            self._give(account, at, item, share, 0)
        self._note_refunded(account)

    def refunded_rest(self, at: datetime, order_id: str) -> None:
        """All that is left is given back, and all the goods come back."""
        account = self.accounts[order_id]
        for item in account.items:
            self._give(account, at, item, item.left, item.units_left)
            item.left = item.units_left = 0
        self._note_refunded(account)

    def cancelled(self, at: datetime, order_id: str) -> None:
        """An order is called off: what was sold and not given back yet is given back."""
        self.refunded_rest(at, order_id)
        self.accounts[order_id].status = "cancelled"

    def corrected(self, at: datetime, order_id: str, amount: str) -> None:
        """The books are corrected, such as by a bad debt: that concerns no product."""
        self.accounts[order_id].later.append(Posting(at, "", "", adjustments=units_of(amount)))

    def _give(self, account: Account, at: datetime, item: Item, amount: int, units: int) -> None:
        if amount or units:
            given = Posting(at, item.product, item.category, refunds=amount, refunded_units=units)
            account.later.append(given)

    def _note_refunded(self, account: Account) -> None:
        if account.sold_at and not account.left and any(one.refunds for one in account.later):
            account.status = "refunded"

    # What the figures have to be.

    def views(self) -> dict[str, View]:
        """Every figure: revenue by dimension and grain, best sellers and their rankings by month
        and for all time, and each order."""
        found: dict[str, View] = {}
        for dimension in DIMENSIONS:
            for grain in GRAINS:
                found[f"revenue/{dimension}/{grain}"] = self._revenue(dimension, grain)
        monthly = self._by_product("month")
        for month in sorted({period for period, *_ in monthly}):
            _add_top(
                found, month, {key[1:]: row for key, row in monthly.items() if key[0] == month}
            )
        _add_top(found, ALL_TIME, {key[1:]: r for key, r in self._by_product("total").items()})
        found["orders"] = {
            (order_id,): self._order(account) for order_id, account in self.accounts.items()
        }
        return found

    def _revenue(self, dimension: str, grain: str) -> View:
        sums = self._sums(dimension, grain)
        return {
            key: _columns(row, REVENUE_COLUMNS) for key, row in sums.items() if any(row.values())
        }

    def _by_product(self, grain: str) -> dict[Key, dict[str, int]]:
        sums = self._sums("product", grain)
        return {
            key: row for key, row in sums.items() if key[1] and any(row.values())
        }  # corrections concern no product

    def _sums(self, dimension: str, grain: str) -> dict[Key, dict[str, int]]:
        sums: dict[Key, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for account in self.accounts.values():
            counted = set()
            for one in account.postings():
                keys = ("", account.country, one.category, one.product)
                key = (
                    period(one.at.astimezone(self._zone), grain),
                    keys[DIMENSIONS.index(dimension)],
                    account.currency,
                )
                row = sums[key]
                for measure, amount in zip(Posting._fields[3:], one[3:], strict=True):
                    row[measure] += amount
                if one.units:
                    counted.add(key)
            for key in counted:
                sums[key]["orders"] += 1
        return sums

    def _order(self, account: Account) -> Values:
        row: dict[str, int] = defaultdict(int)
        for one in account.postings():
            for measure in ("gross", "discounts", "refunds", "adjustments"):
                row[measure] += getattr(one, measure)
        return (account.status, account.currency, account.country, *_columns(row, MONEY))


def _items(order: Mapping[str, Any]) -> list[Item]:
    gross = [units_of(line["price"]) * line["quantity"] for line in order["products"]]
    shares = split(units_of(order.get("discount", "0")), gross)
    return [
        Item(line["product_id"], line["category"], line["quantity"], amount, share)
        for line, amount, share in zip(order["products"], gross, shares, strict=True)
    ]


def _add_top(views: dict[str, View], span: str, rows: Mapping[Key, dict[str, int]]) -> None:
    """What sold best in a span, and the ranking by each measure: place → the measure's value."""
    views[f"top-products/{span}"] = {key: _columns(row, TOP_COLUMNS) for key, row in rows.items()}
    for measure in RANKINGS:
        ranked = sorted((_measure(row, measure) for row in rows.values()), reverse=True)
        views[f"ranking/{measure}/{span}"] = {
            (str(place),): (_told(measure, value),) for place, value in enumerate(ranked, 1)
        }


def _columns(row: Mapping[str, int], columns: Iterable[str]) -> Values:
    return tuple(_told(name, _measure(row, name)) for name in columns)


def _measure(row: Mapping[str, int], name: str) -> int:
    if name == "net":
        return row.get("gross", 0) - row.get("discounts", 0) - row.get("refunds", 0)
    return row.get(name, 0)


def _told(name: str, value: int) -> str | int:
    return amount_text(Decimal(value) / 10_000) if name in MONEY else value


def units_of(amount: str) -> int:
    """`"2.55"` as 25500."""
    return int(Decimal(amount) * 10_000)


def amount_text(amount: Decimal) -> str:
    """An amount in one spelling: at least two decimal places, and none beyond them that is 0."""
    cents = amount.quantize(Decimal("0.01"))
    return str(cents if cents == amount else amount.normalize())


def split(amount: int, weights: Sequence[int]) -> list[int]:
    """An amount by weight, in whole ten-thousandths: rounded down, and what that leaves over goes
    one by one to those whom it cost most, the first of them first."""
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    due = [Fraction(amount * weight, whole) for weight in weights]
    shares = [int(share) for share in due]
    in_turn = sorted(range(len(due)), key=lambda place: shares[place] - due[place])
    for place in in_turn[: amount - sum(shares)]:
        shares[place] += 1
    return shares


def period(local: datetime, grain: str) -> str:
    """The hour, day or month of the shop's clock that a moment falls into."""
    if grain == "hour":
        return local.replace(minute=0, second=0, microsecond=0).isoformat()
    return {"total": "", "day": f"{local:%Y-%m-%d}", "month": f"{local:%Y-%m}"}[grain]
