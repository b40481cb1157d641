"""The log as it stands: every record of a topic, and what has to become of each.

Written from the README and from nothing else: JSON by the standard library, money as Decimal, one
dictionary of ids. It shares no code with what reads the log in earnest, and is as slow as it looks.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

import xxhash
from aiokafka import AIOKafkaConsumer, TopicPartition

_PATIENCE_MS = 20_000
_AHEAD = timedelta(minutes=5)
_FIRST_YEAR, _LAST_YEAR = 1970, 2999
_LARGEST = Decimal(10) ** 12
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class Record(NamedTuple):
    """One record of a topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class Fate(Enum):
    """What has to become of a record."""

    COUNTS = "counts"
    REPEATED = "repeated"
    QUARANTINED = "quarantined"


class Judged(NamedTuple):
    """A record, its fate, and its event where it has one."""

    record: Record
    fate: Fate
    event: Mapping[str, Any] | None


async def read(
    bootstrap: str, topic: str, partitions: int, since: Mapping[int, int]
) -> list[Record]:
    """All records of a topic from these offsets (0 where none is given) to its present end, by
    partition and offset."""
    names = [TopicPartition(topic, number) for number in range(partitions)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="none"
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(names)
        left = {tp: end for tp, end in ends.items() if end > since.get(tp.partition, 0)}
        found: list[Record] = []
        consumer.assign(list(left))
        for tp in left:
            consumer.seek(tp, since.get(tp.partition, 0))
        while left:
            fetched = await consumer.getmany(timeout_ms=_PATIENCE_MS, max_records=10_000)
            if not fetched:
                raise TimeoutError(f"Kafka does not hand over {sorted(left)}")
            for tp, records in fetched.items():
                if tp not in left:
                    continue
                found += [
                    Record(tp.partition, one.offset, one.key, one.value)
                    for one in records
                    if one.offset < left[tp]
                ]
                if records[-1].offset + 1 >= left[tp]:
                    del left[tp]
    finally:
        await consumer.stop()
    return sorted(found, key=lambda record: (record.partition, record.offset))


class Judge:
    """Goes through a topic once, in order, and says of each record what has to become of it."""

    def __init__(self, partitions: int, window: int) -> None:
        self._partitions = partitions
        self._window = window
        self._last: dict[tuple[int, str, str], tuple[int, Any]] = {}

    def judge(self, records: Sequence[Record]) -> list[Judged]:
        """The next records. An id counts once among so many offsets of its partition; used again
        for something else it is kept aside."""
        return [self._one(record) for record in records]

    def _one(self, record: Record) -> Judged:
        event = envelope(record.value)
        if event is None:
            return Judged(record, Fate.QUARANTINED, None)
        name = (record.partition, event["shop"], event["id"])
        own_time = None if event["time"] == event["received_at"] else event["time"]
        said = (event["type"], event["subject"], own_time, event.get("sealed"), event["data"])
        before = self._last.get(name)
        self._last[name] = (record.offset, said)
        if before is not None and record.offset - before[0] <= self._window:
            fate = Fate.REPEATED if before[1] == said else Fate.QUARANTINED
        else:
            fate = Fate.COUNTS if self._valid(record, event) else Fate.QUARANTINED
        return Judged(record, fate, event)

    def _valid(self, record: Record, event: Mapping[str, Any]) -> bool:
        key = f"{event['shop']}/{event['subject']}".encode()
        here = xxhash.xxh3_64_intdigest(key) % self._partitions == record.partition
        timely = (
            event["time"] - event["received_at"] <= _AHEAD
            and _FIRST_YEAR <= event["time"].year <= _LAST_YEAR
        )
        fields = ORDER_EVENTS.get(event["type"])
        return (
            record.key == key
            and here
            and timely
            and fields is not None
            and event.get("version", 1) == 1
            and _fits(event["data"], fields, _NEEDED[event["type"]])
        )


def envelope(value: bytes | None) -> dict[str, Any] | None:
    """An event with its times parsed; None where a record is none."""
    if value is None or _NUL.search(value):
        return None
    try:
        found = json.loads(value, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        return None
    if not all(_is_id(found.get(name)) for name in ("id", "shop", "subject")):
        return None
    optional = ("source", "person", "correlation_id", "causation_id")
    if not all(found.get(name) is None or _is_id(found[name]) for name in optional):
        return None
    version = found.get("version", 1)
    if type(version) is not int or version < 1 or "data" not in found:
        return None
    try:
        found["time"] = datetime.fromisoformat(found["time"])
        found["received_at"] = datetime.fromisoformat(found["received_at"])
    except (KeyError, TypeError, ValueError):
        return None
    if found["time"].tzinfo is None or found["received_at"].tzinfo is None:
        return None
    return found


# The fields of what `orders` may tell. Unknown fields are refused.

Check = Callable[[Any], bool]


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 128


def _is_name(most: int) -> Check:
    return lambda value: isinstance(value, str) and len(value) <= most


def _is_signed(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return False
    try:
        amount = Decimal(value)
    except ArithmeticError:
        return False
    return (
        amount.is_finite()
        and abs(amount) <= _LARGEST
        and amount == amount.quantize(Decimal("0.0001"))
    )


def _is_money(value: Any) -> bool:
    return _is_signed(value) and Decimal(value) >= 0


def _is_count(least: int, most: int) -> Check:
    return lambda value: type(value) is int and least <= value <= most


def _is_currency(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[A-Z]{3}", value) is not None


def _is_country(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 64


_text = _is_name(512)
_PRODUCT: dict[str, Check] = {
    "product_id": _is_id,
    "category": _is_name(128),
    "price": _is_money,
    "quantity": _is_count(1, 10_000_000),
    "position": _is_count(0, 1_000_000),
    **dict.fromkeys(("sku", "name", "brand", "variant", "coupon", "url", "image_url"), _text),
}


def _are_products(needed: Sequence[str], least: int) -> Check:
    return lambda value: (
        isinstance(value, list)
        and len(value) >= least
        and all(_fits(one, _PRODUCT, needed) for one in value)
    )


_lines, _some_lines = (_are_products(("product_id", "price"), least) for least in (0, 1))
_ORDER: dict[str, Check] = {
    "order_id": _is_id,
    "checkout_id": _is_id,
    **dict.fromkeys(("affiliation", "coupon", "channel"), _text),
    **dict.fromkeys(("subtotal", "total", "revenue", "shipping", "tax", "discount"), _is_money),
    "currency": _is_currency,
    "country": _is_country,
}
_STEP: dict[str, Check] = {
    **dict.fromkeys(("checkout_id", "order_id"), _is_id),
    "step": _is_count(0, 1_000_000),
    **dict.fromkeys(("shipping_method", "payment_method"), _text),
}
_SHIPPED: dict[str, Check] = dict.fromkeys(("order_id", "shipment_id"), _is_id)
_ORDER_ALONE = ("order_id",)

ORDER_EVENTS: Mapping[str, Mapping[str, Check]] = {
    "CheckoutStarted": {
        **_ORDER,
        "value": _is_money,
        "products": _are_products(("product_id",), 0),
    },
    **dict.fromkeys(("CheckoutStepViewed", "CheckoutStepCompleted", "PaymentInfoEntered"), _STEP),
    **{name: {**_ORDER, "products": _some_lines} for name in ("OrderPlaced", "OrderCompleted")},
    "OrderUpdated": {**_ORDER, "products": _lines},
    "OrderPaid": {
        **dict.fromkeys(("order_id", "payment_id"), _is_id),
        "amount": _is_money,
        "currency": _is_currency,
    },
    **dict.fromkeys(("OrderShipped", "OrderDelivered"), _SHIPPED),
    "OrderCancelled": {**_ORDER, "products": _are_products(("product_id",), 0), "reason": _text},
    "OrderRefunded": {**_ORDER, "refund_id": _is_id, "products": _lines, "reason": _text},
    "SalesAdjusted": {
        "order_id": _is_id,
        "amount": _is_signed,
        "currency": _is_currency,
        "country": _is_country,
        "reason": _text,
    },
}
_NEEDED: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(ORDER_EVENTS, _ORDER_ALONE),
    **dict.fromkeys(
        ("CheckoutStepViewed", "CheckoutStepCompleted", "PaymentInfoEntered"), ("checkout_id",)
    ),
    **dict.fromkeys(("OrderPlaced", "OrderCompleted"), ("order_id", "products")),
    "SalesAdjusted": ("order_id", "amount"),
}


def _fits(data: Any, fields: Mapping[str, Check], needed: Sequence[str]) -> bool:
    """Whether an object has these fields, no others, and all that are needed."""
    if not isinstance(data, dict) or not all(name in data for name in needed):
        return False
    for name, value in data.items():
        check = fields.get(name)
        if check is None:
            return False
        optional = name not in needed and name not in ("products", "quantity")
        if not (check(value) or (value is None and optional)):
            return False
    return True
