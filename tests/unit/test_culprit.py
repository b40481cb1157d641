"""Which event a read model fails on, wherever in a batch it is and however it makes it fail."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from projections.clock import ShopClock
from projections.culprit import first_failing
from projections.read_model import Figure, Folded, ReadModel, Setting, Step, Transaction
from streams.batch import Batch, Part, Partition
from streams.codec import Fact
from tests.sales import facts, said

SETTING = Setting(ShopClock(ZoneInfo("UTC")), datetime(2026, 1, 1, tzinfo=UTC))


async def nothing(_: Transaction, __: Sequence[Any], ___: Setting) -> Sequence[Figure]:
    return []


def ids(given: Sequence[Any], _: Mapping[Any, Any], __: Setting) -> Folded:
    return Folded(changes=[fact.event.id for fact in given])


def raising(bad: frozenset[str], most: int) -> ReadModel:
    """Fails on these ids, and on more than so many of any."""

    def fold(given: Sequence[Any], _: Mapping[Any, Any], __: Setting) -> Folded:
        if len(given) > most or bad & set(given):
            raise ZeroDivisionError
        return Folded()

    return ReadModel("raising", 1, fold, nothing)


FIRST = ReadModel("ids", 1, ids, nothing)


def batch(sizes: Sequence[int]) -> Batch:
    """Parts of so many events each; ids count through."""
    parts = []
    for number, size in enumerate(sizes):
        before = sum(sizes[:number])
        read: list[Fact] = facts(said("OrderPaid", event_id=str(before + n)) for n in range(size))
        parts.append(
            Part(Partition("orders", number), 0, size, read, (), (), last_digest=0, until_ms=0)
        )
    return Batch(parts, seek=1)


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=4),
    st.sets(st.integers(0, 47)),
    st.integers(0, 50),
)
def test_it_is_the_first_that_cannot_be_folded(sizes: list[int], bad: set[int], most: int) -> None:
    total = sum(sizes)
    steps = [
        Step(FIRST, topics=("orders",)),
        Step(raising(frozenset(map(str, bad)), most), of="ids"),
    ]
    found = first_failing(steps, "raising", batch(sizes), {}, SETTING)
    wrong = [n for n in range(total) if n in bad or n + 1 > most]
    assert (found.event.id if found else None) == (str(wrong[0]) if wrong else None)


def test_a_read_model_that_fails_on_nothing_at_all_names_nothing() -> None:
    steps = [Step(FIRST, topics=("orders",)), Step(raising(frozenset(), -1), of="ids")]
    assert first_failing(steps, "raising", Batch([], seek=1), {}, SETTING) is None
