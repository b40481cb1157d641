"""Days of the shop's past, dated: seasons, rush hours, promotions, stock that runs out, bots.

A history is a pure function of its arguments. Everything in it runs on one clock, in order of
time; whatever changes what was sold is written into the shop's books at that moment.
"""

import math
from collections.abc import Generator, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from heapq import heappop, heappush
from itertools import takewhile
from random import Random
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from loadtests.simulator.books import Books
from loadtests.simulator.orders import after_sale
from loadtests.simulator.shop import CURRENCY, Product, Shopper, catalogue, population
from loadtests.simulator.visits import Happening, happened, visit

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0

_BY_WEEKDAY = (0.95, 0.9, 0.92, 1.0, 1.1, 1.25, 1.15)  # from Monday on
_BY_HOUR = (8, 5, 3, 2, 2, 3, 6, 12, 22, 32, 38, 42, 46, 40, 36, 38, 42, 48, 58, 70, 78, 66, 40, 18)
_YULE = 350  # the day of the year around which the shop is fullest

_BROWSING, _BOTS, _PREPAID = 0.7, 0.02, 0.12
_FRANCS = 0.6  # of the Swiss who pay in their own currency

_PROMOTION_CHANCE, _PROMOTION_OFF = 0.12, Decimal("0.20")
_FIRST_STOCK = (20, 60)
_LOW_STOCK, _REORDERED = 6, (40, 120)

Process = Generator[float, None, None]
"""Something that goes on in the shop; it yields the seconds until it goes on."""


class Plan(NamedTuple):
    """What a history is a function of. It ends with the shop's day `until`."""

    seed: int
    days: int
    until: date
    visits: int = 1_000
    """Visits on an average day."""

    @property
    def name(self) -> str:
        return f"{self.seed}-{self.until:%y%m%d}-{self.days}d-{self.visits}"


class History:
    """The shop's past as it happened; `events` in order of time, `books` as the shop kept them."""

    def __init__(self, plan: Plan, zone: ZoneInfo) -> None:
        self.plan = plan
        self.books = Books(zone)
        self.events: list[dict[str, Any]] = []
        self._name = plan.name
        self.rng = Random(f"tillstream {plan.name}")
        self._zone = zone
        self._first = plan.until - timedelta(days=plan.days - 1)
        self._begin = _midnight(self._first, zone)
        self._end = _midnight(plan.until + timedelta(days=1), zone)
        self._seconds = 0.0
        self._agenda: list[tuple[float, int, Process]] = []
        self._entered = 0
        self._products = catalogue(self.rng)
        self._shoppers = population(self.rng)
        self._stock: dict[str, int] = {}
        self._on_order: set[str] = set()
        self._promoted = ""
        self._visits = 0

    def run(self) -> "History":
        """Lets it all happen, up to the end of the last day; what would come later has not."""
        self._open()
        length = (self._end - self._begin).total_seconds()
        while self._agenda and self._agenda[0][0] < length:
            self._seconds, _, process = heappop(self._agenda)
            wait = next(process, None)
            if wait is not None:
                self.begin(process, wait)
        return self

    @property
    def now(self) -> datetime:
        """The moment, to the millisecond."""
        return self._begin + timedelta(milliseconds=int(self._seconds * 1000))

    def begin(self, process: Process, wait: float = 0.0) -> None:
        """Puts a process on the agenda."""
        self._entered += 1
        heappush(self._agenda, (self._seconds + wait, self._entered, process))

    def tell(self, happening: Happening) -> None:
        """An event of this moment."""
        number = len(self.events) + 1
        named = {"id": f"sim-{self._name}-{number}", "time": self.now.isoformat()}
        self.events.append({**named, **happening})

    # The shop.

    def _open(self) -> None:
        for product in self._products:
            offered = {**product._asdict(), "price": str(product.price), "currency": CURRENCY}
            self._tell_of(product, "ProductListed", offered)
            self._receive(product, self.rng.randint(*_FIRST_STOCK))
        for number in range(self.plan.days):
            day = self._first + timedelta(days=number)
            self.begin(self._day(day), (_midnight(day, self._zone) - self.now).total_seconds())

    def _day(self, day: date) -> Process:
        if not self._promoted and self.rng.random() < _PROMOTION_CHANCE:
            self.begin(self._promotion())
        for _ in range(self._expected_visits(day)):
            self.begin(self._visit(), (self._moment(day) - self.now).total_seconds())
        yield 6 * _HOUR
        for product in self._products:
            low = self._stock[product.product_id] <= _LOW_STOCK
            if low and product.product_id not in self._on_order:
                self._on_order.add(product.product_id)
                self.begin(self._delivery(product))

    def _expected_visits(self, day: date) -> int:
        season = 1 + 0.3 * math.cos(2 * math.pi * (day.timetuple().tm_yday - _YULE) / 365)
        usual = self.plan.visits * _BY_WEEKDAY[day.weekday()] * season
        busy = usual * (1.3 if self._promoted else 1.0)
        return max(0, round(self.rng.gauss(busy, math.sqrt(busy))))

    def _moment(self, day: date) -> datetime:
        """Some moment of a day, likelier where the shop is busy. It exists even where the clocks
        are put forward."""
        hour = self.rng.choices(range(24), _BY_HOUR)[0]
        within = timedelta(seconds=self.rng.uniform(0, _HOUR))
        return datetime.combine(day, time(hour), self._zone).astimezone(UTC) + within

    def _delivery(self, product: Product) -> Process:
        yield self.rng.uniform(0.5, 3) * _DAY
        self._receive(product, self.rng.randint(*_REORDERED))
        self._on_order.discard(product.product_id)

    def _receive(self, product: Product, quantity: int) -> None:
        self._stock[product.product_id] = self._stock.get(product.product_id, 0) + quantity
        received = {"product_id": product.product_id, "quantity": quantity}
        self._tell_of(product, "StockReceived", received)

    def _promotion(self) -> Process:
        """A category is cheaper for some days."""
        usual = [*self._products]
        self._promoted = self.rng.choice(sorted({one.category for one in usual}))
        self._price([one._replace(price=_reduced(one.price)) for one in self._on_promotion()])
        yield self.rng.randint(2, 4) * _DAY - _MINUTE
        self._price([one for one in usual if one.category == self._promoted])
        self._promoted = ""

    def _on_promotion(self) -> list[Product]:
        return [one for one in self._products if one.category == self._promoted]

    def _price(self, products: Sequence[Product]) -> None:
        priced = {one.product_id: one for one in products}
        self._products = [priced.get(one.product_id, one) for one in self._products]
        for one in products:
            changed = {"product_id": one.product_id, "price": str(one.price), "currency": CURRENCY}
            self._tell_of(one, "PriceChanged", changed)

    def _tell_of(self, product: Product, event_type: str, data: dict[str, Any]) -> None:
        self.tell({"type": event_type, "subject": product.product_id, "data": data})

    # Its visitors.

    def _visit(self) -> Process:
        rng = self.rng
        self._visits += 1
        name = f"{self._name}-{self._visits}"
        if rng.random() < _BOTS:
            yield from self._crawl(f"bot-{rng.randint(1, 5)}")
            return
        shopper = rng.choice(self._shoppers)
        currency = "CHF" if shopper.country == "CH" and rng.random() < _FRANCS else CURRENCY
        if self._promoted and rng.random() < 0.3:
            yield from self._sees_promotion(shopper)
        browses = rng.random() < _BROWSING
        steps: Iterator[Happening] = visit(
            rng, self._wanted(), shopper, name, currency, self._sold_out()
        )
        if browses:
            steps = takewhile(lambda step: step["type"] == "ProductViewed", steps)
        for step in steps:
            if step["type"] == "OrderCompleted":
                self.begin(self._order(step))
            else:
                self.tell(step)
            yield rng.uniform(4, 120)

    def _wanted(self) -> Sequence[Product]:
        """Products, the most wanted first: some come for the promotion."""
        if not self._promoted or self.rng.random() < 0.5:
            return [*self._products]
        return sorted(self._products, key=lambda product: product.category != self._promoted)

    def _sold_out(self) -> set[str]:
        return {product for product, left in self._stock.items() if left <= 0}

    def _crawl(self, bot: str) -> Process:
        """A bot looks at everything, at a bot's pace."""
        for product in self._products:
            seen = {"product_id": product.product_id, "price": str(product.price)}
            self.tell({"type": "ProductViewed", "subject": bot, "data": seen})
            yield 0.2

    def _sees_promotion(self, shopper: Shopper) -> Process:
        promotion = {"promotion_id": f"{self._promoted}-week", "name": f"20% off {self._promoted}"}
        self.tell(happened("PromotionViewed", shopper, shopper.person, promotion))
        yield self.rng.uniform(1, 20)
        if self.rng.random() < 0.4:
            self.tell(happened("PromotionClicked", shopper, shopper.person, promotion))
            yield self.rng.uniform(1, 5)

    def _order(self, completed: Happening) -> Process:
        """An order, paid at once or in advance: then it is a sale once the money is there."""
        order = completed["data"]
        for line in order["products"]:
            self._stock[line["product_id"]] -= line["quantity"]
        if self.rng.random() < _PREPAID:
            self.books.placed(order)
            self.tell(completed | {"type": "OrderPlaced"})
            yield self.rng.uniform(0.5, 3) * _DAY
            if self.rng.random() < 0.15:
                self.books.cancelled(self.now, order["order_id"])
                told = {"order_id": order["order_id"], "reason": "never paid"}
                self.tell(completed | {"type": "OrderCancelled", "data": told})
                return
        self.books.sold(self.now, order)
        self.tell(completed)
        yield from after_sale(self, completed)


def _reduced(price: Decimal) -> Decimal:
    return (price * (1 - _PROMOTION_OFF)).quantize(Decimal("0.01"), ROUND_HALF_UP)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
