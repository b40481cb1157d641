"""Events of our own log in a file: captured as they stand there, and read to be played again.

A line holds one record's bytes, exactly, so that an event keeps its id and its fingerprint and
counts once however often it is played. A record with line breaks in it is told as a JSON string.
The lines are in the order in which the events were received; of one partition, in its own.
"""

import gzip
import json
import tempfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from heapq import merge
from pathlib import Path
from typing import IO, NamedTuple

import msgspec
from aiokafka import TopicPartition

from streams import codec
from streams.codec import Refused
from streams.csv_file import Unreadable, opened
from streams.events import SHOP, VOCABULARY, Event
from streams.past import Past, Tally
from streams.readback import log_ends, read_back
from streams.replay import Entry
from streams.topics import SINGLE, TOPICS, partitions_of

# What Tillstream says of its own accord it will say again.
CAPTURED_TOPICS = tuple(topic for topic in TOPICS if topic not in SINGLE)

SOURCE = "replay"
_KEY_DIGITS = 15


class Captured(NamedTuple):
    """What became of the records: written, by topic, or left out for being no event."""

    events: Counter[str]
    left_out: int


async def capture(
    bootstrap: str,
    prefix: str,
    partitions: int,
    path: Path,
    *,
    topics: Sequence[str] = CAPTURED_TOPICS,
    first_offset: int = 0,
    shop: str | None = None,
) -> Captured:
    """Writes what these topics hold now, from an offset of each partition on, perhaps of one shop
    alone. Raises a KafkaError, ReadBackFailed, OSError."""
    known = [
        TopicPartition(prefix + topic, number)
        for topic in topics
        for number in range(partitions_of(topic, partitions))
    ]
    ends = await log_ends(bootstrap, known)
    stretches = {
        partition: (max(start, min(first_offset, end)), end)
        for partition, (start, end) in ends.items()
    }
    events: Counter[str] = Counter()
    left_out = 0
    with tempfile.TemporaryDirectory(prefix="tillstream-") as folder, ExitStack() as files:
        parts = {
            partition: _Part(files.enter_context((Path(folder) / str(number)).open("w+b")))
            for number, partition in enumerate(known)
        }
        async for partition, records in read_back(bootstrap, stretches):
            for record in records:
                try:
                    event = codec.decode_envelope(record.value)
                except Refused:
                    left_out += 1
                    continue
                if shop in (None, event.shop):
                    parts[partition].add(event, record.value)
                    events[partition.topic.removeprefix(prefix)] += 1
        _write(path, [part.lines() for part in parts.values()])
    return Captured(events, left_out)


class _Part:
    """One partition's records, each line with the time of its receipt before it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._latest = 0

    def add(self, event: Event, value: bytes) -> None:
        # The order within the partition holds, whatever its records say of their receipt.
        self._latest = max(self._latest, int(event.received_at.timestamp() * 1000))
        line = value if b"\n" not in value else json.dumps(value.decode()).encode()
        self._file.write(b"%0*d %s\n" % (_KEY_DIGITS, self._latest, line))

    def lines(self) -> IO[bytes]:
        self._file.seek(0)
        return self._file


def _write(path: Path, parts: Sequence[IO[bytes]]) -> None:
    with gzip.open(path, "wb") if path.suffix == ".gz" else path.open("wb") as file:
        for line in merge(*parts, key=lambda line: line[:_KEY_DIGITS]):
            file.write(line[_KEY_DIGITS + 1 :])


def read(path: Path, shop: str) -> Past:
    """Reads a captured file as its events are taken; they become events of this shop.

    Personal fields that were sealed for another shop are left behind: its keys are its own.
    """
    tally = Tally()
    return Past(_entries(path, shop, tally), tally)


def _entries(path: Path, shop: str, tally: Tally) -> Iterator[Entry]:
    for number, line in _lines(path):
        try:
            event = parse(line, shop)
        except Refused as refused:
            tally.reject(number, refused)
            continue
        tally.note(event.type)
        yield Entry(event, 1)


def parse(line: bytes, shop: str) -> Event:
    """A line as an event of this shop. Raises Refused."""
    try:
        value = msgspec.json.decode(line, type=str).encode() if line.startswith(b'"') else line
    except codec.UNREADABLE as error:
        raise codec.refusal(error) from None
    event = codec.decode_envelope(value)
    kind = VOCABULARY.get(event.type)
    if kind is not None and kind.ours:
        raise Refused("type", f"{event.type} is said by Tillstream alone, and will be said again")
    codec.decode_data(event, kind.topic if kind else "")
    if event.source == SHOP:  # what was decided once decides nothing here
        event = msgspec.structs.replace(event, source=SOURCE)
    if event.shop == shop:
        return event
    return msgspec.structs.replace(event, shop=shop, sealed=None)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers. Raises OSError, Unreadable."""
    with opened(path) as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.strip()
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise Unreadable(f"{path.name} is not a whole gzip file: {error}") from error


def topics_named(names: Collection[str]) -> list[str]:
    """Topics by name. Raises ValueError for one that there is not."""
    if unknown := [name for name in names if name not in TOPICS]:
        raise ValueError(f"unknown topic {unknown[0]!r}; there are {', '.join(CAPTURED_TOPICS)}")
    return [*names]
