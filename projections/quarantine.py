"""Records in quarantine, as they are looked for: what each was, why, and what became of it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct

from projections.read_model import Row, Transaction
from streams.log import Position
from streams.topics import TOPICS

MOST_LISTED = 100
SHOWN_BYTES = 2_000  # of each payload in a list
_MOST_PARTITION, _MOST_OFFSET = 2**31 - 1, 2**63 - 1


class Resubmitted(NamedTuple):
    """What a record was sent again as. No position: it waits in the outbox."""

    event_id: str
    position: Position | None
    at: datetime


class FailedEvent(NamedTuple):
    """A record in quarantine. `payload` is its value; of one in a list the beginning alone."""

    position: Position
    groups: Sequence[str]
    shop: str | None
    event_id: str | None
    field: str
    reason: str
    recorded_at: datetime
    payload: bytes | None
    size: int
    resubmitted: Resubmitted | None
    topic_id: UUID  # one created anew has other records at the same positions


class Filter(Struct, frozen=True, kw_only=True):
    """Which records. `reason` is a part of field and reason as they are shown (`field: reason`), in
    any case; no shop means all of them."""

    shop: str | None = None
    topic: str | None = None
    field: str | None = None
    reason: str | None = None
    group: str | None = None
    resubmitted: bool | None = None


async def listed(
    transaction: Transaction, wanted: Filter, limit: int = 50, after: str | None = None
) -> tuple[Sequence[FailedEvent], str | None]:
    """The latest records first, and the cursor to go on after them. Raises ValueError where `after`
    is no cursor."""
    at, position = _parse_cursor(after) if after else (None, Position("", 0, 0))
    await _note_positions(transaction)
    rows = await transaction.fetch(
        """
        SELECT *, substr(value, 1, $11) AS payload, octet_length(value) AS size FROM failed_events
        WHERE ($1::text IS NULL OR shop = $1)
            AND ($2::text IS NULL OR topic = $2)
            AND ($3::text IS NULL OR field = $3)
            AND ($4::text IS NULL OR strpos(lower(field || ': ' || reason), lower($4)) > 0)
            AND ($5::text IS NULL OR $5 = ANY(groups))
            AND ($6::boolean IS NULL OR (new_id IS NOT NULL) = $6)
            AND (
                $7::timestamptz IS NULL
                OR (recorded_at, topic, partition, record_offset) < ($7, $8, $9, $10)
            )
        ORDER BY recorded_at DESC, topic DESC, partition DESC, record_offset DESC
        LIMIT $12
        """,
        wanted.shop,
        wanted.topic,
        wanted.field,
        wanted.reason,
        wanted.group,
        wanted.resubmitted,
        at,
        *position,
        SHOWN_BYTES,
        limit + 1,
    )
    found = [_failed_event(row) for row in rows[:limit]]
    return found, _cursor_after(found[-1]) if len(rows) > limit else None


async def find(
    transaction: Transaction, position: Position, shop: str | None = None
) -> FailedEvent | None:
    """One record, whole; None where none in quarantine stands there, or it is not this shop's."""
    await _note_positions(transaction)
    row = await transaction.fetchrow(
        """
        SELECT *, value AS payload, octet_length(value) AS size FROM failed_events
        WHERE (topic, partition, record_offset) = ($1, $2, $3) AND ($4::text IS NULL OR shop = $4)
        """,
        *position,
        shop,
    )
    return None if row is None else _failed_event(row)


async def sent_again(transaction: Transaction, position: Position, topic_id: UUID) -> Resubmitted:
    """What a record was sent again as, also where it is in quarantine no more. Raises LookupError
    where it was not."""
    await _note_positions(transaction)
    row = await transaction.fetchrow(
        """
        SELECT event_id AS new_id, resubmitted_at, new_topic, new_partition, new_offset
        FROM resubmissions
        WHERE (topic, partition, record_offset, topic_id) = ($1, $2, $3, $4)
        """,
        *position,
        topic_id,
    )
    if row is None:
        raise LookupError(str(position))
    return _resubmitted(row)


def parse_position(text: str) -> Position:
    """A position where a record may stand. Raises ValueError."""
    found = Position.parse(text)
    if (
        found.topic not in TOPICS
        or not 0 <= found.partition <= _MOST_PARTITION
        or not 0 <= found.offset <= _MOST_OFFSET
    ):
        raise ValueError(text)
    return found


async def _note_positions(transaction: Transaction) -> None:
    """Notes where Kafka has what was sent again: the outbox forgets it after a week."""
    await transaction.execute(
        """
        UPDATE resubmissions SET new_topic = outbox.topic, new_partition = outbox.partition,
            new_offset = outbox.record_offset
        FROM outbox
        WHERE outbox.id = outbox_id AND new_offset IS NULL AND acknowledged_at IS NOT NULL
        """
    )


def _failed_event(row: Row) -> FailedEvent:
    again = None if row["new_id"] is None else _resubmitted(row)
    return FailedEvent(
        Position(row["topic"], row["partition"], row["record_offset"]),
        row["groups"],
        row["shop"],
        row["event_id"],
        row["field"],
        row["reason"],
        row["recorded_at"],
        row["payload"],
        row["size"] or 0,
        again,
        row["topic_id"],
    )


def _resubmitted(row: Row) -> Resubmitted:
    stands = row["new_offset"] is not None
    at = Position(row["new_topic"], row["new_partition"], row["new_offset"]) if stands else None
    return Resubmitted(row["new_id"], at, row["resubmitted_at"])


def _cursor_after(last: FailedEvent) -> str:
    """Milliseconds and a position, as text."""
    return f"{round(last.recorded_at.timestamp() * 1000)}:{last.position}"


def _parse_cursor(text: str) -> tuple[datetime, Position]:
    milliseconds, _, position = text.partition(":")
    try:
        return datetime.fromtimestamp(int(milliseconds) / 1000, UTC), parse_position(position)
    except (OverflowError, OSError) as error:
        raise ValueError(text) from error
