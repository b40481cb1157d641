"""All learners of a group in memory: what they have learned, and exactly up to where."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import NamedTuple

import msgspec

from ml_online.branches import Branching, branch
from ml_online.family import Learner, ModelFamily
from streams.batch import Partition
from streams.codec import Fact
from streams.events import Event


class Heard(NamedTuple):
    """A model family, and the topics that it learns from."""

    family: ModelFamily
    topics: Sequence[str]


class LearningFailed(Exception):
    """A learner raised on one fact: a bug. The group stops, naming the event."""

    def __init__(self, family: str, fact: Fact) -> None:
        where = f"{fact.topic}:{fact.partition}:{fact.offset}"
        super().__init__(f"{family} failed on {fact.event.type} {fact.event.id} at {where}")
        self.model = family
        self.fact = fact


class Models:
    """One learner of each family. `seq` is the last entry of the journal that was learned."""

    def __init__(self, heard: Sequence[Heard]) -> None:
        self._heard = {one.family.name: one for one in heard}
        self.learners: dict[str, Learner] = {}
        self.next_offsets: dict[Partition, int] = {}
        self.seq = 0
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        made: dict[str, Learner] = {}
        self._of_topic: dict[str, list[tuple[str, Learner]]] = {}
        for name in self._in_order():
            family, topics = self._heard[name]
            made[name] = family.new(*(made[other] for other in family.of))
            for topic in topics:
                self._of_topic.setdefault(topic, []).append((name, made[name]))
        self.learners = dict(sorted(made.items()))
        self.next_offsets = {}
        self.seq = 0

    def _in_order(self) -> list[str]:
        """The families' names, each after those that it looks at."""
        order = TopologicalSorter({name: one.family.of for name, one in self._heard.items()})
        order.prepare()
        found: list[str] = []
        while order.is_active():
            ready = sorted(order.get_ready())
            found += ready
            order.done(*ready)
        return found

    @property
    def versions(self) -> Mapping[str, int]:
        """The version of each family's code."""
        return {name: one.family.version for name, one in sorted(self._heard.items())}

    @property
    def opened(self) -> frozenset[str]:
        """The types of events whose sealed fields are to be opened before they are learned."""
        return frozenset(name for one in self._heard.values() for name in one.family.opened)

    def learn(self, fact: Fact) -> None:
        """One fact, by all who hear its topic. Raises LearningFailed."""
        for name, learner in self._of_topic.get(fact.topic, ()):
            _learn(name, learner, fact)
        self.next_offsets[Partition(fact.topic, fact.partition)] = fact.offset + 1

    def takes_long(self, fact: Fact) -> bool:
        """Whether who asks should not have to wait until a fact is learned."""
        learners = (learner for _, learner in self._of_topic.get(fact.topic, ()))
        return any(isinstance(one, Branching) and one.takes_long(fact) for one in learners)

    def learned_beside(self, fact: Fact) -> Mapping[str, Learner]:
        """What the learners that branch become by a fact; they stay what they are. It may run in a
        thread while they answer and nothing else is learned. Raises LearningFailed."""
        found: dict[str, Learner] = {}
        instead: dict[int, Learner] = {}
        for name, learner in self._of_topic.get(fact.topic, ()):
            if not isinstance(learner, Branching):
                continue
            try:
                found[name] = instead[id(learner)] = branch(learner, fact.event.shop, instead)
                found[name].learn(fact)
            except Exception as error:
                raise LearningFailed(name, fact) from error
        return found

    def take(self, learned: Mapping[str, Learner], fact: Fact) -> None:
        """Goes on from what was learned beside; the others learn it now. Raises LearningFailed."""
        self.learners |= learned
        self._of_topic = {
            topic: [(name, learned.get(name, learner)) for name, learner in learners]
            for topic, learners in self._of_topic.items()
        }
        for name, learner in self._of_topic.get(fact.topic, ()):
            if name not in learned:
                _learn(name, learner, fact)
        self.next_offsets[Partition(fact.topic, fact.partition)] = fact.offset + 1

    def noticed(self) -> list[Event]:
        """What is to be told of what was learned since it was asked last."""
        return [event for learner in self.learners.values() for event in learner.noticed()]

    def passed(self, partition: Partition, next_offset: int) -> None:
        """A chunk is over, with whatever in it was no fact: one entry of the journal."""
        self.next_offsets[partition] = next_offset
        self.seq += 1

    def lines(self) -> Iterator[bytes]:
        """What the learners have become, as JSON lines."""
        for name, learner in self.learners.items():
            for row in learner.state():
                yield msgspec.json.encode([name, row])

    def restore(
        self, lines: Iterable[bytes], next_offsets: Mapping[Partition, int], seq: int
    ) -> None:
        """Goes on from lines as they were given. Raises ValueError where they are none."""
        rows: dict[str, list[object]] = {name: [] for name in self.learners}
        for line in lines:
            name, row = msgspec.json.decode(line)
            rows[name].append(row)
        self.reset()
        for name, learner in self.learners.items():
            try:
                learner.restore(rows[name])
            except StopIteration:
                raise ValueError(f"lines are missing of {name}") from None
        self.next_offsets = dict(next_offsets)
        self.seq = seq

    def digest(self) -> str:
        """Tells models apart that differ in a single bit."""
        found = hashlib.sha256()
        for line in self.lines():
            found.update(line + b"\n")
        return found.hexdigest()


def _learn(name: str, learner: Learner, fact: Fact) -> None:
    try:
        learner.learn(fact)
    except Exception as error:
        raise LearningFailed(name, fact) from error
