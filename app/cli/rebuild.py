"""Commands that hold the figures against the log: make them anew, or check them."""

import asyncio
import logging
import os
from collections.abc import Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Annotated

import structlog
import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from app.cli.rebuild_learners import rebuild_learners
from app.cli.terminal import Failed, cli, talk
from app.settings import Settings, SettingsError

if TYPE_CHECKING:  # Kafka's and Postgres' clients would slow every command's start
    from projections.rebuild import Rebuilt
    from projections.refold import Group, Source, Tell
    from projections.verify import Checked

ALL = "all"
SHOP = "shop"
Processes = Annotated[int, typer.Option(min=1, help="that fold at the same time, at most")]
_CORES = os.cpu_count() or 1


@cli.command()
def rebuild(
    name: Annotated[str, typer.Argument(help="of a read model, learners, recommenders, or all")],
    processes: Processes = _CORES,
) -> None:
    """Make a read model's tables anew from the log, while queries and workers go on; or the models
    of the learners.

    What it builds on, and what builds on it, is rebuilt with it. Ctrl-C is safe: run it again, and
    it goes on.
    """
    import asyncpg
    from aiokafka.errors import KafkaError

    from app.subscriptions import LEARNER_GROUPS
    from projections.postgres import MigrationChanged
    from projections.read_model import FoldFailed
    from projections.rebuild import RebuildRunning
    from projections.store import ReadModelChanged
    from streams.batch import LogChanged, Transient
    from streams.interpreter import tune
    from streams.readback import ReadBackFailed

    settings = Settings()
    tune()
    _quietly()
    groups = [] if name in LEARNER_GROUPS else groups_of(settings, [] if name == ALL else [name])
    for group in groups:
        talk.print(f"rebuilding {', '.join(group.tables)}: they are made together")
        try:
            with _bar("folding") as tell:
                done = asyncio.run(_rebuild(settings, group, processes, tell))
        except (
            *(RebuildRunning, LogChanged, FoldFailed, ReadBackFailed, ReadModelChanged),
            MigrationChanged,
        ) as error:
            raise Failed(str(error)) from error
        except (
            *(OSError, KafkaError, Transient),
            *(asyncpg.PostgresError, asyncpg.InterfaceError),
        ) as error:
            raise Failed(
                f"{error!r}; see with `tillstream doctor` whether Kafka and Postgres answer, then "
                f"`tillstream rebuild {name}` goes on from here"
            ) from error
        except KeyboardInterrupt:
            talk.print(f"[yellow]![/] stopped; `tillstream rebuild {name}` goes on from here")
            raise typer.Exit(130) from None
        _say(done)
    for learners in LEARNER_GROUPS if name == ALL else {name}.intersection(LEARNER_GROUPS):
        try:
            with _bar("learning") as tell:
                rebuild_learners(settings, learners, tell, if_any=name == ALL)
        except (OSError, KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Failed(f"{error!r}; the models are as they were") from error
        except KeyboardInterrupt:
            talk.print("[yellow]![/] stopped; the models are as they were")
            raise typer.Exit(130) from None


@cli.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="of read models, or shop: the states; all")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="so many orders and days alone, drawn by lot")
    ] = None,
    processes: Processes = _CORES,
) -> None:
    """Fold the log anew and compare every figure that is served with it, and every state that
    commands decide about. Exits with 1 if any differs."""
    import asyncpg
    from aiokafka.errors import KafkaError
    from redis.exceptions import RedisError

    from app.commands.retold import NotRelayed
    from projections.postgres import MigrationChanged
    from projections.read_model import FoldFailed
    from projections.store import ReadModelChanged
    from streams.batch import LogChanged, Transient
    from streams.interpreter import tune
    from streams.readback import ReadBackFailed

    settings = Settings()
    tune()
    _quietly()
    wrong = 0
    named = [name for name in names or [] if name != SHOP]
    checks = [
        partial(_verify, settings, group, _anew(settings, processes), named, sample)
        for group in (groups_of(settings, named) if named or not names else [])
    ]
    if not sample and (not names or SHOP in names):
        checks.append(partial(_verify_shop, settings))
    for check in checks:
        try:
            with _bar("folding") as tell:
                checked = asyncio.run(check(tell))
        except (
            *(ReadModelChanged, LogChanged, FoldFailed, ReadBackFailed),
            *(NotRelayed, MigrationChanged),
        ) as error:
            raise Failed(str(error)) from error
        except (
            *(OSError, KafkaError, RedisError, Transient),
            *(asyncpg.PostgresError, asyncpg.InterfaceError),
        ) as error:
            raise Failed(
                f"nothing was found out: {error!r}; see with `tillstream doctor` whether Kafka, "
                "Postgres and Redis answer, then check again"
            ) from error
        wrong += sum(one.found.differing for one in checked)
        _tell(checked)
    raise typer.Exit(1 if wrong else 0)


async def _verify_shop(settings: Settings, tell: "Tell") -> "list[Checked]":
    from app.commands.retold import check_states, shop_of
    from app.vault import Vault
    from projections.postgres import connect, migrate

    servers = settings.servers
    await migrate(servers.postgres, settings.schema_name)
    pool = await connect(servers.postgres, settings.schema_name, size=2)
    try:
        return await check_states(shop_of(settings), Vault(pool), tell)
    finally:
        await pool.close()


def _anew(settings: Settings, processes: int) -> "Source":
    """The log, as it is folded anew: in larger commits than the workers', unless theirs are set."""
    from msgspec.structs import replace

    from app.folding import source_of
    from projections.refold import COMMIT_RECORDS

    source = source_of(settings)
    chosen = "commit_records" in settings.model_fields_set
    records = source.commit_records if chosen else COMMIT_RECORDS
    return replace(source, commit_records=records, processes=processes)


async def _verify(
    settings: Settings,
    group: "Group",
    source: "Source",
    names: Sequence[str],
    number: int | None,
    tell: "Tell",
) -> "list[Checked]":
    from redis.asyncio import Redis

    from projections.live import LiveFigures
    from projections.postgres import migrate
    from projections.sample import verify_sample
    from projections.verify import verify as whole
    from projections.verify import verify_live

    await migrate(group.dsn, group.schema)
    if number is not None:
        checked = await verify_sample(group, source, number, Random())  # noqa: S311  (no secret)
        found = [one for one in checked if not names or one.read_model in names]
        wanted = {*names} & {*group.tables} or {*group.tables}
        if left := sorted(wanted - {one.read_model for one in found}):
            told = f"nothing was drawn of {', '.join(left)}"
            if names and not found:
                raise Failed(f"{told}: check it whole, with `tillstream verify {left[0]}`")
            talk.print(f"· {told}: `tillstream verify` checks all, whole")
        return found
    checked = await whole(group, source, names, tell)
    if names or not group.has_live:
        return checked
    async with Redis.from_url(settings.servers.redis) as redis:
        live = LiveFigures(redis, settings.prefix, {})
        return checked + await verify_live(group, source, live)


def _tell(checked: "Sequence[Checked]") -> None:
    """What was found, a line for each read model, and the first keys that differ."""
    for one in checked:
        found = one.found
        scope = "" if one.scope == "live" else f", {one.scope}"
        if not found.differing:
            named = f", digest {found.right}" if found.right else ""
            talk.print(f"[green]✓[/] {one.read_model}{scope}: {found.keys:,} keys{named}")
            continue
        talk.print(
            f"[red]✗[/] {one.read_model}{scope}: {found.differing:,} of {found.keys:,} keys differ"
        )
        for key, served, told in found.examples:
            talk.print(f"    {plain(key)}: served {plain(served)}, {_who(one)} {plain(told)}")
    if wrong := [one for one in checked if one.found.differing]:
        talk.print(f"[yellow]![/] {_what_to_do(wrong)}")


def _who(one: "Checked") -> str:
    """What a read model was compared with."""
    if one.scope == "live":
        return "Postgres says"
    return (
        "the orders say" if one.scope == "sample" and one.read_model != "orders" else "the log says"
    )


def _what_to_do(wrong: "Sequence[Checked]") -> str:
    if wrong[0].scope == "shop":
        return "a state that commands decide about is not what its events tell: please report it"
    if all(one.scope == "sample" for one in wrong):
        return (
            "a sample adds up the table of orders: `tillstream verify` holds all to the log itself"
        )
    names = [one.read_model for one in wrong if one.scope == "whole"]
    return f"`tillstream rebuild {names[0] if names else ALL}` makes it anew from the log"


def _quietly() -> None:
    """Without the readers' own words, which are of interest in a worker."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


@cli.command()
def upgrade(
    only_say: Annotated[
        bool,
        typer.Option("--only-say", help="what is to be rebuilt: exits with 1 if anything is"),
    ] = False,
    processes: Processes = _CORES,
) -> None:
    """Bring the tables and topics of an earlier version to this one's, and make the read models
    anew that are new or of other code now. Workers of the earlier version go on until then."""
    settings = Settings()
    applied, stale = _migrated(settings)
    for name in applied:
        talk.print(f"[green]✓[/] {name}")
    if not applied and not stale:
        talk.print("[green]✓[/] the tables are of this version")
    for group, reasons in stale.items():
        for reason in reasons:
            talk.print(f"[yellow]![/] {reason}")
        if not only_say:
            rebuild(group, processes)
    raise typer.Exit(1 if stale and only_say else 0)


def _migrated(settings: Settings) -> tuple[list[str], dict[str, list[str]]]:
    """The migrations that were applied, and of each group that is to be rebuilt a read model, with
    the reasons. Raises Failed."""
    import asyncpg
    from aiokafka.errors import KafkaError

    from projections.postgres import MigrationChanged, migrate
    from streams.topics import PartitionsDiffer, create_topics

    async def run() -> tuple[list[str], dict[str, list[str]]]:
        servers = settings.servers
        applied = await migrate(servers.postgres, settings.schema_name)
        await create_topics(
            servers.kafka, settings.partitions, settings.prefix, settings.replication
        )
        reasons = {group.tables[0]: await _stale(group) for group in groups_of(settings, [])}
        return applied, {table: found for table, found in reasons.items() if found}

    try:
        return asyncio.run(run())
    except (MigrationChanged, PartitionsDiffer) as error:
        raise Failed(str(error)) from error
    except (OSError, KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Failed(
            f"{error!r}: every migration is whole or not at all; `tillstream upgrade` goes on "
            "from here once Kafka and Postgres answer"
        ) from error


async def upgraded(settings: Settings) -> None:
    """Makes read models anew of which the tables are of other code: their workers would not start.

    Raises what a rebuild does."""
    for group in groups_of(settings, []):
        if await _stale(group):
            talk.print(
                f"· {', '.join(group.tables)}: made anew from the log, as their code is newer"
            )
            with _bar("folding") as tell:
                _say(await _rebuild(settings, group, _CORES, tell))


async def _stale(group: "Group") -> list[str]:
    """Why a group's workers would not start."""
    from projections.postgres import connect_alone
    from projections.store import ReadModelChanged, generations_of

    connection = await connect_alone(group.dsn, group.schema)
    try:
        async with connection.transaction():
            await generations_of(connection, group.name, [step.model for step in group.steps])
    except ReadModelChanged as changed:
        return [str(changed)]
    finally:
        await connection.close()
    return []


async def _rebuild(settings: Settings, group: "Group", processes: int, tell: "Tell") -> "Rebuilt":
    import asyncpg
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    from projections.live import LiveFigures
    from projections.postgres import migrate
    from projections.rebuild import rebuild as run
    from projections.rebuild import renew_live

    await migrate(group.dsn, group.schema)
    source = _anew(settings, processes)
    done = await run(group, source, tell)
    try:
        async with Redis.from_url(settings.servers.redis) as redis:
            await renew_live(group, source.clock, LiveFigures(redis, settings.prefix, {}))
    except (RedisError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        talk.print(f"[yellow]![/] Redis is filled by the workers, later: {error!r}")
    return done


def _say(done: "Rebuilt") -> None:
    rate = (done.folded - done.resumed_at) / done.seconds
    talk.print(
        f"[green]✓[/] {done.folded:,} events, {done.folded - done.resumed_at:,} of them in "
        f"{done.seconds:.1f} s ({rate:,.0f}/s); workers waited {done.fence_seconds * 1000:,.0f} ms"
    )
    if done.not_compared:
        talk.print(
            "[yellow]![/] the new tables are in place; how they differ from the old could not be "
            f"told: {done.not_compared}"
        )
    for name, compared in done.compared.items():
        if not compared.differing:
            talk.print(f"  {name}: {compared.keys:,} keys as before, digest {compared.right}")
            continue
        talk.print(f"  {name}: {compared.differing:,} of {compared.keys:,} keys are new figures")
        for key, before, now in compared.examples[:3]:
            talk.print(f"    {plain(key)}: was {plain(before)}, is {plain(now)}")


def plain(values: Sequence[object] | None) -> str:
    """A part of a row, for people."""
    return "nothing" if values is None else " ".join(str(value) or '""' for value in values)


def _bar(text: str) -> "_Bar":
    return _Bar(text)


class _Bar:
    """A progress bar with the time that is left; as a context it gives what moves it."""

    def __init__(self, text: str) -> None:
        self._progress = Progress(
            TextColumn(text),
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=talk,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> "Tell":
        self._progress.start()
        return lambda done, of: self._progress.update(self._task, completed=done, total=of)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def groups_of(settings: Settings, names: Sequence[str]) -> "list[Group]":
    """The groups of these read models, or all. Raises SettingsError where one is not known."""
    from app.subscriptions import GROUPS, steps_of
    from projections.refold import Group

    groups = [
        Group(settings.servers.postgres, settings.schema_name, name, steps_of(name))
        for name in GROUPS
    ]
    known = [table for group in groups for table in group.tables]
    if unknown := [name for name in names if name not in known]:
        raise SettingsError(f"no read model {unknown[0]!r}; there are {', '.join(known)}, and all")
    return [group for group in groups if not names or {*names} & {*group.tables}]
