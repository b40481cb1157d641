"""Whether the figures are what the log says: folded anew, and compared at the same offsets.

The new tables stand beside the live ones until they are compared; nothing that is served is changed
by it. What is found is kept in `verify_results`, one row for each read model and scope.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import msgspec

from projections.contents import Comparison, Difference, Side, compare
from projections.erasure import count
from projections.live import LiveFigures, encode
from projections.postgres import connect, connect_alone
from projections.read_model import Figure, ReadModel, one_generation
from projections.refold import (
    Group,
    Offsets,
    Source,
    Tell,
    catch_up,
    create_tables,
    drop_tables,
    offsets_of,
)
from projections.shares import refolding
from projections.store import GroupStore, ReadModelChanged
from streams.exclusive import Connection, alone

FigureKey = tuple[str, str, str]  # metric, shop, key

_KEPT_EXAMPLES = 5
_LIVE = "live figures"
_LIVE_TRIES = 10
_LIVE_PAUSE_SECONDS = 0.5


class Checked(NamedTuple):
    """What came of checking one read model: `left` is what is served, `right` what the log says."""

    read_model: str
    scope: str  # whole, sample, live
    found: Comparison
    offsets: Offsets
    seconds: float


async def verify(
    group: Group, source: Source, names: Collection[str], tell: Tell = lambda _done, _of: None
) -> list[Checked]:
    """Folds the whole log anew and compares every key of these read models.

    Raises ReadModelChanged, LogChanged, FoldFailed, ReadBackFailed, OSError, PostgresError.
    """
    while (checked := await _verified(group, source, names, tell)) is None:
        pass
    return checked


async def _verified(
    group: Group, source: Source, names: Collection[str], tell: Tell
) -> list[Checked] | None:
    """One attempt; None where somebody was erased meanwhile: either side may know them still."""
    begun = time.monotonic()
    schema = f"{group.schema}_verify_{group.name}"

    async def connected() -> Connection:
        return await connect_alone(group.dsn, group.schema, seconds=None)

    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(alone(connected, f"verify/{group.name}"))
        erased = await count(connection)
        await drop_tables(connection, schema)  # of someone who was interrupted
        await create_tables(connection, group, schema, "verify")
        stack.push_async_callback(drop_tables, connection, schema)
        live = await offsets_of(connection, group.name, group.schema)
        refold = await stack.enter_async_context(refolding(group, source, schema, live))
        await catch_up(connection, group, refold, tell)
        served = await connected()
        stack.push_async_callback(served.close)
        checked = []
        async with served.transaction(isolation="repeatable_read", readonly=True):
            await one_generation(served)
            offsets = await offsets_of(served, group.name, group.schema)
            await same_versions(served, [step.model for step in group.steps])
            if await count(served) != erased:
                return None
            await refold.to(refold.reach(offsets))
            left, right = Side(served, group.schema), Side(connection, schema)
            for model in _named(group, names):
                assert model.contents is not None
                async with connection.transaction():
                    found = await compare(left, right, model.contents)
                seconds = time.monotonic() - begun
                checked.append(Checked(model.name, "whole", found, offsets, seconds))
        await keep(connection, checked)
    return checked


def _named(group: Group, names: Collection[str]) -> list[ReadModel]:
    return [
        step.model
        for step in group.steps
        if step.model.contents is not None and (not names or step.model.name in names)
    ]


async def same_versions(transaction: Connection, models: Sequence[ReadModel]) -> None:
    """Raises ReadModelChanged where a table was made by another version of the code."""
    rows = await transaction.fetch("SELECT name, version FROM read_models")
    made = {row["name"]: row["version"] for row in rows}
    for model in models:
        if made.get(model.name, model.version) != model.version:
            raise ReadModelChanged(
                f"{model.name} is version {made[model.name]} here, the code is version "
                f"{model.version}: there is nothing to compare before `tillstream rebuild "
                f"{model.name}`"
            )


async def keep(connection: Connection, checked: Sequence[Checked]) -> None:
    """Keeps what was found, for metrics and people; the last of each read model and scope."""
    await connection.executemany(
        """
        INSERT INTO verify_results AS known (
            read_model, scope, checked_at, keys, differing, examples, positions, seconds, failed
        )
        VALUES ($1, $2, now(), $3, $4::bigint, $5::jsonb, $6::jsonb, $7, ($4 > 0)::int)
        ON CONFLICT (read_model, scope) DO UPDATE SET
            checked_at = excluded.checked_at, keys = excluded.keys,
            differing = excluded.differing, examples = excluded.examples,
            positions = excluded.positions, seconds = excluded.seconds,
            checks = known.checks + 1, failed = known.failed + excluded.failed
        """,
        [
            (
                one.read_model,
                one.scope,
                one.found.keys,
                one.found.differing,
                _json([example._asdict() for example in one.found.examples[:_KEPT_EXAMPLES]]),
                _json({f"{p.topic}:{p.number}": offset for p, offset in one.offsets.items()}),
                one.seconds,
            )
            for one in checked
        ],
    )


async def made_right(connection: Connection, group: Group) -> None:
    """What earlier checks have found wrong is gone: a group's read models were made anew."""
    await connection.execute(
        """
        UPDATE verify_results SET differing = 0, examples = '[]', checked_at = now()
        WHERE read_model = ANY ($1) AND differing > 0
        """,
        [*group.tables, *([_LIVE] if group.has_live else [])],
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


# Redis.


async def verify_live(group: Group, source: Source, live: LiveFigures) -> list[Checked]:
    """Compares the live figures in Redis with Postgres. What a worker is about to send is given
    time: a figure differs if it does so again and again, and Postgres has not moved meanwhile.

    Raises RedisError, OSError, PostgresError.
    """
    begun = time.monotonic()
    pool = await connect(group.dsn, group.schema, size=2)
    try:
        store = GroupStore(pool, group.name, group.steps, source.clock)
        await store.register()
        wrong: dict[FigureKey, Difference] | None = None
        metrics = [step.model.name for step in group.steps if step.model.live is not None]
        for _ in range(_LIVE_TRIES):
            figures = {(f.metric, f.shop, f.key): f for f in await store.live_figures()}
            now = _wrong(figures, await live.held(metrics, store.live_day().isoformat()))
            wrong = {
                key: difference
                for key, difference in now.items()
                if wrong is None or wrong.get(key) == difference
            }
            if not wrong:
                break
            await asyncio.sleep(_LIVE_PAUSE_SECONDS)
        examples = list((wrong or {}).values())
        comparison = Comparison(len(figures), len(examples), examples, "", "")
        seconds = time.monotonic() - begun
        checked = [Checked(_LIVE, "live", comparison, {}, seconds)]
        async with pool.acquire() as connection:
            await keep(connection, checked)  # type: ignore[arg-type]
    finally:
        await pool.close()
    return checked


def _wrong(
    figures: Mapping[FigureKey, Figure], held: Mapping[FigureKey, bytes]
) -> dict[FigureKey, Difference]:
    """Figures that are not held as they are, and held ones that there are not."""
    found = {}
    for key in {*figures, *held}:
        want, have = figures.get(key), held.get(key)
        if want is None or have != encode(want):
            right = None if want is None else (encode(want).decode(),)
            found[key] = Difference(key, None if have is None else (have.decode(),), right)
    return found
