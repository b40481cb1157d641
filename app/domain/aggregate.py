"""Aggregates: what is decided about at one time, each the sum of its own events.

`decide` functions take states and a command, and give the events that follow or raise a Refusal;
`evolve` makes the next state of one event. A state's version is the number of its events.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

from msgspec import Struct

from streams.events import Data

S = TypeVar("S", bound=Struct)


class Told(Struct, frozen=True):
    """One event of an aggregate, with its personal fields in it."""

    at: datetime
    data: Data
    person: str | None = None


class Aggregate(Struct, Generic[S], frozen=True):
    """A kind of aggregate: the table of its states, and which events make them.

    `about` gives, for each type of event, the id of the one that it is about. All events about one
    have the same key on the log, so that they stand there in the order in which they were decided.
    """

    table: str
    state: type[S]
    evolve: Callable[[S | None, Told], S]
    about: Mapping[type[Data], Callable[[Any], str]]
