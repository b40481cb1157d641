"""Learning again what the journal tells, from the log."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence

from aiokafka import ConsumerRecord, TopicPartition

from ml_online.journal import Entry, in_steps
from streams.aside import aside
from streams.batch import Partition
from streams.codec import Fact
from streams.dedupe import Window
from streams.erased import NOBODY, Erased
from streams.readback import log_ends, read_back
from streams.records import decode_part, remember
from streams.topic_ids import described

_STEP = 20_000  # records that are held at once


async def facts_of(
    bootstrap: str,
    prefix: str,
    window: int,
    entries: Sequence[Entry],
    skipped: Mapping[Partition, Mapping[int, str]],
    windows: dict[Partition, Window] | None = None,
    erased: Erased = NOBODY,
) -> AsyncIterator[tuple[Entry, Sequence[Fact]]]:
    """The facts of each entry, or of each piece of a long one, as they were learned; but those that
    a person has told to be `skipped`, and without `erased` names. `windows` are those of an earlier
    call, if it goes on there.

    Raises ReadBackFailed, LogChanged.
    """
    firsts: dict[Partition, int] = {}
    for entry in entries:
        firsts.setdefault(entry.partition, entry.first)
    windows = {} if windows is None else windows
    new = {p: first for p, first in firsts.items() if p not in windows or windows[p].end != first}
    windows.update(await _windows(bootstrap, prefix, window, new))
    topics = await described(bootstrap, {prefix + partition.topic for partition in firsts})
    for step in in_steps(entries, _STEP):
        records = await _records(bootstrap, prefix, step)
        for entry in step:
            if entry.first == entry.next:
                yield entry, ()
                continue
            kept = records[entry.partition]
            at = entry.first - kept[0].offset
            chunk = kept[at : at + entry.next - entry.first]
            judged = windows[entry.partition]
            count = topics[prefix + entry.partition.topic].partitions
            passed_by = skipped.get(entry.partition, {})
            part = await aside(
                len(chunk), decode_part, entry.partition, chunk, judged, count, passed_by
            )
            yield entry, erased.facts(part.facts)


async def _windows(
    bootstrap: str, prefix: str, size: int, firsts: Mapping[Partition, int]
) -> dict[Partition, Window]:
    """What a duplicate is told by, as it was before the first entry of each partition."""
    windows = {partition: Window(size) for partition in firsts}
    named = {_named(prefix, partition): partition for partition in firsts}
    ends = await log_ends(bootstrap, list(named)) if named else {}
    stretches = {
        tp: (max(ends[tp][0], firsts[partition] - size, 0), firsts[partition])
        for tp, partition in named.items()
    }
    async for tp, records in read_back(bootstrap, stretches):
        remember(records, windows[named[tp]])
    return windows


async def _records(
    bootstrap: str, prefix: str, step: Sequence[Entry]
) -> Mapping[Partition, list[ConsumerRecord]]:
    """All records of a step, whose entries go on where the last of their partition ended."""
    stretches: dict[TopicPartition, tuple[int, int]] = {}
    for entry in step:
        tp = _named(prefix, entry.partition)
        first, _ = stretches.get(tp, (entry.first, 0))
        stretches[tp] = (first, entry.next)  # of an empty one nothing is read
    records: dict[Partition, list[ConsumerRecord]] = defaultdict(list)
    async for tp, found in read_back(bootstrap, stretches):
        records[Partition(tp.topic.removeprefix(prefix), tp.partition)].extend(found)
    return records


def _named(prefix: str, partition: Partition) -> TopicPartition:
    return TopicPartition(prefix + partition.topic, partition.number)
