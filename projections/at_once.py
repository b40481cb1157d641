"""A few records in one statement: progress moved and every read model written, or nothing.

Whether a commit takes a round trip for each read model hardly matters to ten thousand records. To
one that somebody waits for on a screen, it is most of the time.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from projections import fence
from projections.read_model import Figure, ReadModel, Setting, Transaction, as_json
from streams.batch import Part

MOST_RECORDS = 200

_LIVE_SINCE = "live AS (SELECT $5::timestamptz AS since, $6::date AS first_day)"
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
        *fence.arguments(group, parts, generations),
        setting.live_since,
        setting.live_day,
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


@cache
def _statement(models: tuple[ReadModel, ...]) -> str:
    """The statement that writes rows of these read models; their rows are its last parameters."""
    ctes, results = [fence.MOVE, _LIVE_SINCE], ["(SELECT yes FROM held_all) AS held_all"]
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
