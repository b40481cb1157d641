"""Events of earlier versions are read as the present one, whatever lies between."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from streams import codec, upcast
from streams.codec import Refused
from streams.events import VOCABULARY, OrderPaid
from streams.upcast import Fields, NotLifted, lift
from tests.sales import said

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def third_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """OrderPaid as if it had said `order` first, then cents, before it said what it says."""

    def named(fields: Fields) -> Fields:
        return {"order_id": fields.pop("order"), **fields}

    def in_units(fields: Fields) -> Fields:
        return {**fields, "amount": Decimal(fields["amount"]) / 100}

    known = {("OrderPaid", 1): named, ("OrderPaid", 2): in_units}
    monkeypatch.setattr(upcast, "UPCASTERS", known)
    monkeypatch.setitem(VOCABULARY, "OrderPaid", replace(VOCABULARY["OrderPaid"], version=3))


def paid(version: int, **data: Any) -> OrderPaid:
    event = replace(said("OrderPaid"), version=version, data=Raw(json.dumps(data).encode()))
    found = codec.decode_data(event, "orders")
    assert isinstance(found, OrderPaid)
    return found


@pytest.mark.usefixtures("third_version")
def test_each_version_is_lifted_through_all_that_follow() -> None:
    present = paid(3, order_id="o1", amount="12.34")
    assert paid(2, order_id="o1", amount=1234) == present
    assert paid(1, order="o1", amount=1234) == present


@pytest.mark.usefixtures("third_version")
def test_amounts_are_not_rounded_on_the_way() -> None:
    exact = "123456789012.3401"
    event = replace(said("OrderPaid"), version=2)
    lifted = lift("OrderPaid", 2, 3, Raw(b'{"order_id":"o1","amount":12345678901234.01}'))
    found = codec.decode_data(replace(event, version=3, data=lifted), "orders")
    assert found == paid(3, order_id="o1", amount=exact)


@pytest.mark.usefixtures("third_version")
@pytest.mark.parametrize(
    ("version", "data"),
    [
        (4, {"order_id": "o1"}),  # of a newer code than this
        (1, {"order_id": "o1"}),  # never a valid version 1
        (2, {"order_id": "o1", "amount": "much"}),
        (2, ["o1"]),
    ],
)
def test_what_cannot_be_lifted_is_refused_by_its_version(version: int, data: Any) -> None:
    event = replace(said("OrderPaid"), version=version, data=Raw(json.dumps(data).encode()))
    with pytest.raises(Refused) as refused:
        codec.decode_data(event, "orders")
    assert refused.value.field == "version"


def test_a_version_without_a_way_to_the_present_one_is_not_lifted() -> None:
    with pytest.raises(NotLifted):
        lift("OrderPaid", 1, 2, Raw(b"{}"))


def test_every_earlier_version_has_an_upcaster_and_a_stored_event() -> None:
    for name, kind in VOCABULARY.items():
        for version in range(1, kind.version + 1):
            lines = (FIXTURES / f"events-v{version}.jsonl").read_bytes().splitlines()
            stored = {one["type"]: one for one in map(msgspec.json.decode, lines)}
            assert stored[name]["version"] == version
            event = codec.decode_envelope(msgspec.json.encode(stored[name]))
            assert isinstance(codec.decode_data(event, kind.topic), kind.data)
            assert version == kind.version or (name, version) in upcast.UPCASTERS
