"""What tests say of visitors and carts, and a recount that shares no code with the folds.

The recount reads a set of events as somebody with pencil and paper would: from plain JSON, all at
once, with no idea of batches, rows or what was known before.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from streams import codec
from streams.codec import Fact
from streams.events import VOCABULARY, Event

AT = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # Berlin's clock goes back half an hour later
Plain = Mapping[str, Any]


def happened(kind: str, event_id: str, subject: str, minutes: float = 0, **more: Any) -> Event:
    """An event so many minutes after `AT`. `data`, `person`, `context` and `source` as given."""
    at = AT + timedelta(minutes=minutes)
    fields = {
        "id": event_id,
        "type": kind,
        "shop": "main",
        "subject": subject,
        "time": at.isoformat(),
        "received_at": (AT + timedelta(days=1)).isoformat(),
        **more,
    }
    return codec.decode_envelope(json.dumps(fields).encode())


def facts(events: Iterable[Event]) -> list[Fact]:
    """The events as they come decoded from the log."""
    return [
        Fact(topic, 0, number, event, codec.decode_data(event, topic))
        for number, event in enumerate(events)
        for topic in [VOCABULARY[event.type].topic]
    ]


def plain(event: Event) -> Plain:
    found: Plain = json.loads(codec.encode(event))
    return found


class Recount:
    """Everything that is said of visitors and carts, from a set of events."""

    def __init__(self, events: Sequence[Event], zone: str = "UTC") -> None:
        self.zone = ZoneInfo(zone)
        self.events = [plain(event) for event in {event.id: event for event in events}.values()]
        self._links = self._all_links()

    # Who it is.

    def names(self, event: Plain) -> list[tuple[int, str]]:
        """(how well it is known, name), the best first."""
        found = []
        person = event.get("person")
        visitor = event.get("context", {}).get("visitor")
        if VOCABULARY[event["type"]].topic == "interactions":
            visitor = event["subject"]
        if person:
            found.append((0, f"v:{person}"))
        if visitor and visitor != person:
            found.append((1, f"v:{visitor}"))
        if "cart_id" in event["data"]:
            found.append((2, f"c:{event['data']['cart_id']}"))
        if "order_id" in event["data"]:
            found.append((3, f"o:{event['data']['order_id']}"))
        return found or [(3, f"o:{event['subject']}")]

    def _all_links(self) -> dict[str, tuple[int, str]]:
        told = defaultdict(set)
        for event in self.events:
            best, *others = self.names(event)
            for _, name in others:
                told[name].add(best)
        return {name: min(targets) for name, targets in told.items()}

    def who(self, event: Plain) -> str:
        name = self.names(event)[0][1]
        for _ in range(3):
            if name not in self._links:
                break
            name = self._links[name][1]
        return name

    # What they did.

    def day(self, event: Plain) -> str:
        return self.local(event).date().isoformat()

    def local(self, event: Plain) -> datetime:
        return datetime.fromisoformat(event["time"]).astimezone(self.zone)

    def way(self, event: Plain) -> tuple[str, str, bool]:
        context, data = event.get("context", {}), event["data"]
        return (
            context.get("source") or data.get("channel") or "",
            context.get("country") or data.get("country") or "",
            context.get("bot", False),
        )

    STEPS: Mapping[str, str] = {
        "ProductViewed": "viewed",
        "ProductAdded": "added",
        "WishlistProductAddedToCart": "added",
        "CheckoutStarted": "checkout",
        "OrderPlaced": "checkout",
        "OrderCompleted": "ordered",
    }

    def funnel(self, by: str = "", *, bots: bool = False) -> dict[tuple[str, str], dict[str, int]]:
        """Events, visitors and passes by day and one of product, source, country (or nothing)."""
        did: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for event in self.events:
            step = self.STEPS.get(event["type"])
            source, country, bot = self.way(event)
            if step is None or bot is not bots:
                continue
            data = event["data"]
            products = {one["product_id"] for one in data.get("products", [data])}
            values = {"": [""], "product": sorted(products), "source": [source]}
            for key in values.get(by, [country]):
                did[self.day(event), key][step].append(self.who(event))
        found = {}
        for key, steps in did.items():
            row = {step: len(steps[step]) for step in ("viewed", "added", "checkout", "ordered")}
            sets = {step: set(steps[step]) for step in row}
            row |= {f"{step}_visitors": len(people) for step, people in sets.items()}
            row["added_passed"] = len(sets["viewed"] & sets["added"])
            row["checkout_passed"] = len(sets["added"] & sets["checkout"])
            row["ordered_passed"] = len(sets["checkout"] & sets["ordered"])
            row["converted"] = len(sets["viewed"] & sets["ordered"])
            found[key] = row
        return found

    AWAY = frozenset(
        {"CartAbandoned", "OrderUpdated", "OrderPaid", "OrderShipped", "OrderDelivered"}
        | {"OrderCancelled", "OrderRefunded", "SalesAdjusted"}
    )

    def visitors(self, *, bots: bool = False) -> dict[str, int]:
        """Unique visitors by day."""
        found = defaultdict(set)
        for event in self.events:
            if event["type"] not in self.AWAY and self.way(event)[2] is bots:
                found[self.day(event)].add(self.who(event))
        return {day: len(people) for day, people in found.items()}

    # Their carts.

    def carts(self, now: datetime, silence: timedelta) -> dict[tuple[str, str], dict[str, Any]]:
        """How many carts, and what they come to, by day, currency and standing."""
        found: dict[tuple[str, str], dict[str, Any]] = defaultdict(lambda: defaultdict(Decimal))
        of_cart = defaultdict(list)
        for event in self.events:
            if "cart_id" in event["data"]:
                of_cart[event["data"]["cart_id"]].append(event)
        for events in of_cart.values():
            changes = [e for e in events if self._changes(e)]
            if not changes or any(self.way(e)[2] for e in events):
                continue
            last = max(changes, key=lambda e: datetime.fromisoformat(e["time"]))
            worth = self._worth(events)
            standing = self._standing(events, last, now, silence)
            if standing == "merged":
                continue
            for currency, value in worth.items():
                row = found[self.day(last), currency]
                row["carts"] += 1
                row[standing] += 1
                row[f"{standing}_value"] += value
        return {key: dict(row) for key, row in found.items()}

    @staticmethod
    def _changes(event: Plain) -> bool:
        ends = ("CartAbandoned", "CartMerged", "CartCheckedOut", "OrderPlaced", "OrderCompleted")
        kind = event["type"]
        return VOCABULARY[kind].topic == "carts" and kind not in ends

    def _standing(
        self, events: Sequence[Plain], last: Plain, now: datetime, silence: timedelta
    ) -> str:
        def times(*kinds: str) -> list[datetime]:
            return [datetime.fromisoformat(e["time"]) for e in events if e["type"] in kinds]

        if times("CartMerged"):
            return "merged"
        if times("CartCheckedOut", "OrderPlaced", "OrderCompleted"):
            return "ordered"
        if abandoned := times("CartAbandoned"):
            revived = times("CartRevived")
            if not revived or max(abandoned) >= max(revived):
                return "abandoned"
        if any(event.get("source") == "shop" for event in events):
            return "open"
        changed = datetime.fromisoformat(last["time"])
        mine = min(self.names(event)[0] for event in events)[1]
        name = mine
        for _ in range(3):
            name = self._links[name][1] if name in self._links else name
        for event in self.events:
            bought = event["type"] in ("OrderPlaced", "OrderCompleted")
            if (
                bought
                and self.names(event)[0][1] in (mine, name)
                and datetime.fromisoformat(event["time"]) >= changed
            ):
                return "ordered"
        return "abandoned" if changed <= now - silence else "open"

    @staticmethod
    def _worth(events: Sequence[Plain]) -> dict[str, Decimal]:
        units: dict[tuple[str, str], int] = defaultdict(int)
        prices: dict[tuple[str, str], list[tuple[datetime, str, Decimal]]] = defaultdict(list)
        currency: dict[tuple[str, str], str] = defaultdict(str)
        for event in events:
            kind, data = event["type"], event["data"]
            at = datetime.fromisoformat(event["time"])
            lines = data.get("products", []) if kind == "CartRepriced" else [data]
            if kind not in ("ProductAdded", "ProductRemoved", "CartRepriced"):
                continue
            for line in lines:
                key = (line["product_id"], line.get("variant", ""))
                sign = {"ProductAdded": 1, "ProductRemoved": -1}.get(kind, 0)
                units[key] += sign * line.get("quantity", 1)
                currency[key] = max(currency[key], line.get("currency") or "")
                if kind != "ProductRemoved" and "price" in line:
                    prices[key].append((at, event["id"], Decimal(line["price"])))
        worth: dict[str, Decimal] = defaultdict(Decimal)
        for key, count in units.items():
            if count > 0:
                price = max(prices[key])[2] if prices[key] else Decimal(0)
                worth[currency[key]] += count * price
        return dict(worth)
