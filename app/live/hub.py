"""This process's one reader of Redis' stream, which hands each change to whoever wants it.

A revision is `epoch:stream id`, the same in every API process. `since` resumes from one; an unknown
epoch or a trimmed id gets a new snapshot.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from redis.asyncio import Redis

from app.live import protocol
from app.live.client import Client
from app.live.protocol import Change, Message, StreamId, Subscription, stream_id
from projections.clock import ShopClock
from projections.live import MOST_ENTRIES, LiveFigures
from projections.read_model import LIVE
from streams.codec import AHEAD

logger = structlog.get_logger()

_RETRY_SECONDS = 0.5
_MOST_ENTRIES = MOST_ENTRIES // 2  # at once
_BEGINNING = "0-0"


class Hub:
    """The reader and all of its clients. Once `stopping` is set, every client is let go."""

    def __init__(self, redis: "Redis", live: LiveFigures, clock: ShopClock) -> None:
        self._redis = redis
        self._live = live
        self._clock = clock
        self._clients: set[Client] = set()
        self._epoch = ""
        self._last = _BEGINNING
        self.stopping = asyncio.Event()

    @property
    def revision(self) -> str:
        return f"{self._epoch}:{self._last}"

    def delta(self, name: str, last: StreamId, changes: Sequence[Change]) -> Message:
        """A message of changed figures."""
        return _delta(name, self._epoch, last, changes)

    @property
    def listeners(self) -> int:
        """How many listen here."""
        return len(self._clients)

    def add(self, client: Client) -> None:
        self._clients.add(client)

    def remove(self, client: Client) -> None:
        self._clients.discard(client)

    async def run(self) -> None:
        """Reads the stream for ever. Where changes were missed, every client begins anew."""
        while True:
            try:
                await self._read()
            except Exception as error:
                # Whatever it was, what came meanwhile was not seen: begin anew.
                logger.warning("live figures are away", error=repr(error))
                self._epoch = ""
                await asyncio.sleep(_RETRY_SECONDS)

    async def _read(self) -> None:
        if not self._epoch:
            self._epoch = await self._held_epoch()
            self._last = await self._end()
            if self._epoch:
                self._renew()
        before = self._last
        answer: Any = await self._redis.xread(
            {self._live.stream: before}, count=_MOST_ENTRIES, block=1000
        )
        entries = answer[0][1] if answer else []
        for found, fields in entries:
            if fields[b"epoch"].decode() != self._epoch:
                self._epoch = ""  # Redis was lost meanwhile: begin anew
                return
            self._last = found.decode()
            for change in protocol.changes(self._last, fields):
                self._dispatch(change)
        if not entries and await self._held_epoch() != self._epoch:
            self._epoch = ""
        # Fewer would have been cut only behind what the stream keeps, which is more than this.
        if len(entries) == _MOST_ENTRIES and before != _BEGINNING and await self._trimmed(before):
            self._renew()

    async def _held_epoch(self) -> str:
        held: Any = await self._redis.get(self._live.epoch_key)
        return (held or b"").decode()

    async def _trimmed(self, before: str) -> bool:
        """Whether the stream has been cut behind where we were: entries may be gone unread."""
        first: Any = await self._redis.xrange(self._live.stream, count=1)
        return not first or stream_id(first[0][0].decode()) > stream_id(before)

    async def _end(self) -> str:
        last: Any = await self._redis.xrevrange(self._live.stream, count=1)
        return last[0][0].decode() if last else _BEGINNING

    def _dispatch(self, change: Change) -> None:
        for client in self._clients:
            client.offer(change)

    def _renew(self) -> None:
        for client in self._clients:
            client.renew()

    async def opening(
        self, subscription: Subscription, since: str | None
    ) -> tuple[Message, StreamId]:
        """What a subscription begins with, and after which change it goes on: what it missed since
        a revision, else a snapshot. Raises EpochLost, RedisError."""
        missed = await self._missed(subscription, since) if since else None
        if missed is not None:
            return missed
        now = datetime.now(UTC)
        # An event may be dated a little ahead, and so may its day.
        days = [day.isoformat() for day in self._clock.days(now - LIVE, now + AHEAD)]
        snapshot = await self._live.snapshot(subscription.shop, subscription.metric, days)
        figures = [
            encoded for encoded in snapshot.figures if subscription.wants(protocol.figure(encoded))
        ]
        revision = f"{snapshot.epoch}:{snapshot.stream_id}"
        message = protocol.figures_message("snapshot", subscription.id, revision, figures)
        return message, stream_id(snapshot.stream_id)

    async def _missed(
        self, subscription: Subscription, since: str
    ) -> tuple[Message, StreamId] | None:
        """What changed after a revision; None where that cannot be told for certain."""
        epoch, _, last = since.partition(":")
        try:
            after = stream_id(last)
        except ValueError:
            return None
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.get(self._live.epoch_key)
        pipeline.xrange(self._live.stream, count=1)
        pipeline.xrange(self._live.stream, min=f"({after[0]}-{after[1]}")
        held, first, entries = await pipeline.execute()
        if (
            not held
            or held.decode() != epoch
            or (first and after < stream_id(first[0][0].decode()))
        ):
            return None
        changes = [
            change
            for found, fields in entries
            for change in protocol.changes(found.decode(), fields)
        ]
        latest = {c.figure.id: c for c in changes if subscription.wants(c.figure)}
        last_id = changes[-1].stream_id if changes else after
        return _delta(subscription.id, epoch, last_id, list(latest.values())), last_id


def _delta(name: str, epoch: str, last: StreamId, changes: Sequence[Change]) -> Message:
    revision = f"{epoch}:{last[0]}-{last[1]}"
    return protocol.figures_message("delta", name, revision, [c.encoded for c in changes])
