"""Learners that are made anew, or told to pass by an event that they fail on."""

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest
from msgspec.structs import replace

from app.learner.rebuild import NotTold, forget, rebuild
from app.observed import Observed
from app.settings import Settings
from app.subscriptions import LEARNERS
from ml_online.journal import Overtaken
from ml_online.models import LearningFailed, Models
from projections import skips
from streams.batch import LogChanged, Partition
from streams.codec import Fact
from streams.log import Log
from tests.integration.test_learners import (
    KEY,
    PARTITIONS,
    WINDOW,
    Mortal,
    digest_of,
    ends,
    history,
    learn_all,
    store_of,
)
from tests.learning import baskets, facts, order_event, unordered

Pool = asyncpg.Pool


@pytest.fixture
def partitions() -> int:
    return PARTITIONS


@pytest.fixture
def topics() -> Sequence[str]:
    return ("orders", "days")


async def test_models_are_rebuilt_beside_those_that_learn_which_then_go_on_from_them(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = history()
    until = ends(await log.append(events))
    store = store_of(pool, Models(unordered()))
    await learn_all(settings, store, until)
    wrong = facts([order_event(5_000, ["never", "sold"])], PARTITIONS)[0]
    store.models.learn(replace(wrong, offset=store.models.next_offsets[part_of(wrong)] - 1))
    await store.snapshot()
    models = Models(unordered())
    told: list[tuple[int, int]] = []
    done = await rebuild(settings, LEARNERS, models, KEY, lambda *one: told.append(one))
    assert done.digest == models.digest() == digest_of(events) != store.models.digest()
    assert (done.records, done.before, told[-1]) == (371, None, (371, 371))
    async with asyncio.timeout(30):
        with pytest.raises(Overtaken):
            await store.watch_journal()
    await store.snapshot()  # as it does at its end
    more = [order_event(1_000 + n, ["p1", f"p{n}"]) for n in range(20)]
    again = Mortal(unordered())
    again.lives = 0  # it must not learn a thing to come up
    loaded = store_of(pool, again)
    await loaded.load(settings.servers.kafka, settings.prefix, WINDOW)
    assert again.digest() == done.digest
    again.lives = -1
    until = ends(await log.append(more))
    assert await learn_all(settings, loaded, until) == digest_of([*events, *more])
    await pool.execute("DELETE FROM learner_snapshots")
    anew = store_of(pool, Models(unordered()))
    await anew.load(settings.servers.kafka, settings.prefix, WINDOW)
    assert anew.models.digest() == digest_of([*events, *more])
    assert (await rebuild(settings, LEARNERS, Models(unordered()), KEY)).digest == (
        anew.models.digest()
    )


async def test_without_a_journal_there_is_nothing_to_rebuild_and_another_log_is_begun_anew(
    settings: Settings, pool: Pool, log: Log
) -> None:
    models = Models(unordered())
    with pytest.raises(NotTold):
        await rebuild(settings, LEARNERS, models, KEY)
    until = ends(await log.append(history()))
    digest = await learn_all(settings, store_of(pool, models), until)
    await pool.execute("UPDATE progress SET topic_id = gen_random_uuid() WHERE topic = 'orders'")
    with pytest.raises(LogChanged, match="recreated"):
        await rebuild(settings, LEARNERS, Models(unordered()), KEY)
    await forget(settings, LEARNERS)
    anew = store_of(pool, Models(unordered()))
    assert await learn_all(settings, anew, until) == digest


class Failing(Models):
    """Models with a bug that one event brings to light."""

    def learn(self, fact: Fact) -> None:
        if fact.event.id == "e7":
            raise LearningFailed("bought_together", fact) from KeyError("e7")
        super().learn(fact)


async def test_what_learners_fail_on_stands_until_it_is_mended_or_passed_by(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = baskets(40, seed=3)
    events = [replace(event, id=f"e{n}") for n, event in enumerate(events)]
    until = ends(await log.append(events))
    failing = store_of(pool, Failing(unordered()))
    with pytest.raises(LearningFailed) as failed:
        await learn_all(settings, failing, until)
    with pytest.raises(LearningFailed):
        async with Observed(failing, pool, LEARNERS).watched():
            await failing.load(settings.servers.kafka, settings.prefix, WINDOW)
    [stands] = await skips.standing(pool)
    fact = failed.value.fact
    assert (stands.group, stands.event_id, stands.position) == (
        LEARNERS,
        "e7",
        (fact.topic, fact.partition, fact.offset),
    )
    await skips.skip(pool, LEARNERS, stands.position, "a bug", "someone")
    assert await learn_all(settings, failing, until) == digest_of(
        [event for event in events if event.id != "e7"]
    )
    assert not await skips.standing(pool)


def part_of(fact: Fact) -> Partition:
    return Partition(fact.topic, fact.partition)
