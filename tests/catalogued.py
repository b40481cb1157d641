"""What tests say of products, their stock and their reviews."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from streams import codec
from streams.codec import Fact
from streams.events import Event

# The night before the clocks go forward in Berlin; two weeks after they did in St. John's.
AT = datetime(2026, 3, 28, 21, 0, tzinfo=UTC)


def told(
    kind: str, product_id: str, event_id: str, *, hours: float = 0, shop: str = "main", **data: Any
) -> Event:
    """An event of a product, so many hours after `AT`."""
    fields = {
        "id": event_id,
        "type": kind,
        "shop": shop,
        "subject": product_id,
        "time": (AT + timedelta(hours=hours)).isoformat(),
        "received_at": (AT + timedelta(days=30)).isoformat(),
        "data": {"product_id": product_id, **data},
    }
    return codec.decode_envelope(json.dumps(fields).encode())


def facts(events: Iterable[Event]) -> list[Fact]:
    """The events as they come decoded from the log, appended in this order."""
    return [
        Fact("catalog", 0, offset, event, codec.decode_data(event, "catalog"))
        for offset, event in enumerate(events)
    ]
