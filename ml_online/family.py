"""What a model family is: a name, a version of its code, and learners that begin with nothing."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from msgspec import Struct

from streams.codec import Fact
from streams.events import Event


class Learner(Protocol):
    """A model that learns one fact after the other, and whose state can be written down.

    Whoever was erased is heard under a pseudonym (`streams.erased.is_erased`), in a rebuild from
    their first event on. A learner that keeps something of single persons keeps nothing of these;
    if it hears the topic `customers`, PersonErased tells it the id whose state it is to let go of
    at once, and those of their visitors. What was learned from them besides goes with the rebuild
    that follows.

    Everything is a pure function of the facts in their order: no clock, no chance, and no order of
    sets. A prediction changes nothing.
    """

    def learn(self, fact: Fact) -> None:
        """Predicts, scores and then learns what the fact tells; other facts it passes over."""

    def noticed(self) -> Sequence[Event]:
        """What is to be told on the log of what was learned since it was asked last: events whose
        ids are the same whenever the same is learned again. No part of the state."""

    def state(self) -> Iterator[Any]:
        """All of it, in rows of what JSON can say: the same rows whenever the learner is the same.
        Whoever asks for them sees to it that nothing is learned meanwhile."""

    def restore(self, state: Iterable[Any]) -> None:
        """Goes on from a state as if its facts had been learned here."""


class ModelFamily(Struct, frozen=True):
    """`version` is raised when the same facts would give another state: snapshots are then void.

    `of` names families whose learners this one's look at, and are made with; those hear each fact
    first. `opened` are types of events whose sealed fields this one hears opened, as long as the
    person's key stands; whoever feeds it opens them, for learning asks nobody.
    """

    name: str
    version: int
    new: Callable[..., Learner]
    of: Sequence[str] = ()
    opened: Sequence[str] = ()
