"""Commands for the day on which a disk is lost: a backup, and the way back."""

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.run import vars_of
from app.cli.terminal import Failed, cli, talk
from app.settings import Settings, read_addresses

if TYPE_CHECKING:
    from app.backup import Reconciled

Yes = Annotated[bool, typer.Option("--yes", help="do not ask")]


@cli.command()
def backup(
    file: Annotated[Path, typer.Argument(dir_okay=False)],
) -> None:
    """Write what only Postgres has into a file, while everything runs. The log stays Kafka's."""
    from app.backup import backup as write

    async def work() -> None:
        async with _servers(Settings(), beside=True) as settings:
            manifest = await write(settings, file)
        rows = sum(table.rows for table in manifest.tables.values())
        size = file.stat().st_size / 1e6
        talk.print(f"[green]✓[/] {rows:,} rows as of {manifest.taken_at:%F %T} UTC, {size:,.1f} MB")
        talk.print(
            "  There are keys of persons in it: keep it as you keep the log, which it needs."
        )

    _run(work())


@cli.command()
def restore(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    yes: Yes = False,
) -> None:
    """Put a backup in Postgres' place. Workers then read the log on from there, and end exact."""
    from app.backup import restore as put_back

    settings = Settings()
    _agreed(yes, f"Replace everything in the schema {settings.schema_name} of Postgres?")

    async def work() -> None:
        async with _servers(settings, beside=False) as found:
            restored = await put_back(found, file)
        age = datetime.now(UTC) - restored.manifest.taken_at
        minutes = age.total_seconds() / 60
        talk.print(f"[green]✓[/] Postgres is as it was {minutes:,.0f} minutes ago")
        for table in restored.left_out:
            talk.print(f"[yellow]![/] the table {table} is unknown here and was left out")
        _say(restored.reconciled)
        talk.print(
            "  What was sealed with keys of persons made since then cannot be read any more; who\n"
            "  signed up or changed a password since then has to do so again."
        )

    _run(work())


@cli.command()
def reconcile(yes: Yes = False) -> None:
    """Say that Postgres came back older than Kafka by other means, such as your own recovery."""
    from app.backup import reconciled

    settings = Settings()
    _agreed(yes, "Was Postgres set back to an earlier time?")

    async def work() -> None:
        async with _servers(settings, beside=False) as found:
            _say(await reconciled(found))

    _run(work())


def _agreed(yes: bool, question: str) -> None:
    """Raises typer.Abort where nobody agrees."""
    if not yes and not sys.stdin.isatty():
        raise Failed(f"{question} Say so with --yes")
    if not yes:
        typer.confirm(question, abort=True)


def _say(found: "Reconciled") -> None:
    """What was set right, and what is to come."""
    if found.days:
        talk.print(f"  {found.days:,} closed days are known from the log alone")
    if found.erased:
        talk.print(f"  {found.erased:,} persons were erased since then, and are so again")
    restated = found.restated
    if restated.relayed:
        talk.print(f"  {restated.relayed:,} events that waited were on the log already")
    if restated.states is None:
        talk.print(
            "[yellow]![/] the log has lost its beginning: the states that commands decide about are"
            " as old as Postgres is"
        )
    elif restated.states:
        talk.print(f"  {restated.states:,} states that commands decide about are as the log tells")
    for broken in restated.broken:
        talk.print(f"[yellow]![/] cannot be folded, and stays as it was: {broken}")
    for group, records in found.again.items():
        talk.print(f"  {group} will read {records:,} records of the log once it is started")


@asynccontextmanager
async def _servers(settings: Settings, *, beside: bool) -> AsyncIterator[Settings]:
    """Settings whose servers answer: those that run, or the embedded ones, started for this alone.
    Only `beside` what runs may they be those of an `up`."""
    from app.stack.up import running

    embedded = {"kafka", "postgres", "redis"} - settings.model_fields_set
    if not embedded or (beside and read_addresses(settings.home)):
        yield settings
        return
    async with running(settings) as stack:
        yield settings.model_copy(update=vars_of(stack.servers))


def _run(work: Coroutine[object, object, None]) -> None:
    """Runs it. Raises Failed with what to do next."""
    import asyncpg
    from aiokafka.errors import KafkaError

    from app.backup import OtherLog, StillRunning
    from projections.backup import BackupUnreadable
    from streams.readback import ReadBackFailed

    try:
        asyncio.run(work)
    except BackupUnreadable as error:
        raise Failed(str(error)) from error
    except StillRunning as error:
        raise Failed(f"{error}: stop all of Tillstream first; its servers may run") from error
    except OtherLog as error:
        raise Failed(
            f"{error}. A backup goes with its log: nothing was changed. To go by the log that is "
            "there, drop the schema and start again"
        ) from error
    except (
        *(KafkaError, OSError, ReadBackFailed),
        *(asyncpg.PostgresError, asyncpg.InterfaceError),
    ) as error:
        raise Failed(f"nothing was changed: {error!r}") from error
