"""What recommenders hear: who turned to what, what is in stock, and what became of answers."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

from streams import codec
from streams.events import (
    Context,
    Data,
    Event,
    ExploredSlot,
    Line,
    OrderCompleted,
    ProductDelisted,
    ProductListed,
    ProductViewed,
    RecommendationClicked,
    RecommendationsServed,
    RecommendationsViewed,
    StockAdjusted,
    StockReceived,
    StockReserved,
)
from streams.money import Money
from tests.learning import NOON

ARMS = ("best", "new", "trending")


def told(
    data: Data,
    subject: str,
    event_id: str,
    *,
    at: datetime = NOON,
    shop: str = "main",
    visitor: str | None = None,
    person: str | None = None,
) -> Event:
    """An event of a shop's."""
    return Event(
        id=event_id,
        type=type(data).__name__,
        shop=shop,
        subject=subject,
        person=person,
        context=Context(visitor=visitor) if visitor else None,
        time=at,
        received_at=at,
        data=codec.raw(data),
    )


def catalogue_event(random: Random, number: int, products: int, shop: str = "main") -> Event:
    """Something that happens to what can be bought."""
    one = f"p{random.randrange(products)}"
    units = random.randint(1, 4)
    category = f"c{int(one[1:]) % 3}"
    price = Money(10_000 * units)
    data = random.choice(
        (
            ProductListed(product_id=one, category=category, price=price),
            ProductDelisted(product_id=one),
            StockReceived(product_id=one, quantity=units),
            StockAdjusted(product_id=one, quantity=-units),
            StockReserved(product_id=one, quantity=units, order_id=f"o{number}"),
        )
    )
    return told(data, one, f"catalog-{shop}-{number}", shop=shop)


def visits(count: int, seed: int = 3, products: int = 20, shop: str = "main") -> Iterator[Event]:
    """Visitors who look at products of one category each, buy some, and are recommended others,
    which they see and may click on."""
    random = Random(seed)
    for number in range(count):
        at = NOON + timedelta(seconds=20 * number)
        visitor = f"v{random.randrange(12)}"
        one = f"p{3 * random.randrange(products // 3) + int(visitor[1:]) % 3}"
        name = f"{shop}-{seed}-{number}"
        place = {"at": at, "shop": shop}
        viewed = ProductViewed(product_id=one, category=f"c{int(one[1:]) % 3}")
        yield told(viewed, visitor, f"view-{name}", **place)  # type: ignore[arg-type]
        if number % 5 == 0:
            yield from _answer(random, name, visitor, at, shop)
        if number % 7 == 0:
            line = Line(product_id=one, price=Money(10_000))
            order = OrderCompleted(order_id=f"o-{name}", currency="EUR", products=[line])
            yield told(
                *(order, order.order_id, f"order-{name}"),
                at=at,
                shop=shop,
                visitor=visitor,
                person=f"person-{visitor}",
            )


def _answer(random: Random, name: str, visitor: str, at: datetime, shop: str) -> Iterator[Event]:
    """One with a place drawn by lot among three arms, in any order of its events."""
    told_id = f"home.mixed.{name}"
    products = dict(zip(ARMS, random.sample([f"p{n}" for n in range(20)], 3), strict=True))
    arm = random.choice(ARMS)
    slot = ExploredSlot(
        position=0,
        arm=arm,
        products=products,
        propensities=dict.fromkeys(ARMS, 1 / 3),
        features={"one": 1.0, "place": random.random()},
    )
    shown = [products[arm]]
    events: list[tuple[Data, str]] = [
        (
            RecommendationsServed(
                answer_id=told_id,
                placement="home",
                policy="mixed",
                products=shown,
                explored=[slot],
            ),
            "served",
        ),
        (RecommendationsViewed(answer_id=told_id, products=shown), "viewed"),
    ]
    if random.random() < (0.7 if arm == "new" else 0.1):
        events.append((RecommendationClicked(answer_id=told_id, product_id=shown[0]), "clicked"))
    random.shuffle(events)
    for data, what in events:
        yield told(data, visitor, f"{what}-{name}", at=at, shop=shop)
