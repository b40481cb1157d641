"""The codec: an event's bytes and back, and what is refused, with its field and its reason."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import codec
from streams.codec import AHEAD, Refused
from streams.events import (
    VOCABULARY,
    Event,
    Line,
    OrderCompleted,
    ProductListViewed,
    SalesAdjusted,
)
from streams.money import Money, SignedMoney

AT = datetime(2026, 3, 1, 12, 30, 15, 123_456, tzinfo=UTC)
SALE = {"order_id": "o1", "products": [{"product_id": "p1", "price": "2.55", "quantity": 3}]}


def record(**changes: Any) -> bytes:
    """An OrderCompleted as it stands on the log, with changes; None takes a field away."""
    fields = {
        "id": "e1",
        "type": "OrderCompleted",
        "shop": "main",
        "subject": "o1",
        "time": AT.isoformat(),
        "received_at": AT.isoformat(),
        "data": SALE,
    } | changes
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def refused(value: bytes | None, topic: str = "orders") -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        codec.decode_data(codec.decode_envelope(value), topic)
    assert str(caught.value)
    return caught.value.field, caught.value.reason


def test_an_event_comes_back_from_its_bytes_as_it_was() -> None:
    data = OrderCompleted(
        order_id="o1",
        discount=Money(5_000),
        products=[Line(product_id="p1", price=Money(25_500), quantity=3, name="Ünï")],
    )
    event = Event(
        id="e1",
        type="OrderCompleted",
        shop="main",
        subject="o1",
        time=AT.astimezone(timezone(timedelta(hours=2))),
        received_at=AT,
        data=codec.raw(data),
        person="someone",
        correlation_id="c",
        causation_id="d",
        sealed="c2VhbGVk",
    )
    value = codec.encode(event)
    read = codec.decode_envelope(value)
    assert codec.decode_data(read, "orders") == data
    assert codec.encode(read) == value
    assert read.time == event.time
    assert read.time.utcoffset() == timedelta(hours=2)
    assert bytes(read.data) == bytes(event.data)


def test_money_stands_on_the_log_as_a_decimal_string() -> None:
    adjusted = SalesAdjusted(order_id="o1", amount=SignedMoney(-110_620_600))
    assert json.loads(bytes(codec.raw(adjusted))) == {"order_id": "o1", "amount": "-11062.06"}


@pytest.mark.parametrize("value", ["2.55", 2.55, "2.5500", "255e-2"])
def test_money_is_read_from_a_string_and_from_a_number(value: str | float) -> None:
    sale = {"order_id": "o1", "products": [{"product_id": "p1", "price": value}]}
    data = codec.decode_data(codec.decode_envelope(record(data=sale)), "orders")
    assert isinstance(data, OrderCompleted)
    assert data.products[0].price == 25_500


def line(**changes: Any) -> dict[str, Any]:
    return {"order_id": "o1", "products": [SALE["products"][0] | changes]}  # type: ignore[operator]


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"id": None}, "id", "missing"),
        ({"id": ""}, "id", "length"),
        ({"id": "x" * 129}, "id", "length"),
        ({"id": 7}, "id", "Expected `str`"),
        ({"time": "yesterday"}, "time", "Invalid"),
        ({"time": "2026-03-01T12:00:00"}, "time", "timezone"),
        ({"received_at": None}, "received_at", "missing"),
        ({"version": 0}, "version", ">= 1"),
        ({"type": "OrderEaten"}, "type", "unknown type 'OrderEaten'"),
        ({"type": "Order Completed"}, "type", "unknown type"),
        ({"type": "ProductAdded"}, "type", "belongs on carts, not on orders"),
        ({"version": 2}, "version", "version 2 of OrderCompleted"),
        ({"data": None}, "data", "missing"),
        ({"data": []}, "data", "Expected `object`"),
        ({"data": {"order_id": "o1"}}, "data.products", "missing"),
        ({"data": {"order_id": "o1", "products": []}}, "data.products", "length"),
        ({"data": SALE | {"orderId": "o1"}}, "data.orderId", "unknown"),
        ({"data": SALE | {"currency": "eur"}}, "data.currency", "matching"),
        ({"data": SALE | {"revenue": "-1"}}, "data.revenue", "zero or more"),
        ({"data": line(price=None)}, "data.products[0].price", "such as"),
        ({"data": line(price="0.00001")}, "data.products[0].price", "4 decimal places"),
        ({"data": line(price=1e-5)}, "data.products[0].price", "4 decimal places"),
        ({"data": line(price={})}, "data.products[0].price", "such as"),
        ({"data": line(quantity=0)}, "data.products[0].quantity", ">= 1"),
        ({"data": line(quantity=1.5)}, "data.products[0].quantity", "Expected `int`"),
        ({"data": line(product_id=None)}, "data.products[0].product_id", "Expected `str`"),
        ({"data": line(colour="red")}, "data.products[0].colour", "unknown"),
    ],
)
def test_what_is_no_event_is_refused_with_its_field_and_its_reason(
    changes: dict[str, Any], field: str, reason: str
) -> None:
    told_field, told_reason = refused(record(**changes))
    assert told_field == field
    assert reason in told_reason


def test_a_missing_field_deep_inside_is_named_with_its_path() -> None:
    sale = {"order_id": "o1", "products": [SALE["products"][0], {"price": "1"}]}
    assert refused(record(data=sale))[0] == "data.products[1].product_id"


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\x00\x01\x02",
        b"\xff\xfe",
        record()[:-1],
        record() + b"x",
        record(id="\xff").replace(rb"\u00ff", b"\xff"),
        record(shop="\ud800"),
        record(data=SALE | {"coupon": "\xff"}).replace(rb"\u00ff", b"\xff"),
        record(data=SALE).replace(b'"2.55"', b"[" * 100_000),
        record(data=SALE).replace(b'"2.55"', b"[" * 5_000 + b"]" * 5_000),
        record(data=SALE).replace(b'"2.55"', b"1e400"),
        record(data=SALE).replace(b'"2.55"', b"9" * 400),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_record_that_is_no_event_is_refused_whatever_its_bytes(value: bytes | None) -> None:
    assert refused(value)[1]


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_refused(value: bytes) -> None:
    assert refused(value)[1]


@given(st.data())
def test_a_record_with_any_byte_changed_is_an_event_or_refused(data: st.DataObject) -> None:
    value = bytearray(record(person="someone", data=SALE | {"coupon": "a\\u00e9"}))
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    with suppress(Refused):
        codec.decode_data(codec.decode_envelope(bytes(value)), "orders")


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "a\0b"},
        {"shop": "\0"},
        {"subject": "o\0"},
        {"person": "p\0"},
        {"type": "\0"},
        {"data": line(product_id="p\0")},
        {"data": line(name="\0")},
        {"data": SALE | {"country": "\0"}},
        {"data": SALE | {"un\0known": 1}},
    ],
    ids=str,
)
def test_a_character_that_postgres_cannot_hold_is_refused(changes: dict[str, Any]) -> None:
    field, reason = refused(record(**changes))
    assert "\0" not in field
    assert "\0" not in reason


def test_a_backslash_before_u0000_is_no_such_character() -> None:
    sale = SALE | {"coupon": r"\u0000", "affiliation": "\\\\u0000"}
    data = codec.decode_data(codec.decode_envelope(record(data=sale)), "orders")
    assert isinstance(data, OrderCompleted)
    assert data.coupon == r"\u0000"


def test_an_event_dated_more_than_five_minutes_ahead_of_its_receipt_is_refused() -> None:
    ahead = AT + AHEAD
    in_time = codec.decode_envelope(record(time=ahead.isoformat()))
    assert isinstance(codec.decode_data(in_time, "orders"), OrderCompleted)
    late = record(time=(ahead + timedelta(microseconds=1)).isoformat())
    assert refused(late) == ("time", "more than five minutes ahead of its receipt")


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_an_event_from_before_any_shop_is_refused(time: str) -> None:
    assert refused(record(time=time))[0] == "time"


def event(**changes: Any) -> Event:
    return codec.decode_envelope(record(**changes))


def test_a_retry_has_the_fingerprint_of_its_first_copy() -> None:
    later = (AT + timedelta(seconds=7)).isoformat()
    own = (AT - timedelta(hours=1)).isoformat()
    assert codec.fingerprint(event()) == codec.fingerprint(event(time=later, received_at=later))
    assert codec.fingerprint(event(time=own)) == codec.fingerprint(
        event(time=own, received_at=later, source="retry", correlation_id="r", causation_id="r")
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "OrderPlaced"},
        {"subject": "o2"},
        {"data": line(quantity=4)},
        {"time": (AT - timedelta(seconds=1)).isoformat()},
        {"sealed": "c2VhbGVk"},
    ],
    ids=str,
)
def test_another_body_has_another_fingerprint(changes: dict[str, Any]) -> None:
    assert codec.fingerprint(event(**changes)) != codec.fingerprint(event())


def test_an_event_is_the_same_only_within_its_shop() -> None:
    assert codec.identity(event()) == codec.identity(event(data=line(quantity=4)))
    assert codec.identity(event()) != codec.identity(event(shop="other"))
    assert codec.identity(event(shop="a", id="b\x01c")) != codec.identity(
        event(shop="a\x01b", id="c")
    )


def test_fields_left_out_are_not_written() -> None:
    viewed = ProductListViewed(list_id="l")
    assert bytes(codec.raw(viewed)) == b'{"list_id":"l"}'
    assert msgspec.json.decode(codec.encode(event()))["data"] == SALE


# What was ever written is read for ever: a line for each type, as version 1 stood on the log.
PAST = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "fixtures/events-v1.jsonl").read_text().splitlines()
]


def test_every_type_of_version_1_is_among_the_events_of_the_past() -> None:
    assert {said["type"] for said in PAST} == {n for n, kind in VOCABULARY.items() if kind.version}


@pytest.mark.parametrize("said", PAST, ids=lambda said: said["type"])
def test_an_event_of_the_past_is_read_as_what_it_said(said: dict[str, Any]) -> None:
    event = codec.decode_envelope(json.dumps(said).encode())
    data = codec.decode_data(event, VOCABULARY[event.type].topic)
    assert json.loads(bytes(codec.raw(data))) == said["data"]
    assert {name: value for name, value in said.items() if name not in ("data", "version")} == {
        name: value for name, value in json.loads(codec.encode(event)).items() if name != "data"
    }
