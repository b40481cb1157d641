"""Sending to the API: as one lives, at a gentle rate, or all at once."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any
from zlib import crc32

import httpx2
import orjson

from loadtests.simulator.visits import happenings

_BATCH = 500
_LANES = 4
_JSON = {"Content-Type": "application/json"}
_MOST_BEHIND_SECONDS = 1.0
_TIMEOUT_SECONDS = 15.0
_RETRY_SECONDS = (0.25, 0.5, 1.0, 2.0, 5.0)


class Refused(Exception):
    """The API will not take what the simulator sends; the message says why."""


async def simulate(
    api: str,
    key: str,
    *,
    rate: float,
    seed: int,
    run_id: str,
    limit: int | None = None,
    on_sent: Callable[[int], None] = lambda _: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> int:
    """Plays the shop against a running API, `rate` events a second, until `limit`; how many.

    The same seed plays the same shop; another `run_id` gives every event and order another id.
    `on_sent` hears how many were acknowledged just now. Who was erased meanwhile does not come any
    more. Raises Refused where another event is refused.
    """
    events = itertools.islice(enumerate(happenings(Random(seed), f"{seed}-{run_id}"), 1), limit)
    gaps = Random(seed)
    sent, due = 0, clock()
    async with httpx2.AsyncClient(
        headers={"Authorization": f"Bearer {key}"}, timeout=_TIMEOUT_SECONDS, transport=transport
    ) as client:
        while True:
            # What an outage has held back is dropped: the shop goes on, it does not catch up.
            due = max(due, clock() - _MOST_BEHIND_SECONDS)
            count = 0
            while due <= clock() and count < _BATCH:
                due += gaps.expovariate(rate)
                count += 1
            if not count:
                await sleep(due - clock())
                continue
            stamp = now().isoformat()
            batch = [
                {"id": f"sim-{seed}-{run_id}-{number}", "time": stamp, **happening}
                for number, happening in itertools.islice(events, count)
            ]
            if not batch:
                return sent
            acknowledged = len(await post(client, api, batch, sleep, passing_over=_is_erased))
            sent += len(batch)
            on_sent(acknowledged)


async def send_all(
    api: str,
    key: str,
    events: Sequence[Mapping[str, Any]],
    *,
    rate: float | None = None,
    on_sent: Callable[[int], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> dict[str, int]:
    """Sends events in this order, `rate` a second or as fast as they are taken; the last offset
    of each partition (`orders:3`). Raises Refused.

    Events about one subject go through one lane, a batch after the other, so that their order is
    kept; the lanes go on side by side.
    """
    last: dict[str, int] = {}
    waiting: list[asyncio.Queue[Mapping[str, Any] | None]] = [
        asyncio.Queue(_BATCH) for _ in range(_LANES)
    ]

    async def lane(queue: asyncio.Queue[Mapping[str, Any] | None]) -> None:
        while batch := await _next_batch(queue):
            for position in await post(client, api, batch, sleep):
                partition, _, offset = position.rpartition(":")
                last[partition] = max(int(offset), last.get(partition, -1))
            on_sent(len(batch))

    limits = httpx2.Limits(max_connections=_LANES)
    async with httpx2.AsyncClient(
        headers={"Authorization": f"Bearer {key}"},
        timeout=_TIMEOUT_SECONDS,
        transport=transport,
        limits=limits,
    ) as client:
        try:
            async with asyncio.TaskGroup() as tasks:
                for queue in waiting:
                    tasks.create_task(lane(queue))
                begun = clock()
                for number, event in enumerate(events):
                    if rate and (ahead := begun + number / rate - clock()) > 0:
                        await sleep(ahead)
                    await waiting[crc32(event["subject"].encode()) % _LANES].put(event)
                for queue in waiting:
                    await queue.put(None)
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
    return dict(sorted(last.items()))


async def _next_batch(
    queue: "asyncio.Queue[Mapping[str, Any] | None]",
) -> list[Mapping[str, Any]]:
    """All that waits in a lane, up to the size of a batch; nothing at its end."""
    batch: list[Mapping[str, Any]] = []
    while not batch or (not queue.empty() and len(batch) < _BATCH):
        event = await queue.get()
        if event is None:
            queue.put_nowait(None)  # for the next call
            break
        batch.append(event)
    return batch


async def post(
    client: httpx2.AsyncClient,
    api: str,
    events: Sequence[Mapping[str, Any]],
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    passing_over: Callable[[Mapping[str, Any]], bool] = lambda _: False,
) -> list[str]:
    """Sends a batch until it is acknowledged, the same ids each time; its positions, without those
    of events whose rejection may be passed over.

    Raises Refused.
    """
    url, body = f"{api}/v1/events", orjson.dumps({"events": events})
    for seconds in itertools.chain(_RETRY_SECONDS, itertools.repeat(_RETRY_SECONDS[-1])):
        try:
            answer = await client.post(url, content=body, headers=_JSON)
        except (httpx2.NetworkError, httpx2.TimeoutException, httpx2.RemoteProtocolError):
            await sleep(seconds)
            continue
        if answer.status_code in (429, 503):
            await sleep(_retry_after(answer, seconds))
            continue
        told = answer.json() if answer.status_code in (202, 422) else {}
        found = told.get("rejected") or told.get("errors") or []
        rejected = [one for one in found if not passing_over(one)]
        if answer.status_code != 202 and (rejected or not found):
            raise Refused(f"{url} answered {answer.status_code}: {answer.text[:500]}")
        if rejected:
            first = rejected[0]
            raise Refused(
                f"{len(rejected)} of {len(events)} events were rejected, the first because "
                f"{first['field']}: {first['reason']} ({events[first['index']]})"
            )
        return [one["position"] for one in told.get("accepted", ())]
    raise AssertionError


def _is_erased(rejection: Mapping[str, Any]) -> bool:
    return str(rejection["reason"]).startswith("erased:")


def _retry_after(answer: httpx2.Response, otherwise: float) -> float:
    told = answer.headers.get("retry-after", "")
    return float(told) if told.isdecimal() else otherwise
