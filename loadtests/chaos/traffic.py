"""What a chaos run sends: the lives of orders, in disorder, from a seed; and what is no event."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import orjson
import xxhash

Told = dict[str, Any]

_PRODUCTS = [
    (f"product-{n:02}", f"category-{n % 6}" if n % 11 else None, f"Product {n}") for n in range(40)
]
_PRICES = ("0.001", "0.0001", "2.55", "19.99", "3.3333", "100", "0", 7.5, 0.1, 12)
_COUNTRIES = ("DE", "FR", "AT", "GB", None)
_CURRENCIES = ("EUR", "EUR", "EUR", "GBP", None)
_OPEN_ORDERS = 400
_FOLLOWING = (
    *("OrderPaid", "OrderShipped", "OrderDelivered", "OrderCancelled", "OrderUpdated"),
    *("OrderRefunded", "OrderRefunded", "OrderPlaced", "OrderCompleted", "SalesAdjusted"),
)


class Disorder(NamedTuple):
    """Shares of the events; those overtaken are sent up to so many places later."""

    late: float = 0.05
    duplicated: float = 0.03
    contradicted: float = 0.01
    reach: int = 50


USUAL = Disorder()
MUCH = Disorder(late=0.3, duplicated=0.3, contradicted=0.1, reach=2_000)


def traffic(name: str, shop: str, seed: int, now: datetime, disorder: Disorder) -> Iterator[Told]:
    """Events for ever: a pure function of its arguments. Ids begin with `name`."""
    random = Random(f"{seed} {name}")
    lives = _Lives(name, random, now, disorder.late)
    waiting: list[Told] = []
    while True:
        event = lives.next_event()
        waiting.append(event)
        if random.random() < disorder.duplicated:
            waiting.append(event)
        if random.random() < disorder.contradicted:
            waiting.append(_otherwise(event))
        while len(waiting) > disorder.reach:
            yield {**waiting.pop(random.randrange(len(waiting))), "shop": shop}


class _Lives:
    """Orders that begin, go on and are forgotten."""

    def __init__(self, name: str, random: Random, now: datetime, late: float) -> None:
        self._name, self._random, self._now, self._late = name, random, now, late
        self._orders: list[str] = []
        self._count = 0

    def next_event(self) -> Told:
        self._count += 1
        random = self._random
        kind, order = "OrderCompleted", f"{self._name}-order-{self._count}"
        if self._orders and random.random() < 0.45:
            kind, order = random.choice(_FOLLOWING), random.choice(self._orders)
        else:
            self._orders.append(order)
            if len(self._orders) > _OPEN_ORDERS:
                self._orders.pop(random.randrange(len(self._orders)))
        event: Told = {
            "id": f"{self._name}-{self._count}",
            "type": kind,
            "data": {"order_id": order, **self._data(kind)},
        }
        if random.random() < 0.9:  # the others are dated at the door
            back = random.uniform(0, 6 * 86_400) if random.random() < self._late else 0.0
            at = self._now - timedelta(seconds=back + random.uniform(0, 7_200))
            event["time"] = at.isoformat()
        if random.random() < 0.3:
            event["person"] = f"person-{random.randrange(500)}"
        return event

    def _data(self, kind: str) -> Told:
        random = self._random
        if kind in ("OrderShipped", "OrderDelivered"):
            return {}
        place = {"currency": random.choice(_CURRENCIES), "country": random.choice(_COUNTRIES)}
        data: Told = {name: value for name, value in place.items() if value}
        if kind == "OrderPaid":
            return {name: value for name, value in data.items() if name == "currency"}
        if kind == "SalesAdjusted":
            return {**data, "amount": random.choice(("-2.50", "1.0001", "-0.0001"))}
        if kind == "OrderCancelled":
            return data
        if kind == "OrderRefunded":
            return {**data, **self._refund()}
        if random.random() < 0.3:
            data["discount"] = random.choice(("1.00", "0.0007", "5"))
        return {**data, "products": self._lines(3)}

    def _refund(self) -> Told:
        random = self._random
        refund: Told = {}
        if random.random() < 0.6:
            refund["refund_id"] = f"refund-{random.randrange(3)}"
        what = random.randrange(3)
        if what == 0:
            refund["products"] = self._lines(2)
        elif what == 1:
            refund[random.choice(("total", "revenue"))] = random.choice(("0.50", "1.0003", "9"))
        return refund

    def _lines(self, most: int) -> list[Told]:
        random = self._random
        lines = []
        for _ in range(random.randint(1, most)):
            product, category, name = random.choice(_PRODUCTS)
            line: Told = {"product_id": product, "name": name, "price": random.choice(_PRICES)}
            line |= {
                "quantity": random.randint(1, 4),
                **({"category": category} if category else {}),
            }
            lines.append(line)
        return lines


def _otherwise(event: Told) -> Told:
    """The same id, with another body."""
    if event["type"] in ("OrderPaid", "OrderShipped", "OrderDelivered"):
        return {**event, "time": "2026-01-01T00:00:00+00:00"}
    return {**event, "data": {**event["data"], "country": "XX"}}


class Raw(NamedTuple):
    """A record as somebody writes it past the door."""

    partition: int
    key: bytes | None
    value: bytes | None


def poison(name: str, shop: str, seed: int, now: datetime, partitions: int) -> Iterator[Raw]:
    """Records that cannot be decoded, that are no valid events, or that stand where they do not
    belong; a round of each kind, and a valid one between them."""
    random = Random(f"{seed} poison {name}")
    number = 0
    while True:
        for kind in ("fine", *_WRONGS):
            number += 1
            order = f"{name}-poison-{number}"
            event: Told = {
                "id": f"{name}-poison-{number}",
                "type": "OrderCompleted",
                "shop": shop,
                "subject": order,
                "time": now.isoformat(),
                "received_at": now.isoformat(),
                "data": {
                    "order_id": order,
                    "currency": "EUR",
                    "products": [{"product_id": "product-01", "price": "1.25", "quantity": 2}],
                },
            }
            yield _spoiled(kind, event, partitions, random)


_WRONGS = (
    *("garbage", "empty", "cut short", "not utf-8", "nul", "deep", "a list", "no id", "no zone"),
    *("wrong key", "wrong partition", "unknown type", "other topic", "version", "future", "past"),
    *("negative", "five places", "unknown field", "no lines", "quantity", "no price"),
)


def _spoiled(kind: str, event: Told, partitions: int, random: Random) -> Raw:
    data: Mapping[str, Any] = event["data"]
    line = data["products"][0]
    changes: dict[str, Told] = {
        "no id": {"id": None},
        "no zone": {"time": "2026-11-01T10:00:00"},
        "unknown type": {"type": "OrderDreamt"},
        "other topic": {"type": "ProductListed"},
        "version": {"version": 99},
        "future": {"time": "2399-01-01T00:00:00Z"},
        "past": {"time": "1901-01-01T00:00:00Z"},
        "negative": {"data": {**data, "products": [{**line, "price": "-1.00"}]}},
        "five places": {"data": {**data, "products": [{**line, "price": "1.00001"}]}},
        "unknown field": {"data": {**data, "colour": "red"}},
        "no lines": {"data": {**data, "products": []}},
        "quantity": {"data": {**data, "products": [{**line, "quantity": 0}]}},
        "no price": {"data": {**data, "products": [{"product_id": "product-01"}]}},
        "nul": {"person": "a\0b"},
    }
    value: bytes | None = orjson.dumps(event | changes.get(kind, {}))
    assert value is not None
    key: bytes | None = f"{event['shop']}/{event['subject']}".encode()
    partition = xxhash.xxh3_64_intdigest(key or b"") % partitions
    if kind == "garbage":
        value = random.randbytes(40)
    elif kind == "empty":
        value = None
    elif kind == "cut short":
        value = value[: len(value) // 2]
    elif kind == "not utf-8":
        value = value.replace(b"product-01", b"product-\xff\xfe")
    elif kind == "deep":
        value = b'{"data":' + b"[" * 5_000
    elif kind == "a list":
        value = b"[1, 2, 3]"
    elif kind == "wrong key":
        key = None
    elif kind == "wrong partition":
        partition = (partition + 1) % partitions
    return Raw(partition, key, value)
