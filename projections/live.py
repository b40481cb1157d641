"""Redis, derived: the live figures, and a stream of what changes in them.

A hash per shop, metric and day holds them for four days. After a commit come absolute values,
never increments, each guarded in Lua by (generation, revision), so that a slow or a dead writer can
never set a figure back. The same script appends what it took to a capped stream, as one entry: what
was committed together is seen together. A lost Redis is noticed by its missing epoch, and refilled.
"""

import asyncio
import glob
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import structlog

from projections.read_model import Figure
from streams.crash_points import reached

if TYPE_CHECKING:
    from redis.asyncio import Redis  # slow to load, and who folds anew needs none

logger = structlog.get_logger()

MOST_ENTRIES = 2_000
"""What the stream keeps at least; of a busy shop some ten seconds of changes."""
_MOST_AT_ONCE = 200  # figures in one entry
_WATCH_SECONDS = 2.0  # how often a quiet worker looks whether Redis still has its figures

# KEYS: epoch, stream, then the hashes. ARGV: stream length; the figures in MessagePack, each as
# (number of its hash, field, generation, revision, JSON). A figure is held as `generation revision
# JSON`. What was taken of them is one entry of the stream: epoch and a JSON array.
_PUBLISH = """
    local epoch = redis.call('GET', KEYS[1])
    if not epoch then
        return -1
    end
    local taken = {}
    for _, figure in ipairs(cmsgpack.unpack(ARGV[2])) do
        local key, field, generation, revision, json = KEYS[figure[1] + 2], unpack(figure, 2)
        local held = redis.call('HGET', key, field)
        local fresh = true
        if held then
            local g, r = string.match(held, '^(%d+) (%d+) ')
            g, r = tonumber(g), tonumber(r)
            fresh = generation > g or (generation == g and revision > r)
        end
        if fresh then
            local value = string.format('%.0f %.0f %s', generation, revision, json)
            redis.call('HSET', key, field, value)
            taken[#taken + 1] = json
        end
    end
    if #taken > 0 then
        for i = 3, #KEYS do
            redis.call('EXPIRE', KEYS[i], 345600)
        end
        local array = '[' .. table.concat(taken, ',') .. ']'
        redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', 'epoch', epoch, 'figures', array)
    end
    return #taken
"""

# KEYS: a hash of figures. ARGV: the least generation that holds. Says how many were taken out.
_RETIRE = """
    local gone, held = 0, redis.call('HGETALL', KEYS[1])
    for i = 1, #held, 2 do
        if tonumber(string.match(held[i + 1], '^(%d+) ')) < tonumber(ARGV[1]) then
            gone = gone + redis.call('HDEL', KEYS[1], held[i])
        end
    end
    return gone
"""

_encoder = msgspec.json.Encoder(enc_hook=str)


class Snapshot(NamedTuple):
    """Live figures as they stood at a revision: (epoch, id of the last change in the stream). Each
    is the JSON that clients get."""

    epoch: str
    stream_id: str
    figures: Sequence[bytes]


class EpochLost(Exception):
    """Redis does not hold the figures: it is new, or was flushed. Refill it first."""


class LiveFigures:
    """The figures in Redis under one key prefix, for writers and readers alike."""

    def __init__(self, redis: "Redis", prefix: str, generations: Mapping[str, int]) -> None:
        self._redis = redis
        self._prefix = f"{prefix}live:"
        self._generations = generations
        self._publish = redis.register_script(_PUBLISH)
        self._retire = redis.register_script(_RETIRE)
        self.stream = f"{self._prefix}changes"
        self.epoch_key = f"{self._prefix}epoch"

    def _hash(self, shop: str, metric: str, day: str) -> str:
        return f"{self._prefix}{shop}:{metric}:{day}"

    async def publish(self, figures: Sequence[Figure]) -> None:
        """Sets the figures that are newer than what is held. Raises EpochLost, RedisError."""
        if not figures and not await self._redis.exists(self.epoch_key):
            raise EpochLost
        for start in range(0, len(figures), _MOST_AT_ONCE):
            hashes: dict[str, int] = {}
            part = [
                (
                    hashes.setdefault(
                        self._hash(figure.shop, figure.metric, figure.day), len(hashes) + 1
                    ),
                    figure.key,
                    figure.generation or self._generations.get(figure.metric, 1),
                    figure.revision,
                    encode(figure).decode(),
                )
                for figure in figures[start : start + _MOST_AT_ONCE]
            ]
            keys = [self.epoch_key, self.stream, *hashes]
            if await self._publish(keys, [MOST_ENTRIES, msgspec.msgpack.encode(part)]) == -1:
                raise EpochLost

    async def refill(self, figures: Sequence[Figure]) -> None:
        """Starts a new epoch where there is none, and sets all live figures from Postgres."""
        await self._redis.set(self.epoch_key, secrets.token_hex(8), nx=True)
        await self.publish(figures)

    async def retire(self, generations: Mapping[str, int]) -> None:
        """Takes out the figures of earlier generations, which a rebuilt table no longer has. If
        there were any a new epoch begins: no change could tell of it. Raises RedisError."""
        gone = 0
        for metric, generation in generations.items():
            async for key in self._redis.scan_iter(f"{glob.escape(self._prefix)}*:{metric}:*"):
                gone += int(await self._retire(keys=[key], args=[generation]))
        if gone:
            await self._redis.set(self.epoch_key, secrets.token_hex(8), xx=True)

    async def held(self, metrics: Sequence[str], since: str) -> dict[tuple[str, str, str], bytes]:
        """All that is held of these metrics from a day on: by metric, shop and key, as it goes to
        clients. Raises RedisError."""
        found: dict[tuple[str, str, str], bytes] = {}
        for metric in metrics:
            pattern = f"{glob.escape(self._prefix)}*:{metric}:*"
            async for name in self._redis.scan_iter(pattern):
                shop, _, day = name.decode().removeprefix(self._prefix).rpartition(f":{metric}:")
                if day >= since:
                    figures: Mapping[Any, Any] = await self._redis.hgetall(name)
                    for key, value in figures.items():
                        found[metric, shop, key.decode()] = value.split(b" ", 2)[2]
        return found

    async def clear(self) -> None:
        """Drops all that is held: Postgres has gone back behind it. Raises RedisError."""
        pattern = f"{glob.escape(self._prefix)}*"
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
        figures = [value.split(b" ", 2)[2] for values in held for value in values]
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
                async with asyncio.timeout(_WATCH_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            figures, self._waiting = list(self._waiting.values()), {}
            refill, self._refill = self._refill, False
            try:
                if refill or figures:
                    reached("publishing")
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
