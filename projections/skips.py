"""Events on which a group has failed, and those that a person has told it to pass by."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from projections.read_model import Transaction
from streams.batch import Partition
from streams.codec import Fact
from streams.log import Position

_LONGEST_ERROR = 500


class Failure(NamedTuple):
    """An event on which a read model or a learner fails. Its group stands before it."""

    group: str
    position: Position
    event_id: str
    event_type: str
    model: str
    error: str  # the exception's own words: it may tell of what stands in the event
    first_at: datetime
    last_at: datetime
    times: int


class NotFailed(Exception):
    """A group does not stand before this event: there is nothing to pass by."""


async def note_failure(
    transaction: Transaction, group: str, model: str, fact: Fact, error: BaseException
) -> None:
    """Keeps that a group has failed on an event, once more."""
    told = f"{type(error).__name__}: {error}".replace("\0", "\N{REPLACEMENT CHARACTER}")
    await transaction.execute(
        """
        INSERT INTO failures (
            group_name, topic, partition, record_offset, event_id, event_type, model, error,
            topic_id
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, coalesce(
            (
                SELECT topic_id FROM progress
                WHERE (group_name, topic, partition) = ($1, $2, $3)
            ),
            '00000000-0000-0000-0000-000000000000'
        ))
        ON CONFLICT (group_name, topic, partition, record_offset, topic_id) DO UPDATE SET
            model = excluded.model, error = excluded.error, last_at = now(),
            times = failures.times + 1
        """,
        group,
        fact.topic,
        fact.partition,
        fact.offset,
        fact.event.id,
        fact.event.type,
        model,
        told[:_LONGEST_ERROR],
    )


async def passed(transaction: Transaction, group: str) -> None:
    """A group of learners has learned all that it has read: whatever it had failed on is behind it.
    Its offsets do not tell: they move before anything is learned."""
    await transaction.execute("DELETE FROM failures WHERE group_name = $1", group)


async def standing(transaction: Transaction) -> Sequence[Failure]:
    """The failures that groups stand before."""
    rows = await transaction.fetch(
        """
        SELECT failures.* FROM failures
        LEFT JOIN progress USING (group_name, topic, partition)
        WHERE failures.topic_id = coalesce(progress.topic_id, failures.topic_id)
            AND (
                coalesce(next_offset, 0) <= record_offset
                OR group_name IN (SELECT group_name FROM learner_journal)
            )
        ORDER BY group_name, topic, partition, record_offset
        """
    )
    return [
        Failure(
            row["group_name"],
            Position(row["topic"], row["partition"], row["record_offset"]),
            row["event_id"],
            row["event_type"],
            row["model"],
            row["error"],
            row["first_at"],
            row["last_at"],
            row["times"],
        )
        for row in rows
    ]


async def skip(
    transaction: Transaction, group: str, position: Position, reason: str, asked_by: str
) -> Failure:
    """Lets a group pass by the event that it has failed on, at its next try. Raises NotFailed."""
    failed = await standing(transaction)
    found = [one for one in failed if one.group == group and one.position == position]
    if not found:
        told = ", ".join(f"{one.group} on {one.position}" for one in failed) or "no group on any"
        raise NotFailed(f"{group} has not failed on {position}; there failed {told}")
    await transaction.execute(
        """
        INSERT INTO skips (
            group_name, topic, partition, record_offset, topic_id, reason, asked_by
        )
        SELECT group_name, topic, partition, record_offset, topic_id, $5, $6 FROM failures
        WHERE (group_name, topic, partition, record_offset) = ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING
        """,
        group,
        *position,
        reason,
        asked_by,
    )
    return found[0]


async def of_group(transaction: Transaction, group: str) -> Mapping[Partition, Mapping[int, str]]:
    """What a group is to pass by: reasons by offset, of each partition of the topic that it reads.

    Besides what it was told to, these are records that were sent again: a later version may take
    for an event what an earlier one put into quarantine, and what counts is what was sent again.
    """
    rows = await transaction.fetch(
        """
        SELECT topic, partition, record_offset, 'resubmitted as ' || event_id AS reason
        FROM resubmissions JOIN progress USING (topic, partition, topic_id) WHERE group_name = $1
        UNION ALL
        SELECT topic, partition, record_offset, reason
        FROM skips JOIN progress USING (group_name, topic, partition, topic_id)
        WHERE group_name = $1
        """,
        group,
    )
    found: defaultdict[Partition, dict[int, str]] = defaultdict(dict)
    for row in rows:
        found[Partition(row["topic"], row["partition"])][row["record_offset"]] = row["reason"]
    return found
