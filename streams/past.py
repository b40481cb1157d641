"""What every reader of past events gives: events one by one, and an account of every line."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid5

from streams.codec import Refused
from streams.csv_file import Rejected
from streams.replay import Entry


class Tally:
    """Every line read so far: it is part of an event of some kind, or rejected."""

    def __init__(self) -> None:
        self.lines_by_kind: Counter[str] = Counter()
        self.events_by_kind: Counter[str] = Counter()
        self.amounts: Counter[str] = Counter()
        """In ten-thousandths, by kind."""
        self.rejected: list[Rejected] = []

    @property
    def lines(self) -> int:
        return sum(self.lines_by_kind.values()) + len(self.rejected)

    @property
    def events(self) -> int:
        return sum(self.events_by_kind.values())

    def reject(self, line: int, refused: Refused) -> None:
        """A line that becomes no event."""
        self.rejected.append(Rejected(line, refused.field, refused.reason))

    def note(self, kind: str, lines: int = 1, amount: int = 0) -> None:
        """An event of a kind, and the lines that it is made of."""
        self.lines_by_kind[kind] += lines
        self.events_by_kind[kind] += 1
        self.amounts[kind] += amount


class Past(NamedTuple):
    """Events in order of their time, read as they are taken; the tally is whole once they are.

    Taking them may raise OSError, or csv_file's Unreadable.
    """

    entries: Iterable[Entry]
    tally: Tally


class Ids:
    """Ids from what a file says and how often it said so: the same whenever it is read.

    Lines that say the same say the same time, and come in order of time: only those of one moment
    are remembered.
    """

    def __init__(self, namespace: UUID) -> None:
        self._namespace = namespace
        self._moment: datetime | None = None
        self._occurrences: Counter[str] = Counter()

    def next(self, at: datetime, *content: str) -> str:
        """The id of the next event that says this."""
        if at != self._moment:
            self._moment = at
            self._occurrences.clear()
        said = "\0".join((at.isoformat(), *content))
        self._occurrences[said] += 1
        return str(uuid5(self._namespace, f"{said}\0{self._occurrences[said]}"))
