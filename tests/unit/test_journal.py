"""The journal's arithmetic, and snapshots that are believed only as they were written."""

import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.subscriptions import LEARNERS, learners_of
from ml_online import journal, river_state, snapshots
from ml_online.journal import Entry
from ml_online.models import Heard, LearningFailed, Models
from ml_online.sales_forecast import SALES_FORECAST
from ml_online.snapshots import Refused
from streams.batch import Partition
from tests.learning import baskets, day_event, facts, weekly

ORDERS = [Partition("orders", number) for number in range(3)]
KEY = b"a key"


def entries(*spans: tuple[int, int, int]) -> list[Entry]:
    return [Entry(n, ORDERS[p], first, last) for n, (p, first, last) in enumerate(spans, 1)]


def test_a_journal_leads_from_where_its_entries_begin_to_where_they_end() -> None:
    found = entries((0, 0, 5), (1, 0, 2), (0, 5, 9))
    end = {ORDERS[0]: 9, ORDERS[1]: 2, ORDERS[2]: 0}
    assert journal.leads(found, 0, {}, end)
    assert journal.leads(found[1:], 1, {ORDERS[0]: 5}, end)
    assert not journal.leads(found[1:], 1, {}, end)  # its beginning is missing
    assert not journal.leads(found[:2], 0, {}, end)  # its end is
    assert not journal.leads([found[0], found[2]], 0, {}, {ORDERS[0]: 9})  # one between
    assert not journal.leads(found, 0, {}, {ORDERS[0]: 9})  # it knows of more than was read
    assert not journal.leads(entries((0, 0, 5), (0, 4, 9)), 0, {}, {ORDERS[0]: 9})


@given(
    spans=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 50)), min_size=1, max_size=20),
    most=st.integers(1, 40),
)
def test_steps_hold_every_record_once_in_order_and_no_more_than_allowed(
    spans: list[tuple[int, int]], most: int
) -> None:
    ends, told = [0, 0, 0], []
    for number, length in spans:
        told.append((number, ends[number], ends[number] + length))
        ends[number] += length
    found = entries(*told)
    steps = list(journal.in_steps(found, most))
    assert all(0 < sum(one.next - one.first for one in step) <= most for step in steps)
    pieces = [piece for step in steps for piece in step]
    assert [(one.partition, n) for one in found for n in range(one.first, one.next)] == [
        (one.partition, n) for one in pieces for n in range(one.first, one.next)
    ]
    assert [one.seq for one in pieces if one.seq] == [one.seq for one in found]
    end = {ORDERS[number]: end for number, end in enumerate(ends)}
    assert journal.leads(journal.without_order(end), 0, {}, end)


def some_models() -> Models:
    models = Models(learners_of(LEARNERS))
    days = [day_event(number, values) for number, values in enumerate(weekly(20))]
    for fact in facts([*days, *baskets(50)]):
        models.learn(fact)
    models.passed(Partition("days", 0), 20)
    return models


def test_a_snapshot_brings_back_the_same_bits() -> None:
    models, others = some_models(), Models(learners_of(LEARNERS))
    snapshots.restore(others, snapshots.take(models, LEARNERS, KEY), LEARNERS, KEY)
    assert others.digest() == models.digest() != Models(learners_of(LEARNERS)).digest()
    assert (others.next_offsets, others.seq) == (models.next_offsets, models.seq)


@pytest.mark.parametrize("part", ["header", "body", "signature"])
def test_a_snapshot_that_was_tampered_with_is_refused(part: str) -> None:
    snapshot = snapshots.take(some_models(), LEARNERS, KEY)
    for at in (0, -1):
        changed = bytearray(getattr(snapshot, part))
        changed[at] ^= 1
        models = Models(learners_of(LEARNERS))
        before = models.digest()
        with pytest.raises(Refused, match="signature"):
            snapshots.restore(models, replace(snapshot, **{part: bytes(changed)}), LEARNERS, KEY)
        assert models.digest() == before


def test_a_snapshot_of_another_key_group_place_or_code_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    snapshot = snapshots.take(some_models(), LEARNERS, KEY)
    models = Models(learners_of(LEARNERS))

    def refused(reason: str, **changed: Any) -> None:
        given = {"models": models, "snapshot": snapshot, "group": LEARNERS, "key": KEY}
        with pytest.raises(Refused, match=reason):
            snapshots.restore(**{**given, **changed})

    refused("signature", key=b"another")
    refused("others", group="others")
    refused("learners 7,", snapshot=replace(snapshot, seq=7))
    newer = replace(SALES_FORECAST, version=SALES_FORECAST.version + 1)
    others = [one for one in learners_of(LEARNERS) if one.family.name != newer.name]
    refused("sales_forecast", models=Models([Heard(newer, ["days"]), *others]))
    monkeypatch.setattr(snapshots, "version", lambda _: "0.99.0")
    refused(r"River 0\.26")


def test_a_signed_snapshot_that_cannot_be_read_is_refused_too() -> None:
    snapshot = snapshots.take(some_models(), LEARNERS, KEY)
    for content in (b"no compressed body", zlib.compress(b'["sales_forecast",["shop"]]')):
        signature = snapshots._sign(KEY, snapshot.header, content)
        models = Models(learners_of(LEARNERS))
        fresh = models.digest()
        with pytest.raises(Refused, match="cannot be read"):
            snapshots.restore(
                models, replace(snapshot, body=content, signature=signature), LEARNERS, KEY
            )
        assert models.digest() == fresh


def test_a_learner_that_fails_names_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    models = Models(learners_of(LEARNERS))
    (fact,) = facts([day_event(1, {"": 1})])
    forecaster = models.learners[SALES_FORECAST.name]
    monkeypatch.setattr(type(forecaster), "learn", lambda *_: 1 // 0)
    with pytest.raises(LearningFailed, match=f"sales_forecast failed on DayClosed {fact.event.id}"):
        models.learn(fact)


def test_only_plain_attributes_of_a_model_are_written_down() -> None:
    class Model:
        def __init__(self) -> None:
            self.odd = object()

    with pytest.raises(TypeError, match="object"):
        river_state.dump(Model())
