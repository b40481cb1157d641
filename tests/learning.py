"""What learners hear: closed days and baskets, as events and as facts."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from uuid import NAMESPACE_URL, uuid5

from app.subscriptions import LEARNERS, learners_of
from ml_online.anomalies import ANOMALIES
from ml_online.customer_forecast import CUSTOMERS
from ml_online.models import Heard
from ml_online.sentiment import SENTIMENT
from streams import codec
from streams.codec import Fact
from streams.events import (
    VOCABULARY,
    DayClosed,
    DayCorrected,
    DayFigure,
    Event,
    Line,
    OrderCompleted,
    ProductReviewed,
    ReviewEdited,
    StockAdjusted,
    StockReceived,
)
from streams.money import Money, SignedMoney
from streams.topics import key_of, partition_of, partitions_of

MONDAY = date(2020, 3, 2)  # long ago: some tests close many days
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

Values = Mapping[str, int]
"""Net in whole units: the total under "", categories by name, products as `category/product`, their
variants as `category/product/variant`, countries as `@country`."""


def day_event(
    number: int,
    values: Values,
    *,
    corrected: bool = False,
    currency: str = "EUR",
    shop: str = "main",
    event_id: str | None = None,
    part: tuple[int, int] = (1, 1),
) -> Event:
    """The close, or a correction, of the day so many days after a Monday; or a part of it."""
    day = MONDAY + timedelta(days=number)
    figures = [_figure(name, value, currency) for name, value in values.items()]
    kind = DayCorrected if corrected else DayClosed
    data = kind(
        date=day.isoformat(),
        positions={},
        figures=figures,
        revision=int(corrected),
        part=part[0],
        parts=part[1],
    )
    at = datetime.combine(day, datetime.min.time(), UTC) + timedelta(days=1)
    name = f"{shop}/{kind.__name__}/{day}/{currency}/{sorted(values.items())}"
    return Event(
        id=event_id or str(uuid5(NAMESPACE_URL, name)),
        type=kind.__name__,
        shop=shop,
        subject=data.date,
        time=at,
        received_at=at,
        data=codec.raw(data),
    )


def _figure(name: str, value: int, currency: str) -> DayFigure:
    above, _, key = name.rpartition("/")
    level = {0: "country" if name[:1] == "@" else "category", 1: "product", 2: "variant"}
    return DayFigure(
        level=level[name.count("/")] if name else "total",
        key=key.removeprefix("@"),
        parent=above.rpartition("/")[2],
        currency=currency,
        gross=Money(max(0, value) * 10_000),
        discounts=Money(0),
        refunds=Money(0),
        net=SignedMoney(value * 10_000),
        orders=1,
        units=max(0, value) // 10,
    )


def order_event(
    number: int,
    products: Sequence[str],
    *,
    at: datetime = NOON,
    event_id: str | None = None,
    shop: str = "main",
    person: str | None = None,
) -> Event:
    """A basket that was bought, perhaps by somebody known."""
    lines = [Line(product_id=product, price=Money(10_000)) for product in products]
    data = OrderCompleted(order_id=f"o{number}", currency="EUR", products=lines)
    return Event(
        id=event_id or f"completed-{number}",
        type="OrderCompleted",
        shop=shop,
        subject=data.order_id,
        time=at,
        received_at=at,
        data=codec.raw(data),
        person=person,
    )


def facts(events: Iterable[Event], partitions: int = 1) -> list[Fact]:
    """The events as they come decoded from the log, appended in this order."""
    ends: dict[tuple[str, int], int] = {}
    found = []
    for event in events:
        topic = VOCABULARY[event.type].topic
        number = partition_of(key_of(event), partitions_of(topic, partitions))
        offset = ends.get((topic, number), 0)
        ends[topic, number] = offset + 1
        found.append(Fact(topic, number, offset, event, codec.decode_data(event, topic)))
    return found


def weekly(days: int, seed: int = 7, categories: int = 3) -> list[Values]:
    """A shop's days: each category has a week of its own and noise, Sundays are closed."""
    random = Random(seed)
    weeks = {f"c{n}": [random.randint(40, 400) for _ in range(6)] + [0] for n in range(categories)}
    found: list[Values] = []
    for day in range(days):
        values = {
            name: round(week[day % 7] * random.uniform(0.6, 1.4)) for name, week in weeks.items()
        }
        found.append({"": sum(values.values()), **values})
    return found


def shifting(days: int = 100) -> list[Values]:
    """A category sells three times as much from day 80 on."""
    return [
        {name: value * (3 if n >= 80 else 1) for name, value in day.items()}
        for n, day in enumerate(weekly(days, seed=5, categories=1))
    ]


def assortment(days: int, seed: int = 7) -> list[Values]:
    """A shop's days with all its levels: two categories of three products, two countries."""
    random = Random(seed)
    weeks = {f"c{n % 2}/p{n}": [random.randint(10, 90) for _ in range(7)] for n in range(6)}
    found: list[Values] = []
    for day in range(days):
        products = {
            name: round(week[day % 7] * random.uniform(0.4, 1.6)) for name, week in weeks.items()
        }
        total = sum(products.values())
        categories = {
            category: sum(value for name, value in products.items() if name[:2] == category)
            for category in ("c0", "c1")
        }
        abroad = round(total * random.uniform(0.1, 0.3))
        countries = {"@DE": total - abroad, "@FR": abroad}
        found.append({"": total, **categories, **products, **countries})
    return found


def stock_event(
    number: int, variant: str, units: int, *, hour: float = 0, shop: str = "main"
) -> Event:
    """Units of a variant that came, or with a minus went, on the so many-th day."""
    kind = StockReceived if units > 0 else StockAdjusted
    data = kind(product_id=f"of-{variant}", variant=variant, quantity=units)
    at = datetime.combine(MONDAY, datetime.min.time(), UTC) + timedelta(days=number, hours=hour)
    return Event(
        id=str(uuid5(NAMESPACE_URL, f"{shop}/{variant}/{units}/{at}")),
        type=kind.__name__,
        shop=shop,
        subject=data.product_id,
        time=at,
        received_at=at,
        data=codec.raw(data),
    )


def review_event(
    number: int,
    body: str | None,
    stars: int,
    *,
    product: str = "p",
    at: datetime = NOON,
    shop: str = "main",
    kind: type[ProductReviewed | ReviewEdited] = ProductReviewed,
) -> Event:
    """A review with the id `r{number}`, written or edited so many hours after a noon."""
    data = kind(product_id=product, review_id=f"r{number}", review_body=body, rating=stars)
    when = at + timedelta(hours=number)
    return Event(
        id=str(uuid5(NAMESPACE_URL, f"{shop}/{kind.__name__}/{number}/{body}/{stars}")),
        type=kind.__name__,
        shop=shop,
        subject=product,
        time=when,
        received_at=when,
        data=codec.raw(data),
    )


PRAISES = (
    "Great quality, and it fits perfectly. I love it!",
    "Fast delivery and a fair price. Would buy it again.",
    "Beautiful colour, and the seller was very helpful.",
    "It works well and is easy to clean, a good buy.",
)
HEDGES = (
    "It is okay. The material is nice, but it runs small.",
    "Average quality for the price, nothing special but it does the job.",
)
BLAMES = (
    "It broke after two days. A waste of money.",
    "Arrived late and the box was damaged. Very disappointed.",
    "Runs small, and the fabric is cheaply made. I returned it.",
    "It does not work, and the seller never answered.",
)


def reviews(
    count: int, seed: int = 7, products: int = 5, *, shop: str = "main", first: int = 0
) -> list[Event]:
    """Reviews of which most praise, as of a shop that does well."""
    random = Random(seed)
    found = []
    for number in range(first, first + count):
        kind = random.random()
        texts, stars = (
            (PRAISES, random.choice((4, 5)))
            if kind < 0.7
            else (HEDGES, 3)
            if kind < 0.8
            else (BLAMES, random.choice((1, 2)))
        )
        body = f"{random.choice(texts)} {random.choice(texts)}"
        product = f"p{random.randrange(products)}"
        found.append(review_event(number, body, stars, product=product, shop=shop))
    return found


def baskets(count: int, seed: int = 7, products: int = 30) -> list[Event]:
    """Orders of one to five products over some weeks, in no order of time."""
    random = Random(seed)
    names = [f"p{n}" for n in range(products)]
    return [
        order_event(
            n,
            random.sample(names, random.randint(1, 5)),
            at=NOON - timedelta(minutes=random.randint(0, 60_000)),
        )
        for n in range(count)
    ]


def unordered() -> list[Heard]:
    """The learners whose models do not depend on the order between partitions: all but those that
    tell the time by what they hear, and those that learn from one review after the other."""
    ordered = {ANOMALIES.name, CUSTOMERS.name, SENTIMENT.name}
    return [one for one in learners_of(LEARNERS) if one.family.name not in ordered]
