"""A few records in one statement: progress moved and every read model written, or nothing.

Whether a commit takes a round trip for each read model hardly matters to ten thousand records. To
one that somebody waits for on a screen, it is most of the time.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from projections.clock import moment
from projections.read_model import Figure, ReadModel, Setting, Transaction, as_json
from streams.subscribe import Part

MOST_RECORDS = 200

# The progress rows are locked before anything is written. Where one of them is not where its part
# begins, someone else has applied records of it: then nothing is written at all.
_PROGRESS = """
    WITH part AS (
        SELECT part->>0 AS topic, (part->>1)::int AS partition, (part->>2)::bigint AS first_offset,
            (part->>3)::bigint AS next_offset, (part->>4)::bigint AS last_digest,
            (part->>5)::bigint AS applied, (part->>6)::bigint AS repeated,
            (part->>7)::timestamptz AS until
        FROM jsonb_array_elements($2::jsonb) AS part
    ), held AS (
        SELECT FROM progress JOIN part USING (topic, partition)
        WHERE group_name = $1 AND progress.next_offset = first_offset
            AND NOT EXISTS (
                SELECT FROM read_models
                JOIN unnest($5::text[], $6::bigint[]) AS known (name, generation) USING (name)
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
            complete_to = greatest(complete_to, part.until)
        FROM part
        WHERE group_name = $1 AND progress.topic = part.topic
            AND progress.partition = part.partition AND (SELECT yes FROM held_all)
    ), live AS (SELECT $3::timestamptz AS since, $4::date AS first_day)
"""
_FIRST_ROWS = 7  # the number of the first parameter that bears rows


async def write(
    transaction: Transaction,
    group: str,
    parts: Sequence[Part],
    rows: Mapping[ReadModel, Sequence[Any]],
    setting: Setting,
    generations: Mapping[str, int],
) -> list[Figure] | None:
    """Applies parts of a group's partitions, none of which quarantines anything.

    The live figures that changed; None where someone has applied records of them already, or where
    a read model was rebuilt: what this was folded onto is gone.
    """
    models = tuple(rows)
    found = await transaction.fetchrow(
        _statement(models),
        group,
        as_json([_moves(part) for part in parts]),
        setting.live_since,
        setting.live_day,
        list(generations),
        list(generations.values()),
        *map(as_json, rows.values()),
    )
    assert found is not None
    if not found["held_all"]:
        return None
    return [
        model.write.figure(row, setting)
        for model in models
        if model.write is not None and model.write.figure is not None
        for row in found[model.name]
    ]


def _moves(part: Part) -> tuple[Any, ...]:
    numbers = (part.first, part.next, part.last_digest, len(part.facts), len(part.repeated))
    return (*part.partition, *numbers, moment(part.until_ms))


@cache
def _statement(models: tuple[ReadModel, ...]) -> str:
    """The statement that writes rows of these read models; their rows are its last parameters."""
    ctes, results = [_PROGRESS], ["(SELECT yes FROM held_all) AS held_all"]
    for number, model in enumerate(models, _FIRST_ROWS):
        assert model.write is not None
        write = model.write.sql.replace("{rows}", f"{model.name}_rows")
        ctes.append(_ROWS.format(name=model.name, number=number))
        ctes.append(f"{model.name}_changed AS ({write})")
        if model.write.live is not None:
            results.append(_LIVE.format(name=model.name, condition=model.write.live))
    return f"{', '.join(ctes)} SELECT {', '.join(results)}"


_ROWS = """{name}_rows AS (
    SELECT row FROM jsonb_array_elements(${number}::jsonb) AS row
    WHERE (SELECT yes FROM held_all)
)"""
_LIVE = """ARRAY(
    SELECT ROW(changed.*)::{name} FROM {name}_changed AS changed, live WHERE {condition}
) AS {name}"""
