"""All read models of the sales group: any shuffle, repetition and lateness of a stream ends as the
stream in order does.

What a run of chaos sends is read here as from the log: encoded, decoded, deduplicated, folded by
every step of the group, in batches of any size.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from random import Random
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadtests.chaos.traffic import Disorder, traffic
from projections import orders
from projections.clock import ShopClock
from projections.read_model import Setting
from projections.store import Prepared
from streams import codec
from streams.batch import Batch, Partition
from streams.dedupe import Window
from streams.events import Event
from streams.records import decode_part
from streams.topics import key_of, partition_of
from tests.simulated import SimulatedLog, SimulatedStore, Sums, VirtualLoop

NOW = datetime(2026, 11, 1, 0, 20, tzinfo=UTC)
PARTITIONS = 2
IN_ORDER = Disorder(late=0.3, duplicated=0, contradicted=0, reach=0)


def stream(seed: int, count: int) -> list[Event]:
    """The lives of orders as they happened, some of it days ago."""
    events = []
    for told in islice(traffic("t", "main", seed, NOW, IN_ORDER), count):
        more = {
            "subject": told["data"]["order_id"],
            "received_at": NOW.isoformat(),
            "time": told.get("time") or NOW.isoformat(),
        }
        events.append(codec.decode_envelope(json.dumps(told | more).encode()))
    return sorted(events, key=lambda event: (event.time, event.id))


def read(events: Sequence[Event], zone: str, sizes: Sequence[int]) -> SimulatedStore:
    """What becomes of a log of these events, read in batches of these sizes, over and over."""
    log = SimulatedLog(PARTITIONS)
    for event in events:
        key = key_of(event)
        log.append(partition_of(key, PARTITIONS), key, codec.encode(event))
    store = SimulatedStore(Setting(ShopClock(ZoneInfo(zone)), NOW))
    windows = [Window(10_000) for _ in range(PARTITIONS)]
    loop = VirtualLoop()
    at, turn = [0] * PARTITIONS, 0
    while any(at[n] < len(log.records[n]) for n in range(PARTITIONS)):
        parts = []
        for n in range(PARTITIONS):
            end = min(len(log.records[n]), at[n] + sizes[turn % len(sizes)])
            if at[n] < end:
                records = log.stretch(n, at[n], end)
                parts.append(decode_part(Partition("orders", n), records, windows[n], PARTITIONS))
                at[n] = end
        loop.run_until_complete(_apply(store, Batch(parts, 1)))
        turn += 1
    loop.close()
    return store


async def _apply(store: SimulatedStore, batch: Batch) -> None:
    prepared: Prepared = await store.prepare(batch)
    await store.commit(prepared)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 1_000_000),
    count=st.integers(1, 150),
    repeated=st.floats(0, 1),
    late=st.floats(0, 1),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"]),
)
def test_every_read_model_ends_as_if_all_had_come_in_order_and_once(
    seed: int, count: int, repeated: float, late: float, sizes: list[int], zone: str
) -> None:
    ordered = stream(seed, count)
    random = Random(seed)
    again = [event for event in ordered if random.random() < repeated]
    places = [(n + late * count * random.random(), event) for n, event in enumerate(ordered)]
    places += [(random.uniform(0, 2 * count), event) for event in again]
    disordered = [event for _, event in sorted(places, key=lambda place: place[0])]

    once, found = read(ordered, zone, [count]), read(disordered, zone, sizes)
    assert found.states == once.states
    assert found.status == once.status
    assert [
        orders.describe(shop, order_id, state) for (shop, order_id), state in found.states.items()
    ] == [orders.describe(key[0], key[1], once.states[key]) for key in found.states]
    assert _not_zero(found.revenue) == _not_zero(once.revenue)
    assert _not_zero(found.best_sellers) == _not_zero(once.best_sellers)
    # A day is noted where it has changed for a while, too: it is told only where figures differ.
    assert once.days <= found.days
    assert not found.quarantine


def _not_zero(sums: Sums) -> Sums:
    return {key: row for key, row in sums.items() if any(row)}
