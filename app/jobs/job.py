"""What a job is, and what doing one sees of it."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

from app.settings import Settings

State: TypeAlias = Literal["waiting", "running", "done", "failed", "cancelled"]


class JobFailed(Exception):
    """It cannot be done, now or later; the message says why, to whoever has asked."""


class NotNow(Exception):
    """It cannot be done yet, and waits; the message says for what."""


class Job(NamedTuple):
    """A row of `jobs`. `done` of `total` count what the kind counts in; a total of None is not
    known yet. `error` is why it failed, or what it waits for."""

    id: UUID
    kind: str
    shop: str
    key: str
    lock: str
    asked: Mapping[str, Any]
    state: State
    done: int
    total: int | None
    begun: int
    result: Mapping[str, Any] | None
    error: str | None
    attempts: int
    created: datetime
    started: datetime | None
    changed: datetime

    def left(self) -> timedelta | None:
        """How long it will still take at the speed of the present attempt, where there is one."""
        moved = self.done - self.begun
        if self.state != "running" or not self.started or not self.total or moved <= 0:
            return None
        return (self.changed - self.started) / moved * max(self.total - self.done, 0)


class Progress:
    """How far a job is, as whoever does it says. It is written to its row now and then."""

    def __init__(self) -> None:
        self.done = 0
        self.total: int | None = None

    def tell(self, done: int, total: int | None = None) -> None:
        """So much is done, of so much."""
        self.done = done
        self.total = total if total is not None else self.total


class Kind(NamedTuple):
    """A kind of job. `run` does one, up to its end and from wherever an attempt before has come to,
    for its process may be killed at any moment; it returns the result, and raises JobFailed, NotNow
    or what says that a server is away. It is cancelled where the job is.

    `give_up` tidies up after a job that failed or was cancelled. One of `figures` changes nothing,
    and whoever may read figures may see it; other kinds are seen by the back office alone. Of those
    that `shops_share`, two of one key are never done at the same time, whatever shops have asked.
    """

    name: str
    run: Callable[[Settings, Job, Progress], Awaitable[Mapping[str, Any]]]
    give_up: Callable[[Settings, Job], Awaitable[None]] | None = None
    figures: bool = False
    shops_share: bool = False
