"""Redis, derived: absolute values, never set back, refilled from Postgres when they are lost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisGone

from app.settings import Settings
from projections.live import EpochLost, LiveFigures, Publisher, Snapshot
from projections.read_model import Figure

DAY = "2026-03-01"


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Redis]:
    """A database of its own: here it may be flushed."""
    found = Redis.from_url(settings.servers.redis, db=9)
    try:
        async with asyncio.timeout(90):
            yield found
    finally:
        await found.aclose()


@pytest.fixture
async def live(redis: Redis, settings: Settings) -> LiveFigures:
    """Figures of an epoch of their own."""
    found = LiveFigures(redis, settings.prefix, {"revenue": 2})
    await found.refill([])
    return found


def figure(key: str, revision: int, *, shop: str = "main", metric: str = "revenue") -> Figure:
    return Figure(metric, shop, DAY, key, {"gross": f"{revision}.00", "key": key}, revision)


def decoded(snapshot: Snapshot) -> list[dict[str, Any]]:
    return [msgspec.json.decode(figure) for figure in snapshot.figures]


async def held(live: LiveFigures, shop: str = "main", metric: str = "revenue") -> dict[str, int]:
    """The revision of each figure in a snapshot."""
    figures = decoded(await live.snapshot(shop, metric, [DAY]))
    for one in figures:
        assert one["value"]["gross"] == f"{one['revision']}.00"
    return {one["id"]: one["revision"] for one in figures}


async def pushed(redis: Redis, live: LiveFigures, after: str = "-") -> list[dict[str, Any]]:
    """What stands in the stream of changes, behind a revision."""
    entries: Any = await redis.xrange(live.stream, min=after if after == "-" else f"({after}")
    return [one for _, entry in entries for one in msgspec.json.decode(entry[b"figures"])]


async def test_a_figure_takes_a_newer_value_and_never_an_older(
    redis: Redis, live: LiveFigures
) -> None:
    await live.publish([figure("a", 3), figure("b", 1)])
    await live.publish([figure("a", 2), figure("a", 3), figure("b", 2)])
    assert await held(live) == {"a": 3, "b": 2}
    assert [(one["id"], one["revision"]) for one in await pushed(redis, live)] == [
        ("a", 3),
        ("b", 1),
        ("b", 2),
    ]


async def test_revisions_are_compared_as_numbers(live: LiveFigures) -> None:
    await live.publish([figure("a", 9)])
    await live.publish([figure("a", 10)])
    await live.publish([figure("a", 9)])
    assert await held(live) == {"a": 10}


async def test_a_rebuilt_table_begins_its_revisions_anew(
    redis: Redis, settings: Settings, live: LiveFigures
) -> None:
    await live.publish([figure("a", 50)])
    rebuilt = LiveFigures(redis, settings.prefix, {"revenue": 3})
    await rebuilt.publish([figure("a", 1)])
    assert await held(live) == {"a": 1}
    await live.publish([figure("a", 51)])  # a worker that still writes the old table
    assert await held(live) == {"a": 1}


async def test_many_figures_are_published_whole(live: LiveFigures) -> None:
    figures = [figure(f"k{n}", n + 1) for n in range(4_500)]
    await live.publish(figures)
    assert await held(live) == {f"k{n}": n + 1 for n in range(4_500)}


async def test_a_snapshot_is_of_one_shop_and_one_metric(live: LiveFigures) -> None:
    others = [figure("a", 2, shop="other"), figure("a", 3, metric="best_sellers")]
    await live.publish([figure("a", 1), *others])
    assert await held(live) == {"a": 1}
    assert await held(live, "other") == {"a": 2}
    assert await held(live, metric="best_sellers") == {"a": 3}
    assert (await live.snapshot("main", "revenue", ["2026-03-02"])).figures == []


async def test_a_snapshot_and_what_is_pushed_behind_it_are_all_that_happened(
    redis: Redis, live: LiveFigures
) -> None:
    """Taken at any moment, while figures change."""

    async def write() -> None:
        for revision in range(1, 60):
            await live.publish([figure("a", revision), figure("b", 2 * revision)])

    writing = asyncio.create_task(write())
    snapshots = []
    while not writing.done():
        snapshots.append(await live.snapshot("main", "revenue", [DAY]))
        await asyncio.sleep(0)
    await writing
    last = {"a": 59, "b": 118}
    assert len({snapshot.stream_id for snapshot in snapshots}) > 5
    for snapshot in snapshots:
        figures = {one["id"]: one["revision"] for one in decoded(snapshot)}
        for change in await pushed(redis, live, snapshot.stream_id):
            assert change["revision"] > figures.get(change["id"], 0)
            figures[change["id"]] = change["revision"]
        assert figures == last


async def test_an_empty_redis_takes_nothing_before_it_is_refilled(
    redis: Redis, live: LiveFigures
) -> None:
    await live.publish([figure("a", 1)])
    epoch = (await live.snapshot("main", "revenue", [DAY])).epoch
    await redis.flushdb()
    with pytest.raises(EpochLost):
        await live.publish([figure("a", 2)])
    with pytest.raises(EpochLost):
        await live.snapshot("main", "revenue", [DAY])
    assert await redis.dbsize() == 0
    await live.refill([figure("a", 2), figure("b", 1)])
    assert await held(live) == {"a": 2, "b": 1}
    assert (await live.snapshot("main", "revenue", [DAY])).epoch != epoch


async def test_a_refill_of_what_was_not_lost_keeps_the_epoch_and_the_newer_figures(
    live: LiveFigures,
) -> None:
    await live.publish([figure("a", 5)])
    before = await live.snapshot("main", "revenue", [DAY])
    await live.refill([figure("a", 4), figure("b", 1)])
    assert (await live.snapshot("main", "revenue", [DAY])).epoch == before.epoch
    assert await held(live) == {"a": 5, "b": 1}


class Table:
    """Postgres, for a publisher: what it would read there."""

    def __init__(self) -> None:
        self.figures: dict[str, Figure] = {}
        self.reads = 0
        self.failing: Exception | None = None

    async def read_all(self) -> Sequence[Figure]:
        self.reads += 1
        if self.failing is not None:
            failing, self.failing = self.failing, None
            raise failing
        return list(self.figures.values())

    def commit(self, publisher: Publisher, *figures: Figure) -> None:
        self.figures |= {one.key: one for one in figures}
        publisher.offer(figures)


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
async def publisher(live: LiveFigures, table: Table) -> AsyncIterator[Publisher]:
    found = Publisher(live, table.read_all)
    running = asyncio.create_task(found.run())
    yield found
    if running.done():
        running.result()
    running.cancel()


async def becomes(live: LiveFigures, wanted: dict[str, int], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while True:
            try:
                if await held(live) == wanted:
                    return
            except EpochLost:
                pass
            await asyncio.sleep(0.01)


async def test_what_was_committed_before_the_start_is_published_too(
    live: LiveFigures, table: Table, publisher: Publisher
) -> None:
    table.figures["old"] = figure("old", 7)
    table.commit(publisher, figure("a", 1))
    await becomes(live, {"old": 7, "a": 1})


async def test_a_flushed_redis_is_refilled_with_all_that_is_live(
    redis: Redis, live: LiveFigures, table: Table, publisher: Publisher
) -> None:
    table.commit(publisher, figure("a", 1), figure("b", 1))
    await becomes(live, {"a": 1, "b": 1})
    await redis.flushdb()
    table.commit(publisher, figure("b", 2))
    await becomes(live, {"a": 1, "b": 2})


async def test_a_flushed_redis_is_refilled_also_while_nothing_is_sold(
    redis: Redis, live: LiveFigures, table: Table, publisher: Publisher
) -> None:
    table.commit(publisher, figure("a", 1))
    await becomes(live, {"a": 1})
    await redis.flushdb()
    await becomes(live, {"a": 1}, seconds=10)


async def test_of_many_commits_in_a_row_the_last_values_are_published(
    live: LiveFigures, table: Table, publisher: Publisher
) -> None:
    for revision in range(1, 500):
        table.commit(publisher, figure("a", revision), figure(f"k{revision}", 1))
    await becomes(live, {"a": 499} | {f"k{n}": 1 for n in range(1, 500)})


@pytest.mark.parametrize("failing", [ConnectionResetError(), TimeoutError(), RedisGone()], ids=repr)
async def test_a_server_that_was_away_is_caught_up_with(
    live: LiveFigures, table: Table, publisher: Publisher, failing: Exception
) -> None:
    table.commit(publisher, figure("a", 1))
    await becomes(live, {"a": 1})
    table.failing = failing
    publisher.ask_refill()
    async with asyncio.timeout(30):
        while table.failing:
            await asyncio.sleep(0.01)
    table.commit(publisher, figure("a", 2))
    await becomes(live, {"a": 2})
    assert table.reads >= 3


async def test_a_redis_that_refuses_is_refilled_when_it_takes_again(
    redis: Redis,
    live: LiveFigures,
    table: Table,
    publisher: Publisher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table.commit(publisher, figure("a", 1))
    await becomes(live, {"a": 1})
    refused = asyncio.Event()

    async def refuse(*_: object) -> None:
        refused.set()
        raise RedisGone

    with monkeypatch.context() as patched:
        patched.setattr(live, "publish", refuse)
        table.commit(publisher, figure("a", 2))
        async with asyncio.timeout(30):
            await refused.wait()
    await becomes(live, {"a": 2})
