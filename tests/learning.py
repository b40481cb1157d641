"""What learners hear: closed days and baskets, as events and as facts."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from uuid import NAMESPACE_URL, uuid5

from streams import codec
from streams.codec import Fact
from streams.events import DayClosed, DayCorrected, DayFigure, Event, Line, OrderCompleted
from streams.money import Money, SignedMoney
from streams.topics import key_of, partition_of, partitions_of

MONDAY = date(2020, 3, 2)  # long ago: some tests close many days
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

Values = Mapping[str, int]  # net by category in whole units; the total under ""


def day_event(
    number: int,
    values: Values,
    *,
    corrected: bool = False,
    currency: str = "EUR",
    shop: str = "main",
    event_id: str | None = None,
) -> Event:
    """The close, or a correction, of the day so many days after a Monday."""
    day = MONDAY + timedelta(days=number)
    figures = [
        DayFigure(
            level="category" if key else "total",
            key=key,
            currency=currency,
            gross=Money(max(0, value) * 10_000),
            discounts=Money(0),
            refunds=Money(0),
            net=SignedMoney(value * 10_000),
            orders=1,
            units=1,
        )
        for key, value in values.items()
    ]
    kind = DayCorrected if corrected else DayClosed
    data = kind(date=day.isoformat(), positions={}, figures=figures)
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


def order_event(
    number: int,
    products: Sequence[str],
    *,
    at: datetime = NOON,
    event_id: str | None = None,
    shop: str = "main",
) -> Event:
    """A basket that was bought."""
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
    )


def facts(events: Iterable[Event], partitions: int = 1) -> list[Fact]:
    """The events as they come decoded from the log, appended in this order."""
    ends: dict[tuple[str, int], int] = {}
    found = []
    for event in events:
        topic = "days" if event.type.startswith("Day") else "orders"
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
