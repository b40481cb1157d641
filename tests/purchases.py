"""Orders of a few customers around a change of the clock, and what is to be said of each.

What is asked of them elsewhere is answered here from the list of sales, one by one, with no idea of
days kept, of batches or of SQL.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

from streams.events import Event
from tests.sales import AT, line, said

FIRST, LAST = date(2025, 10, 1), date(2026, 3, 1)
_CHANGE = datetime(2025, 10, 26, tzinfo=UTC)  # Berlin's summer ends


@dataclass(frozen=True)
class Sale:
    """A completed order; `back` is what was given back of it, when, and of how many units."""

    order: str
    customer: str
    at: datetime
    country: str
    currency: str
    lines: tuple[tuple[str, Decimal, int], ...]
    discount: Decimal
    tax: Decimal
    back: tuple[datetime, Decimal, int, Decimal] | None

    @property
    def gross(self) -> Decimal:
        return sum((price * count for _, price, count in self.lines), Decimal(0))

    @property
    def units(self) -> int:
        return sum(count for *_, count in self.lines)


@dataclass
class Sums:
    """What some entries come to."""

    orders: int = 0
    units: int = 0
    refunded_units: int = 0
    gross: Decimal = Decimal(0)
    discounts: Decimal = Decimal(0)
    refunds: Decimal = Decimal(0)
    tax: Decimal = Decimal(0)
    days: list[date] = field(default_factory=list)

    @property
    def net(self) -> Decimal:
        return self.gross - self.discounts - self.refunds


def purchases(count: int, people: int, seed: int) -> tuple[list[Sale], list[Event]]:
    """Sales, and the events that tell of them: in any order, some of them twice."""
    random = Random(seed)
    sales, events = [], list[Event]()
    for number in range(count):
        sale = _sale(f"o{number}", people, random)
        sales.append(sale)
        events += _told(sale, random)
    events += random.sample(events, len(events) // 8)
    random.shuffle(events)
    return sales, events


def _sale(order: str, people: int, random: Random) -> Sale:
    minutes = (LAST - FIRST).days * 24 * 60
    at = datetime(*FIRST.timetuple()[:3], tzinfo=UTC)
    # Many customers come early, and few of them stay.
    at += timedelta(minutes=int(minutes * random.random() ** 1.5))
    if random.random() < 0.2:
        at = _CHANGE + timedelta(minutes=random.randrange(-1500, 1500))
    person = f"c{int(people * random.random() ** 2)}" if random.random() < 0.9 else ""
    lines = tuple(
        (product, Decimal(random.choice(["0.001", "2.55", "19.9"])), random.randint(1, 3))
        for product in random.sample(["p1", "p2", "p3", "p4"], random.randint(1, 3))
    )
    gross = sum((price * count for _, price, count in lines), Decimal(0))
    discount, tax = min(gross, Decimal(random.choice(["0", "0.5"]))), Decimal("0.19")
    back = None
    later = min(at + timedelta(hours=random.randrange(1, 900)), AT)
    match random.randrange(6):
        case 0:  # it is cancelled
            back = (later, gross - discount, sum(count for *_, count in lines), tax)
        case 1:
            back = (later, round((gross - discount) / 2, 4), 0, Decimal(0))
    place = random.choice(["DE", "DE", "FR", "AT"]), random.choice(["EUR", "EUR", "EUR", "GBP"])
    return Sale(order, person, at, *place, lines, discount, tax, back)


def _told(sale: Sale, random: Random) -> list[Event]:
    person = sale.customer or None
    late = random.random() < 0.2  # whose it is turns out once it is paid
    events = [
        said(
            "OrderCompleted",
            sale.order,
            event_id=f"{sale.order}-sale",
            minutes=_minutes(sale.at),
            person=None if late else person,
            country=sale.country,
            currency=sale.currency,
            discount=str(sale.discount),
            tax=str(sale.tax),
            products=[line(product, str(price), count) for product, price, count in sale.lines],
        )
    ]
    if late:
        at = _minutes(sale.at) + 1
        paid = said(
            "OrderPaid", sale.order, event_id=f"{sale.order}-paid", minutes=at, person=person
        )
        events.append(paid)
    if sale.back:
        when, amount, units, _ = sale.back
        kind, told = (
            ("OrderCancelled", {}) if units else ("OrderRefunded", {"revenue": str(amount)})
        )
        back = f"{sale.order}-back"
        events.append(said(kind, sale.order, event_id=back, minutes=_minutes(when), **told))
    return events


def _minutes(at: datetime) -> float:
    return (at - AT).total_seconds() / 60


class Shop:
    """The sales by the clock of one zone, and questions of them that are counted one by one."""

    def __init__(self, sales: Sequence[Sale], zone: str) -> None:
        self.sales = sales
        self.zone = ZoneInfo(zone)
        self.days: dict[str, list[date]] = {}
        for sale in sales:
            if sale.customer:
                self.days.setdefault(sale.customer, []).append(self.day(sale.at))

    def day(self, at: datetime) -> date:
        return at.astimezone(self.zone).date()

    def first(self, customer: str) -> tuple[date, str, str]:
        """A customer's first day, its country and its currency."""
        day = min(self.days[customer])
        places = Counter(
            (sale.country, sale.currency)
            for sale in self.sales
            if sale.customer == customer and self.day(sale.at) == day
        )
        most = max(places.values())
        return day, *min(place for place, count in places.items() if count == most)

    def first_product(self, customer: str) -> str:
        """What a customer took most of in the first hour, in the first of its currencies."""

        def hour(sale: Sale) -> datetime:
            # These zones' hours begin with those of UTC, or half an hour later.
            half = timedelta(minutes=sale.at.astimezone(self.zone).minute)
            return (sale.at - half).replace(second=0, microsecond=0)

        own = [sale for sale in self.sales if sale.customer == customer]
        begun = min(hour(sale) for sale in own)
        own = [sale for sale in own if hour(sale) == begun]
        currency = min(sale.currency for sale in own)
        gross = Counter[str]()
        for sale in own:
            if sale.currency == currency:
                for product, price, count in sale.lines:
                    gross[product] += int(price * count * 10_000)
        return min(gross, key=lambda product: (-gross[product], product))

    def within(self, customer: str, after: int) -> set[date]:
        """The days on which somebody ordered, and so many after each of them."""
        return {day + timedelta(days=n) for day in self.days[customer] for n in range(after + 1)}

    def sums(
        self, first: date, last: date, key: Sequence[str] = ("customer", "currency")
    ) -> dict[tuple[str, ...], Sums]:
        """What each has brought in a range, with what was given back in it."""
        found: dict[tuple[str, ...], Sums] = {}
        for sale in self.sales:
            one = tuple(str(getattr(sale, name)) for name in key)
            if first <= self.day(sale.at) <= last:
                row = found.setdefault(one, Sums())
                row.orders += 1
                row.units += sale.units
                row.gross += sale.gross
                row.discounts += sale.discount
                row.tax += sale.tax
                row.days.append(self.day(sale.at))
            if sale.back and first <= self.day(sale.back[0]) <= last:
                row = found.setdefault(one, Sums())
                _, amount, units, tax = sale.back
                row.refunds += amount
                row.refunded_units += units
                row.tax -= tax
        return found
