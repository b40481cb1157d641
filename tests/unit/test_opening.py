"""What persons wrote, opened for those that learn from it; and not, once their key is gone."""

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from app.learner.opening import opened
from ml_online.sentiment import SENTIMENT
from streams.codec import Fact
from streams.events import ProductReviewed
from tests.learning import facts, order_event, review_event

KEYS = {person: bytes([number]) * 32 for number, person in enumerate(("ada", "bob"), start=1)}


def sealed(number: int, person: str, text: str, key: bytes) -> Fact:
    """A review as it stands on the log."""
    event = review_event(number, None, 4)
    plain = msgspec.json.encode({"review_body": text})
    box = base64.b64encode(AESSIV(key).encrypt(plain, [event.id.encode()])).decode()
    (fact,) = facts([msgspec.structs.replace(event, person=person, sealed=box)])
    return fact


class _Keys:
    """Postgres, as far as it is asked."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []

    async def fetch(self, _query: str, shops: Sequence[str], names: Sequence[str]) -> list[Any]:
        self.asked.append(names)
        assert len(shops) == len(names)
        return [
            {"shop": shop, "person": name, "key": KEYS[name]}
            for shop, name in zip(shops, names, strict=True)
            if name in KEYS
        ]

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Any]:
        yield self


def _said(fact: Fact) -> str | None:
    assert isinstance(fact.data, ProductReviewed)
    return fact.data.review_body


async def test_a_chunk_is_opened_with_one_query() -> None:
    keys = _Keys()
    told = [
        sealed(1, "ada", "good", KEYS["ada"]),
        sealed(2, "bob", "bad", KEYS["bob"]),
        sealed(3, "ada", "so so", KEYS["ada"]),
        *facts([order_event(4, ["p"]), review_event(5, None, 3)]),
    ]
    found = await opened(told, SENTIMENT.opened, keys.connected)
    assert [_said(fact) for fact in found[:3]] == ["good", "bad", "so so"]
    assert [fact.event.sealed for fact in found] == [None] * 5
    assert list(found[3:]) == told[3:]
    assert keys.asked == [["ada", "bob"]]
    assert _said(told[0]) is None  # what was read is as it was


async def test_what_was_sealed_with_another_key_or_with_none_that_stands_stays_so() -> None:
    keys = _Keys()
    told = [
        sealed(1, "gone", "my address is", b"\7" * 32),
        sealed(2, "bob", "was ada's", KEYS["ada"]),
    ]
    assert list(await opened(told, SENTIMENT.opened, keys.connected)) == told


async def test_where_nothing_is_sealed_nobody_is_asked() -> None:
    keys = _Keys()
    told = facts([order_event(1, ["p"]), review_event(2, None, 5)])
    assert await opened(told, SENTIMENT.opened, keys.connected) is told
    more = [sealed(3, "ada", "good", KEYS["ada"])]
    assert await opened(more, ("ReviewEdited",), keys.connected) is more
    assert keys.asked == []
