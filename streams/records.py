"""What the records of a partition are: facts, repeats of such, or to be quarantined; and whether
they are still those that were read before."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from uuid import UUID

import numpy as np
import xxhash
from aiokafka import ConsumerRecord

from streams import codec
from streams.batch import LogChanged, Part, Partition, Progress, Quarantined
from streams.codec import Fact, Refused
from streams.dedupe import Seen, Window
from streams.events import Event
from streams.log import APPEND_SECONDS
from streams.topics import key_of, partition_of

_NO_MORE = (
    "what stood between is gone, and from what is left nothing can be made anew: set the topic's "
    "retention.ms and retention.bytes to -1, and bring its disks back from a copy"
)
_REBUILD = "to make the figures those of the log as it is now, run `tillstream rebuild all`"


def digest(record: ConsumerRecord) -> int:
    """What tells one record from another, as a signed 64-bit integer for Postgres."""
    return xxhash.xxh3_64_intdigest(record.value or b"") - (1 << 63)


def identify(record: ConsumerRecord) -> tuple[Event | Refused, int, int]:
    """A record's envelope, or why it has none, with what the window knows it by."""
    try:
        event = codec.decode_envelope(record.value)
    except Refused as refused:
        # Nothing repeats a record that has no id: its own position stands in for one.
        return refused, xxhash.xxh3_64_intdigest(b"\0%d" % record.offset), 0
    return event, codec.identity(event), codec.fingerprint(event)


def judge(
    records: Sequence[ConsumerRecord], ids: Sequence[int], prints: Sequence[int], window: Window
) -> Sequence[int]:
    """What the window says of each record (a `Seen`); from now on it knows them."""
    offsets = np.fromiter((record.offset for record in records), np.int64, len(records))
    seen = window.take(offsets, np.array(ids, np.uint64), np.array(prints, np.uint64))
    found: list[int] = seen.tolist()
    return found


def remember(records: Sequence[ConsumerRecord], window: Window) -> None:
    """Lets the window know records that were applied before."""
    _, ids, prints = zip(*map(identify, records), strict=True)
    judge(records, ids, prints, window)


def decode_part(
    partition: Partition,
    records: Sequence[ConsumerRecord],
    window: Window,
    partitions: int,
    skipped: Mapping[int, str] = MappingProxyType({}),
) -> Part:
    """Facts, repeats and what is to be quarantined, of the next records of one of so many
    partitions; of those, some are passed by at a person's word."""
    first, last = records[0].offset, records[-1].offset
    if last - first + 1 != len(records):
        raise LogChanged(f"{partition}: offsets {first} to {last} came with a gap among them")
    events: list[Event | Refused] = []
    found: list[Fact | Refused] = []
    ids, prints = [], []
    for record in records:
        event, number, print_ = identify(record)
        ids.append(number)
        prints.append(print_)
        events.append(event)
        found.append(_fact(partition, record, event, partitions))
    facts: list[Fact] = []
    quarantined: list[Quarantined] = []
    repeated: list[int] = []
    seen = judge(records, ids, prints, window)
    for record, event, fact, what in zip(records, events, found, seen, strict=True):
        if what == _REPEATED:
            repeated.append(record.offset)
        elif what == _CONTRADICTED:
            quarantined.append(_quarantine(record, event, _OTHERWISE))
        elif isinstance(fact, Refused):
            quarantined.append(_quarantine(record, event, fact))
        elif record.offset in skipped:
            reason = Refused("", f"skipped: {skipped[record.offset]}")
            quarantined.append(_quarantine(record, event, reason))
        else:
            facts.append(fact)
    return Part(
        partition,
        first=first,
        next=last + 1,
        facts=facts,
        quarantined=quarantined,
        repeated=repeated,
        last_digest=digest(records[-1]),
        until_ms=records[-1].timestamp - int(APPEND_SECONDS * 1000),
    )


_REPEATED, _CONTRADICTED = int(Seen.REPEATED), int(Seen.CONTRADICTED)
_OTHERWISE = Refused("id", "used before for an event that says something else")


def _fact(
    partition: Partition, record: ConsumerRecord, event: Event | Refused, partitions: int
) -> Fact | Refused:
    """What a record says, or why it says nothing."""
    if isinstance(event, Refused):
        return event
    if record.key != key_of(event):
        return Refused("subject", "the record's key is not that of the event's subject")
    topic, number = partition
    if partition_of(record.key, partitions) != number:
        # Another producer's partitioner: its copy of a subject would live beside ours.
        return Refused(
            "subject", f"its key lives on partition {partition_of(record.key, partitions)}"
        )
    try:
        return Fact(topic, number, record.offset, event, codec.decode_data(event, topic))
    except Refused as refused:
        return refused


def _quarantine(record: ConsumerRecord, event: Event | Refused, refused: Refused) -> Quarantined:
    return Quarantined(
        record.offset,
        None if isinstance(event, Refused) else event.id,
        refused.field,
        refused.reason,
        record.key,
        record.value,
        record.timestamp,
        codec.shop_of(record.value) if isinstance(event, Refused) else event.shop,
    )


def check_log(
    partition: Partition, progress: Progress, topic_id: UUID, start: int, end: int
) -> None:
    """Raises LogChanged where reading on would skip or double events."""
    name = f"{partition.topic}:{partition.number}"
    if progress.topic_id != topic_id:
        raise LogChanged(f"{name}: the topic was recreated; {_REBUILD}")
    if end < progress.next_offset:
        raise LogChanged(
            f"{name}: the log ends at {end}, but was read to {progress.next_offset}: "
            f"its tail was lost; {_REBUILD}"
        )
    if start > progress.next_offset:
        raise LogChanged(
            f"{name}: the log begins at {start}, but was read only to {progress.next_offset}: "
            f"retention has passed the reader; {_NO_MORE}"
        )


def check_last(partition: Partition, progress: Progress, record: ConsumerRecord) -> None:
    """Raises LogChanged where another record stands where the last one applied stood."""
    if progress.last_digest is not None and progress.last_digest != digest(record):
        raise LogChanged(
            f"{partition.topic}:{partition.number}:{record.offset}: another record stands where "
            f"the last one applied stood; {_REBUILD}"
        )
