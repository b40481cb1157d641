"""Redis, derived: the live figures, and a stream of what changes in them.

A hash per shop, metric and day holds them for four days. After a commit come absolute values,
never increments, each guarded in Lua by (generation, revision), so that a slow or a dead writer can
never set a figure back. The same script appends what it took to a capped stream. A lost Redis is
noticed by its missing epoch, and refilled.
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
import structlog
from redis.asyncio import Redis

from projections.read_model import Figure

logger = structlog.get_logger()

_STREAM_LENGTH = 20_000
_MOST_AT_ONCE = 2_000
_WATCH_SECONDS = 2.0  # how often a quiet worker looks whether Redis still has its figures

# KEYS: epoch, stream, then one hash per figure. ARGV: stream length, then per figure: field,
# generation, revision, JSON. A figure is held as `generation revision JSON`.
_PUBLISH = """
    if redis.call('EXISTS', KEYS[1]) == 0 then
        return -1
    end
    local changed = 0
    for i = 3, #KEYS do
        local a = (i - 3) * 4 + 2
        local field, generation, revision = ARGV[a], tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
        local held = redis.call('HGET', KEYS[i], field)
        local fresh = true
        if held then
            local g, r = string.match(held, '^(%d+) (%d+) ')
            g, r = tonumber(g), tonumber(r)
            fresh = generation > g or (generation == g and revision > r)
        end
        if fresh then
            local prefix = ARGV[a + 1] .. ' ' .. ARGV[a + 2] .. ' '
            redis.call('HSET', KEYS[i], field, prefix .. ARGV[a + 3])
            redis.call('EXPIRE', KEYS[i], 345600)
            redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', 'f', ARGV[a + 3])
            changed = changed + 1
        end
    end
    return changed
"""

_encoder = msgspec.json.Encoder(enc_hook=str)


class Snapshot(NamedTuple):
    """Live figures as they stood at a revision: (epoch, id of the last change in the stream)."""

    epoch: str
    stream_id: str
    figures: Sequence[Mapping[str, Any]]


class EpochLost(Exception):
    """Redis does not hold the figures: it is new, or was flushed. Refill it first."""


class LiveFigures:
    """The figures in Redis under one key prefix, for writers and readers alike."""

    def __init__(self, redis: "Redis", prefix: str, generations: Mapping[str, int]) -> None:
        self._redis = redis
        self._prefix = f"{prefix}live:"
        self._generations = generations
        self._publish = redis.register_script(_PUBLISH)
        self.stream = f"{self._prefix}changes"
        self.epoch_key = f"{self._prefix}epoch"

    def _hash(self, shop: str, metric: str, day: str) -> str:
        return f"{self._prefix}{shop}:{metric}:{day}"

    async def publish(self, figures: Sequence[Figure]) -> None:
        """Sets the figures that are newer than what is held. Raises EpochLost, RedisError."""
        if not figures and not await self._redis.exists(self.epoch_key):
            raise EpochLost
        for start in range(0, len(figures), _MOST_AT_ONCE):
            part = figures[start : start + _MOST_AT_ONCE]
            hashes = (self._hash(figure.shop, figure.metric, figure.day) for figure in part)
            keys = [self.epoch_key, self.stream, *hashes]
            arguments: list[str | bytes | int] = [_STREAM_LENGTH]
            for figure in part:
                generation = self._generations.get(figure.metric, 1)
                arguments += [figure.key, generation, figure.revision, encode(figure)]
            if await self._publish(keys=keys, args=arguments) == -1:
                raise EpochLost

    async def refill(self, figures: Sequence[Figure]) -> None:
        """Starts a new epoch where there is none, and sets all live figures from Postgres."""
        await self._redis.set(self.epoch_key, secrets.token_hex(8), nx=True)
        await self.publish(figures)

    async def clear(self) -> None:
        """Drops all that is held: Postgres has gone back behind it. Raises RedisError."""
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", self._prefix) + "*"
        found = [key async for key in self._redis.scan_iter(match=pattern, count=1000)]
        for start in range(0, len(found), _MOST_AT_ONCE):
            await self._redis.unlink(*found[start : start + _MOST_AT_ONCE])

    async def snapshot(self, shop: str, metric: str, days: Sequence[str]) -> Snapshot:
        """A metric's figures, in one step with the revision they stand at. Raises EpochLost."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.get(self.epoch_key)
        pipeline.xrevrange(self.stream, count=1)
        for day in days:
            pipeline.hvals(self._hash(shop, metric, day))
        epoch, last, *held = await pipeline.execute()
        if epoch is None:
            raise EpochLost
        figures = [
            msgspec.json.decode(value.split(b" ", 2)[2]) for values in held for value in values
        ]
        return Snapshot(epoch.decode(), last[0][0].decode() if last else "0-0", figures)


def encode(figure: Figure) -> bytes:
    """A figure as it goes to clients."""
    return _encoder.encode(
        {
            "metric": figure.metric,
            "shop": figure.shop,
            "id": figure.key,
            "revision": figure.revision,
            "value": figure.value,
        }
    )


class Publisher:
    """Sends figures to Redis behind the commits, the latest of each only, and never in their way.

    What it cannot send is not lost: on EpochLost and after errors it refills from Postgres.
    """

    def __init__(
        self, live: LiveFigures, read_all: Callable[[], Awaitable[Sequence[Figure]]]
    ) -> None:
        self._live = live
        self._read_all = read_all
        self._waiting: dict[tuple[str, str, str], Figure] = {}
        self._refill = True
        self._wake = asyncio.Event()

    def offer(self, figures: Sequence[Figure]) -> None:
        """Takes what a commit changed."""
        self._waiting.update({(f.metric, f.shop, f.key): f for f in figures})
        if figures:
            self._wake.set()

    def ask_refill(self) -> None:
        """Something may have been committed and not sent."""
        self._refill = True
        self._wake.set()

    async def run(self) -> None:
        """Sends, for ever."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _WATCH_SECONDS)
            self._wake.clear()
            figures, self._waiting = list(self._waiting.values()), {}
            refill, self._refill = self._refill, False
            try:
                if refill:
                    await self._live.refill(await self._read_all())
                await self._live.publish(figures)
            except EpochLost:
                self.ask_refill()
            except Exception as error:
                # Whatever it was: Postgres has the figures, and Redis is derived from it.
                logger.warning("Redis will be refilled", error=repr(error))
                await asyncio.sleep(0.5)
                self.ask_refill()
