"""All learners of a group in memory: what they have learned, and exactly up to where."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from ml_online.family import Learner, ModelFamily
from streams.codec import Fact
from streams.subscribe import Partition


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
        self.learners = {name: one.family.new() for name, one in sorted(self._heard.items())}
        self._of_topic: dict[str, list[tuple[str, Learner]]] = {}
        for name, learner in self.learners.items():
            for topic in self._heard[name].topics:
                self._of_topic.setdefault(topic, []).append((name, learner))
        self.next_offsets = {}
        self.seq = 0

    @property
    def versions(self) -> Mapping[str, int]:
        """The version of each family's code."""
        return {name: one.family.version for name, one in sorted(self._heard.items())}

    def learn(self, fact: Fact) -> None:
        """One fact, by all who hear its topic. Raises LearningFailed."""
        for name, learner in self._of_topic.get(fact.topic, ()):
            try:
                learner.learn(fact)
            except Exception as error:
                raise LearningFailed(name, fact) from error
        self.next_offsets[Partition(fact.topic, fact.partition)] = fact.offset + 1

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
            learner.restore(rows[name])
        self.next_offsets = dict(next_offsets)
        self.seq = seq

    def digest(self) -> str:
        """Tells models apart that differ in a single bit."""
        found = hashlib.sha256()
        for line in self.lines():
            found.update(line + b"\n")
        return found.hexdigest()
