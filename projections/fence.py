"""The fence: a group's progress rows are locked and moved, all of them or none.

Where one of them is not where its part begins, someone else has applied records of it; where a read
model has another generation, what the parts were folded onto is gone. Then none is moved, and
nothing may be written either.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from projections.clock import moment
from projections.read_model import as_json
from streams.batch import Part

# It locks `progress`, for a rebuild's switch to hold it up there, before it looks at anything else.
# Whoever goes on from here asks `held_all` whether it held. Its parameters are `arguments`.
MOVE = """
    WITH part AS (
        SELECT part->>0 AS topic, (part->>1)::int AS partition, (part->>2)::bigint AS first_offset,
            (part->>3)::bigint AS next_offset, (part->>4)::bigint AS last_digest,
            (part->>5)::bigint AS applied, (part->>6)::bigint AS repeated,
            (part->>7)::bigint AS quarantined, (part->>8)::timestamptz AS until
        FROM jsonb_array_elements($2::jsonb) AS part
    ), held AS (
        SELECT FROM progress JOIN part USING (topic, partition)
        WHERE group_name = $1 AND progress.next_offset = first_offset
            AND NOT EXISTS (
                SELECT FROM read_models
                JOIN unnest($3::text[], $4::bigint[]) AS known (name, generation) USING (name)
                WHERE read_models.generation <> known.generation
            )
        FOR UPDATE OF progress
    ), held_all AS MATERIALIZED (
        SELECT count(*) = jsonb_array_length($2::jsonb) AS yes FROM held
    ), moved AS (
        UPDATE progress SET
            next_offset = part.next_offset,
            last_digest = part.last_digest,
            applied = progress.applied + part.applied,
            repeated = progress.repeated + part.repeated,
            quarantined = progress.quarantined + part.quarantined,
            complete_to = greatest(complete_to, part.until)
        FROM part
        WHERE group_name = $1 AND progress.topic = part.topic
            AND progress.partition = part.partition AND (SELECT yes FROM held_all)
    )
"""


def arguments(group: str, parts: Sequence[Part], generations: Mapping[str, int]) -> tuple[Any, ...]:
    """The parameters $1 to $4 of `MOVE`."""
    moves = [
        (
            *part.partition,
            part.first,
            part.next,
            part.last_digest,
            len(part.facts),
            len(part.repeated),
            len(part.quarantined),
            moment(part.until_ms),
        )
        for part in parts
    ]
    return group, as_json(moves), list(generations), list(generations.values())
