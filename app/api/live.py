"""`/v1/live`: a snapshot of named metrics, then every change, in order, as absolute values.

One reader of Redis' stream per API process (the hub) hands each change, encoded once, to the
clients that asked for it. A client gets changes at once; while a send to it is under way they wait
in a slot per figure, the latest value only. A client that takes nothing for five seconds is closed.

A revision is `epoch:stream id`, the same in every API process. `since` resumes from one; an unknown
epoch or a trimmed id gets a new snapshot.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
import structlog
from fastapi import APIRouter, WebSocket
from msgspec import Meta, Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.settings import Settings
from projections.clock import ShopClock
from projections.live import EpochLost, LiveFigures
from projections.read_model import LIVE
from streams.codec import AHEAD, UNREADABLE, Refused, refusal

logger = structlog.get_logger()
router = APIRouter()

SEND_SECONDS = 5.0
BEAT_SECONDS = 5.0
MOST_FRAME_BYTES = 64 * 1024
_RETRY_SECONDS = 0.5
_BEGINNING = "0-0"
MOST_SUBSCRIPTIONS = 50

# What may be asked for, and which fields of its figures may be filtered by.
METRICS: Mapping[str, frozenset[str]] = {
    "revenue": frozenset({"dimension", "hour", "day", "key", "currency"}),
    "best_sellers": frozenset({"day", "product", "currency"}),
}
_TODAY = "today"

Word = Annotated[str, Meta(max_length=128)]


class Subscribe(Struct, frozen=True, forbid_unknown_fields=True):
    """What a client sends. `since` is a revision to resume from, `id` comes back in each answer."""

    subscribe: Word
    id: Word | None = None
    shop: Word = "main"
    filter: dict[Word, Word | Annotated[list[Word], Meta(max_length=1000)]] = {}
    since: Word | None = None


class _Figure(Struct, frozen=True):
    metric: str
    shop: str
    id: str
    value: dict[str, Any]


class Change(Struct, frozen=True):
    """One entry of the stream: where it stands, what it is about, its bytes as clients get them."""

    stream_id: tuple[int, int]
    figure: _Figure
    encoded: bytes


_subscribes = msgspec.json.Decoder(Subscribe)
_figures = msgspec.json.Decoder(_Figure)


def stream_id(text: str) -> tuple[int, int]:
    """`1700-3` as (1700, 3), which orders as the stream does. Raises ValueError."""
    milliseconds, _, number = text.partition("-")
    return int(milliseconds), int(number or 0)


class Subscription:
    """What one client wants of one metric, and from where in the stream on."""

    def __init__(self, wanted: Subscribe, clock: ShopClock) -> None:
        self.id = wanted.id or wanted.subscribe
        self.metric = wanted.subscribe
        self.shop = wanted.shop
        self._clock = clock
        self._filter = {
            field: frozenset([value] if isinstance(value, str) else value)
            for field, value in wanted.filter.items()
        }
        self.after: tuple[int, int] | None = None  # none: its snapshot is still to come

    def wants(self, figure: _Figure) -> bool:
        """Whether a figure passes the filter. `today` is the shop's day at this moment."""
        if figure.metric != self.metric or figure.shop != self.shop:
            return False
        return all(
            str(figure.value.get(field)) in values
            or (_TODAY in values and figure.value.get(field) == self._today())
            for field, values in self._filter.items()
        )

    def _today(self) -> str:
        return self._clock.day(self._clock.hour(datetime.now(UTC))).isoformat()


class Client:
    """One socket: its subscriptions, and what still has to be sent to it. Only `pump` sends."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self.subscriptions: dict[str, Subscription] = {}
        self._to_open: dict[str, str | None] = {}  # subscription → revision to resume from
        self._errors: list[bytes] = []
        self._waiting: dict[str, dict[str, Change]] = {}
        self._wake = asyncio.Event()

    def subscribe(self, subscription: Subscription, since: str | None = None) -> None:
        """From now on its changes wait; they follow what it missed, or its snapshot."""
        subscription.after = None
        self.subscriptions[subscription.id] = subscription
        self._waiting.pop(subscription.id, None)
        self._to_open[subscription.id] = since
        self._wake.set()

    def renew(self) -> None:
        """Changes may have been missed: every subscription gets a new snapshot."""
        for subscription in self.subscriptions.values():
            self.subscribe(subscription)

    def refuse(self, refused: Refused) -> None:
        """Tells what was wrong with a message."""
        error = {"type": "error", "field": refused.field, "reason": refused.reason}
        self._errors.append(msgspec.json.encode(error))
        self._wake.set()

    def offer(self, change: Change) -> None:
        """Takes a change that one of the subscriptions wants; only the latest of a figure stays."""
        for subscription in self.subscriptions.values():
            late = subscription.after is not None and change.stream_id <= subscription.after
            if not late and subscription.wants(change.figure):
                self._waiting.setdefault(subscription.id, {})[change.figure.id] = change
                self._wake.set()

    async def pump(self, hub: "Hub") -> None:
        """Sends what waits, as soon as something does, and a beat where nothing does.

        Raises TimeoutError where the client takes nothing.
        """
        while True:
            try:
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                await self._send(b'{"type":"beat","revision":"%s"}' % hub.revision.encode())
                continue
            self._wake.clear()
            while self._errors:
                await self._send(self._errors.pop(0))
            await self._open(hub)
            for name in list(self._waiting):
                await self._send_changes(hub, name)

    async def _open(self, hub: "Hub") -> None:
        """Sends what new subscriptions begin with; again later, where Redis is away."""
        for name, since in list(self._to_open.items()):
            subscription = self.subscriptions[name]
            try:
                message, after = await hub.opening(subscription, since)
            except (EpochLost, RedisError, OSError) as error:
                logger.warning("no snapshot yet", error=repr(error))
                await asyncio.sleep(_RETRY_SECONDS)
                self._wake.set()
                continue
            if self._to_open.get(name, "") == since:
                del self._to_open[name]
            await self._send(message)
            subscription.after = after

    async def _send_changes(self, hub: "Hub", name: str) -> None:
        subscription = self.subscriptions[name]
        if subscription.after is None:
            return  # its snapshot goes first
        after = subscription.after
        waiting = self._waiting.pop(name).values()
        if changes := [change for change in waiting if change.stream_id > after]:
            last = max(change.stream_id for change in changes)
            await self._send(hub.delta(name, last, changes))

    async def _send(self, message: bytes) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self._socket.send_text(message.decode())


class Hub:
    """This process's one reader of the stream, and all of its clients."""

    def __init__(self, redis: "Redis", live: LiveFigures, clock: ShopClock) -> None:
        self._redis = redis
        self._live = live
        self._clock = clock
        self._clients: set[Client] = set()
        self._epoch = ""
        self._last = _BEGINNING

    @property
    def revision(self) -> str:
        return f"{self._epoch}:{self._last}"

    def delta(self, name: str, last: tuple[int, int], changes: Sequence[Change]) -> bytes:
        """A message of changed figures."""
        revision = f"{self._epoch}:{last[0]}-{last[1]}"
        return _message("delta", name, revision, [change.encoded for change in changes])

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
        held: Any = await self._redis.get(self._live.epoch_key)
        epoch = (held or b"").decode()
        if epoch != self._epoch or not epoch:
            self._epoch = epoch
            self._last = await self._end()
            if epoch:
                self._renew()
        before = self._last
        answer: Any = await self._redis.xread({self._live.stream: before}, count=5000, block=1000)
        for _, entries in answer:
            for found, fields in entries:
                self._last = found.decode()
                self._dispatch(_change(self._last, fields))
        if self._last != before != _BEGINNING and await self._trimmed(before):
            self._renew()

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
    ) -> tuple[bytes, tuple[int, int]]:
        """What a subscription begins with, and after which change it goes on: what it missed since
        a revision, else a snapshot. Raises EpochLost, RedisError."""
        missed = await self._missed(subscription, since) if since else None
        if missed is not None:
            changes, last = missed
            return self.delta(subscription.id, last, changes), last
        now = datetime.now(UTC)
        # An event may be dated a little ahead, and so may its day.
        days = [day.isoformat() for day in self._clock.days(now - LIVE, now + AHEAD)]
        snapshot = await self._live.snapshot(subscription.shop, subscription.metric, days)
        figures = [
            msgspec.json.encode(figure)
            for figure in snapshot.figures
            if subscription.wants(msgspec.convert(figure, _Figure))
        ]
        revision = f"{snapshot.epoch}:{snapshot.stream_id}"
        message = _message("snapshot", subscription.id, revision, figures)
        return message, stream_id(snapshot.stream_id)

    async def _missed(
        self, subscription: Subscription, since: str
    ) -> tuple[list[Change], tuple[int, int]] | None:
        """The changes after a revision; None where they cannot be told for certain."""
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
        if (held or b"").decode() != epoch or (first and after < stream_id(first[0][0].decode())):
            return None
        changes = [_change(found.decode(), fields) for found, fields in entries]
        latest = {c.figure.id: c for c in changes if subscription.wants(c.figure)}
        return list(latest.values()), changes[-1].stream_id if changes else after


def _change(found: str, fields: Mapping[bytes, bytes]) -> Change:
    return Change(stream_id(found), _figures.decode(fields[b"f"]), fields[b"f"])


def _message(kind: str, name: str, revision: str, figures: Sequence[bytes]) -> bytes:
    head = {"type": kind, "id": name, "revision": revision}
    return msgspec.json.encode(head)[:-1] + b',"figures":[' + b",".join(figures) + b"]}"


def parse(text: str | bytes) -> Subscribe:
    """What a client asks for. Raises Refused with the field and the reason."""
    try:
        wanted = _subscribes.decode(text)
    except UNREADABLE as error:
        raise refusal(error) from None
    fields = METRICS.get(wanted.subscribe)
    if fields is None:
        raise Refused("subscribe", f"unknown metric; there are {', '.join(sorted(METRICS))}")
    for field in wanted.filter:
        if field not in fields:
            known = ", ".join(sorted(fields))
            raise Refused(f"filter.{field}", f"{wanted.subscribe} is filtered by {known}")
    return wanted


def same_origin(socket: WebSocket, allowed: Sequence[str]) -> bool:
    """Whether a page of ours, or no page at all, opens this socket."""
    origin = socket.headers.get("origin")
    return origin is None or origin in allowed or urlsplit(origin).netloc == socket.headers["host"]


@router.websocket("/v1/live")
async def live(socket: WebSocket) -> None:
    """Answers each subscription with a snapshot, then with deltas; sees its client leave."""
    settings: Settings = socket.app.state.settings
    hub: Hub = socket.app.state.hub
    if not same_origin(socket, settings.origins):
        await socket.close(1008, "this origin may not subscribe")
        return
    await socket.accept()
    client = Client(socket)
    hub.add(client)
    pump = asyncio.create_task(client.pump(hub))
    listen = asyncio.create_task(_listen(socket, client))
    try:
        await asyncio.wait({pump, listen}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        hub.remove(client)
        for task in (pump, listen):
            task.cancel()
        results = await asyncio.gather(pump, listen, return_exceptions=True)
    if any(isinstance(result, TimeoutError) for result in results):
        await _close(socket, 1013, "too slow: nothing was taken for five seconds")


async def _listen(socket: WebSocket, client: Client) -> None:
    clock: ShopClock = socket.app.state.clock
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        try:
            client.subscribe(*_wanted(message, client, clock))
        except Refused as refused:
            client.refuse(refused)


def _wanted(
    message: Mapping[str, Any], client: Client, clock: ShopClock
) -> tuple[Subscription, str | None]:
    """What a frame asks for. Raises Refused."""
    text = message.get("text") or message.get("bytes") or b""
    if len(text) > MOST_FRAME_BYTES:
        raise Refused("", f"a frame may have {MOST_FRAME_BYTES} bytes")
    wanted = parse(text)
    known = (wanted.id or wanted.subscribe) in client.subscriptions
    if not known and len(client.subscriptions) >= MOST_SUBSCRIPTIONS:
        raise Refused("subscribe", f"at most {MOST_SUBSCRIPTIONS} subscriptions a socket")
    return Subscription(wanted, clock), wanted.since


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    with suppress(RuntimeError, TimeoutError, OSError):  # it may be gone already
        await asyncio.wait_for(socket.close(code, reason), 1)
