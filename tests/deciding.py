"""Deciders in one grammar: `given(STOCK, *events).when(reserve, "o-1", 2).then(*events)`."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import pytest
from msgspec import Struct

from app.domain.aggregate import Aggregate, Told
from app.domain.refusal import Refusal
from streams.events import Data

S = TypeVar("S", bound=Struct)

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


class Given(Generic[S]):
    """What was told of one aggregate, all of it by now."""

    def __init__(
        self, kind: Aggregate[S], events: Sequence[Data], person: str | None, at: datetime
    ) -> None:
        self.state: S | None = None
        for data in events:
            self.state = kind.evolve(self.state, Told(at, data, person))

    def when(self, decide: Callable[..., list[Data]], *command: Any, **fields: Any) -> "When":
        """Puts the state and a command to a decider."""
        return When(lambda: decide(self.state, *command, **fields))


class When:
    """A decision that is to be looked at."""

    def __init__(self, decide: Callable[[], list[Data]]) -> None:
        self._decide = decide

    def then(self, *events: Data) -> None:
        """It is these events, none for what changes nothing."""
        assert self._decide() == list(events)

    def refused(self, kind: type[Refusal], field: str = "") -> None:
        """It is refused, with the field that is at fault."""
        with pytest.raises(kind) as refusal:
            self._decide()
        assert refusal.value.field == field


def given(
    kind: Aggregate[S], *events: Data, person: str | None = None, at: datetime = NOW
) -> Given[S]:
    """An aggregate of which these events were told, each at the same time and of one person."""
    return Given(kind, events, person, at)
