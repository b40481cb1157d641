"""The longest names that an event may bear go into every table: none is too long for an index,
where the first such event would stop everyone who reads after it."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from app.settings import Settings
from projections.clock import ShopClock
from projections.postgres import connect, migrate
from streams import codec
from streams.codec import Fact
from streams.events import VOCABULARY, Event
from tests.integration.reported import apply

AT = datetime(2026, 3, 1, tzinfo=UTC)
RANDOM = Random(7)


def long(letters: int) -> str:
    """Four bytes each, which nothing makes shorter."""
    return "".join(chr(RANDOM.randrange(0x20000, 0x2A6DF)) for _ in range(letters))


PRODUCT = {"product_id": long(128), "variant": long(512), "category": long(128), "sku": long(512)}
LINE = {**PRODUCT, "price": "1", "quantity": 1}
STOCK = {"product_id": long(128), "variant": long(512), "quantity": 1}
ORDER = {"order_id": long(128), "currency": "EUR", "country": long(64), "channel": long(512)}
TOLD: list[tuple[str, str, str, dict[str, Any]]] = [
    ("interactions", "ProductViewed", long(128), LINE),
    ("interactions", "ExperimentExposed", long(128), {
        "experiment_id": long(128), "arm": long(64), "unit": "person",
    }),
    ("carts", "ProductAdded", long(128), {**LINE, "cart_id": long(128)}),
    ("orders", "OrderCompleted", long(128), {**ORDER, "products": [LINE]}),
    ("catalog", "StockReceived", long(128), STOCK),
    ("catalog", "ProductReviewed", long(128), {
        "product_id": PRODUCT["product_id"], "review_id": long(128), "rating": 5,
    }),
]  # fmt: skip


def fact(topic: str, kind: str, subject: str, data: dict[str, Any]) -> Fact:
    event = Event(
        id=long(36),
        type=kind,
        shop=long(128),
        subject=data.get("cart_id") or data.get("order_id") or subject,
        time=AT,
        received_at=AT + timedelta(days=1),
        data=msgspec.Raw(msgspec.json.encode(data)),
        person=long(128),
    )
    return Fact(topic, 0, 0, event, codec.decode_data(event, VOCABULARY[kind].topic))


GROUPS_OF = [
    *(("activity", *told) for told in TOLD),
    *(("sales", *told) for told in TOLD if told[0] == "orders"),
]


@pytest.mark.parametrize(
    ("group", "topic", "kind", "subject", "data"),
    GROUPS_OF,
    ids=[f"{told[2]} in {told[0]}" for told in GROUPS_OF],
)
async def test_it_is_written(
    settings: Settings, group: str, topic: str, kind: str, subject: str, data: dict[str, Any]
) -> None:
    await migrate(settings.servers.postgres, settings.schema_name)
    async with await connect(settings.servers.postgres, settings.schema_name) as pool:
        await apply(pool, group, ShopClock(ZoneInfo("UTC")), [fact(topic, kind, subject, data)])
