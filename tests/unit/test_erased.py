"""Erased names: no reader hears them, and nothing else is heard otherwise."""

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest

from streams import codec
from streams.codec import Fact
from streams.erased import Erased, digest_of, is_erased, pseudonym_of
from streams.events import (
    AccountRegistered,
    Context,
    Data,
    Event,
    OrderCompleted,
    PersonErased,
    ProductViewed,
)

KEY = b"k" * 32
AT = datetime(2026, 3, 1, tzinfo=UTC)
ERASED = Erased(KEY, {"main": {digest_of(KEY, "main", name) for name in ("ada", "cookie")}})
ADA = pseudonym_of(digest_of(KEY, "main", "ada"))
COOKIE = pseudonym_of(digest_of(KEY, "main", "cookie"))


def fact(data: Data, topic: str, subject: str, shop: str = "main", **told: Any) -> Fact:
    event = Event(
        id="e",
        type=type(data).__name__,
        shop=shop,
        subject=subject,
        time=AT,
        received_at=AT,
        data=codec.raw(data),
        **told,
    )
    return Fact(topic, 0, 0, event, data)


VIEW = ProductViewed(product_id="ada")


def test_names_are_told_otherwise_wherever_they_are_names() -> None:
    viewed = ERASED.fact(fact(VIEW, "interactions", "cookie", person="ada"))
    assert (viewed.event.subject, viewed.event.person) == (COOKIE, ADA)
    assert viewed.data == VIEW  # a product of that name is a product
    sale = OrderCompleted(order_id="ada", products=[])
    sold = ERASED.fact(
        fact(sale, "orders", "ada", person="ada", context=Context(visitor="cookie", country="DE"))
    )
    assert (sold.event.subject, sold.event.person) == ("ada", ADA)
    assert sold.event.context == Context(visitor=COOKIE, country="DE")
    made = ERASED.fact(fact(AccountRegistered(user_id="ada"), "customers", "ada", person="ada"))
    assert made.data == AccountRegistered(user_id=ADA)


@pytest.mark.parametrize(
    "other",
    [
        fact(VIEW, "interactions", "cookie", person="ada", shop="second"),
        fact(VIEW, "interactions", "cookie-2", person="adam"),
        fact(PersonErased(user_id="ada"), "customers", "ada", person="ada"),
    ],
)
def test_others_are_heard_as_they_are(other: Fact) -> None:
    assert ERASED.fact(other) is other


def test_before_anybody_is_erased_nothing_is_looked_at() -> None:
    facts = [fact(VIEW, "interactions", "cookie")]
    assert Erased().facts(facts) is facts


def test_a_pseudonym_is_known_as_one_and_is_not_erased_again() -> None:
    assert is_erased(ADA)
    assert not is_erased("ada")
    assert not is_erased(None)
    assert ERASED.pseudonym("main", ADA) is None
    assert ADA != COOKIE
    assert digest_of(b"another key", "main", "ada") != digest_of(KEY, "main", "ada")
    assert hashlib.sha256(b"ada").hexdigest()[:32] not in ADA


@pytest.mark.parametrize(
    ("record", "concerns"),
    [
        (b'{"shop": "main", "person": "ada"}', True),
        (b'{"shop": "main", "subject": "cookie", "type": 5}', True),
        (b'{"shop": "main", "context": {"visitor": "cookie"}}', True),
        (b'{"shop": "main", "data": {"user_id": "ada"}}', True),
        (b'{"shop": "second", "person": "ada"}', False),
        (b'{"shop": "main", "person": "adam"}', False),
        (b"no event", False),
        (None, False),
    ],
)
def test_a_record_that_is_no_event_may_name_somebody(record: bytes | None, concerns: bool) -> None:
    assert ERASED.concerns(record) is concerns
