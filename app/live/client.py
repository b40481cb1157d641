"""One client of the live feed: what it subscribed to, and what still has to be sent to it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import structlog
from redis.exceptions import RedisError

from app.live import protocol
from app.live.asking import Question
from app.live.protocol import Change, Message, StreamId, Subscription
from app.live.queries import Queries, Watch
from projections.live import EpochLost
from streams.codec import Refused

logger = structlog.get_logger()

SEND_SECONDS = 5.0
BEAT_SECONDS = 5.0
_RETRY_SECONDS = 0.5

MOST_ERRORS = 100

Send = Callable[[Message], Awaitable[None]]


class TooManyErrors(Exception):
    """A client goes on sending what is refused, and takes no answer."""


class Source(Protocol):
    """Where a client's figures come from: the hub."""

    stopping: asyncio.Event

    @property
    def revision(self) -> str: ...

    def add(self, client: "Client") -> None: ...

    def remove(self, client: "Client") -> None: ...

    def delta(self, name: str, last: StreamId, changes: Sequence[Change]) -> Message: ...

    async def opening(
        self, subscription: Subscription, since: str | None
    ) -> tuple[Message, StreamId]: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Opening:
    """A subscription that waits for what it begins with. Each is its own: a later one replaces
    it, even where it asks for the same."""

    subscription: Subscription
    since: str | None


class Client:
    """Its subscriptions, and a slot per figure in which the latest change waits. Only `pump`
    sends; while it does, changes are conflated in their slots. Of a live query nothing waits: what
    it is sent is told from what it has."""

    def __init__(self, send: Send, queries: Queries | None = None) -> None:
        self._deliver = send
        self._queries = queries
        self.subscriptions: dict[str, Subscription] = {}
        self._watches: dict[str, Watch] = {}
        self._to_open: dict[str, _Opening] = {}
        self._errors: list[Message] = []
        self._waiting: dict[str, dict[str, Change]] = {}
        self._wake = asyncio.Event()

    def subscribe(self, subscription: Subscription, since: str | None = None) -> None:
        """From now on its changes wait; they follow what it missed, or its snapshot."""
        self._leave(subscription.id)
        subscription.after = None
        self.subscriptions[subscription.id] = subscription
        self._waiting.pop(subscription.id, None)
        self._to_open[subscription.id] = _Opening(subscription, since)
        self._wake.set()

    def watch(self, name: str, question: Question, since: str | None = None) -> None:
        """From now on it is told the answers to a live query. Raises Refused."""
        assert self._queries is not None
        found = self._queries.watch(name, question, since, self._wake.set)
        self._leave(name)
        for held in (self.subscriptions, self._to_open, self._waiting):
            held.pop(name, None)
        self._watches[name] = found

    @property
    def names(self) -> Collection[str]:
        """Of all its subscriptions."""
        return self.subscriptions.keys() | self._watches.keys()

    def close(self) -> None:
        """It listens no more."""
        for name in list(self._watches):
            self._leave(name)

    def _leave(self, name: str) -> None:
        if self._queries is not None and (watch := self._watches.pop(name, None)) is not None:
            self._queries.leave(watch)

    def renew(self) -> None:
        """Changes may have been missed: every subscription gets a new snapshot."""
        for subscription in self.subscriptions.values():
            self.subscribe(subscription)

    def refuse(self, refused: Refused) -> None:
        """Tells what was wrong with a message. Raises TooManyErrors for whoever does not listen."""
        if len(self._errors) >= MOST_ERRORS:
            raise TooManyErrors
        self._errors.append(protocol.error(refused))
        self._wake.set()

    def offer(self, change: Change) -> None:
        """Takes a change that one of the subscriptions wants; only the latest of a figure stays."""
        for subscription in self.subscriptions.values():
            late = subscription.after is not None and change.stream_id <= subscription.after
            if not late and subscription.wants(change.figure):
                self._waiting.setdefault(subscription.id, {})[change.figure.id] = change
                self._wake.set()

    async def pump(self, hub: Source) -> None:
        """Sends what waits, as soon as something does, and a beat where nothing does.

        Raises TimeoutError where the client takes nothing.
        """
        while True:
            try:
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                await self._send(protocol.beat(hub.revision))
                continue
            self._wake.clear()
            while self._errors:
                await self._send(self._errors.pop(0))
            await self._answer()
            await self._open(hub)
            for name in list(self._waiting):
                await self._send_changes(hub, name)

    async def _answer(self) -> None:
        """Sends what is new of each live query."""
        for watch in list(self._watches.values()):
            if message := watch.next():
                if message.kind == "error":  # it has ended
                    self._leave(watch.id)
                await self._send(message)

    async def _open(self, hub: Source) -> None:
        """Sends what new subscriptions begin with; again later, where Redis is away."""
        for name, opening in list(self._to_open.items()):
            try:
                message, after = await hub.opening(opening.subscription, opening.since)
            except (EpochLost, RedisError, OSError) as error:
                logger.warning("no snapshot yet", error=repr(error))
                await asyncio.sleep(_RETRY_SECONDS)
                self._wake.set()
                continue
            if self._to_open.get(name) is not opening:
                continue  # asked again meanwhile, and woken for it
            del self._to_open[name]
            opening.subscription.after = after
            await self._send(message)

    async def _send_changes(self, hub: Source, name: str) -> None:
        subscription = self.subscriptions.get(name)
        if subscription is None or subscription.after is None:
            return  # it is no more, or its snapshot goes first
        after = subscription.after
        waiting = self._waiting.pop(name).values()
        if changes := [change for change in waiting if change.stream_id > after]:
            last = max(change.stream_id for change in changes)
            await self._send(hub.delta(name, last, changes))

    async def _send(self, message: Message) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self._deliver(message)


class Ended(Enum):
    """Why a client's feed came to its end."""

    GONE = "gone"
    SLOW = "slow"
    NOISY = "noisy"
    STOPPING = "stopping"


async def attend(hub: Source, client: Client, gone: Coroutine[Any, Any, None]) -> Ended:
    """Keeps a client told until it is `gone`, takes nothing for five seconds, or the hub stops."""
    hub.add(client)
    tasks = [asyncio.create_task(work) for work in (client.pump(hub), gone, hub.stopping.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        hub.remove(client)
        client.close()
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    if isinstance(results[0], TimeoutError):
        return Ended.SLOW
    if isinstance(results[1], TooManyErrors):
        return Ended.NOISY
    return Ended.STOPPING if hub.stopping.is_set() else Ended.GONE
