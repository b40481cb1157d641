"""Commands about records that were refused after they had reached the log."""

import asyncio
import getpass
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from app.cli.terminal import Failed, cli, talk
from app.settings import Settings, SettingsError

if TYPE_CHECKING:
    import asyncpg

    from projections.quarantine import FailedEvent
    from streams.log import Position

T = TypeVar("T")

commands = typer.Typer(
    help="List, show, mend and resubmit records that are no events; let a group pass one by.",
    no_args_is_help=True,
)
cli.add_typer(commands, name="quarantine")

At = Annotated[str, typer.Argument(metavar="TOPIC:PARTITION:OFFSET")]
Json = Annotated[bool, typer.Option("--json", help="as JSON lines")]


@commands.command("list")
def list_(
    reason: Annotated[str | None, typer.Option(help="a part of the reason")] = None,
    field: str | None = None,
    topic: str | None = None,
    group: str | None = None,
    shop: Annotated[str | None, typer.Option(help="of this shop; all if not given")] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="not resubmitted yet")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    as_json: Json = False,
) -> None:
    """The latest records in quarantine, and the events that groups stand before."""
    from app.resubmission import as_json as described
    from projections.quarantine import Filter, listed
    from projections.skips import Failure, standing

    async def ask(
        pool: "asyncpg.Pool[asyncpg.Record]",
    ) -> "tuple[list[FailedEvent], list[Failure], bool]":
        wanted = Filter(
            shop=shop,
            topic=topic,
            field=field,
            reason=reason,
            group=group,
            resubmitted=False if waiting else None,
        )
        found, more = await listed(pool, wanted, limit)
        return list(found), list(await standing(pool)), more is not None

    found, failures, more = _with_pool(Settings(), ask)
    if as_json:
        for one in found:
            typer.echo(json.dumps(described(one), default=str))
    elif found:
        Console(highlight=False).print(_table(found))
    else:
        talk.print("[green]✓[/] nothing is in quarantine")
    if more:
        talk.print(f"[yellow]![/] there are more than {limit}: say --limit, or filter")
    for failure in failures:
        talk.print(
            f"[red]✗[/] {failure.model} fails on {failure.event_type} {failure.event_id} at "
            f"{failure.position}: mend it and start the group again, or `tillstream quarantine "
            f"skip {failure.position} --group {failure.group} --reason …`",
            soft_wrap=True,
        )


def _table(found: "list[FailedEvent]") -> Table:
    table = Table("position", "shop", "what is wrong", "resubmitted", box=None, header_style="dim")
    for one in found:
        again = one.resubmitted
        table.add_row(
            str(one.position),
            one.shop or "",
            f"{one.field}: {one.reason}".removeprefix(": "),
            str(again.position or "on its way") if again else "",
        )
    return table


@commands.command()
def show(position: At) -> None:
    """One record, whole, as JSON; its payload as it stands in the log."""
    from app.resubmission import as_json
    from projections.quarantine import find

    found = _with_pool(Settings(), lambda pool: find(pool, _position(position)))
    typer.echo(json.dumps(as_json(_there(found, position)), default=str, indent=2))


@commands.command()
def resubmit(
    position: At,
    body: Annotated[
        Path | None, typer.Option(help="a file with the corrected event; - for stdin")
    ] = None,
    shop: Annotated[
        str | None, typer.Option(help="whose it is, where the record does not say so")
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="seconds to wait for its position")] = 5.0,
) -> None:
    """Send a record again, as it is or corrected. However often: it counts once."""
    from app.api.ingest import Intake
    from app.api.limits import Rates, Room
    from app.api.problems import Problem
    from app.resubmission import AppliedElsewhere, Contradicted, Resubmission
    from app.vault import Vault
    from projections.quarantine import Resubmitted, find
    from streams.codec import Refused
    from streams.log import Log

    settings = Settings()
    corrected = _read(body) if body else None

    async def send(pool: "asyncpg.Pool[asyncpg.Record]") -> tuple[Resubmitted, bool]:
        failed = _there(await find(pool, _position(position)), position)
        owner = failed.shop or shop
        if owner is None:
            raise SettingsError("the record does not say whose it is: say --shop")
        if shop not in (None, owner):
            raise SettingsError(f"the record belongs to {owner!r}")
        # It goes through the outbox: this log is never connected.
        log = Log(settings.servers.kafka, settings.partitions, settings.prefix)
        vault = Vault(pool)
        room, rates = Room(settings.intake_bytes), Rates(None)
        intake = Intake(log, vault, settings.write_keys, settings.currency, room, rates)
        now = datetime.now(UTC)
        return await Resubmission(pool, intake, vault).send(failed, owner, corrected, now, wait)

    try:
        again, new = _with_pool(settings, send)
    except Refused as refused:
        raise Failed(f"it would be refused again: {refused}") from refused
    except (Contradicted, AppliedElsewhere, Problem) as error:
        raise Failed(str(error)) from error
    typer.echo(f"{again.event_id} {again.position or '-'}")
    if not new:
        talk.print("[yellow]![/] it was resubmitted before: nothing was sent")
    elif again.position is None:
        talk.print("[yellow]![/] it waits in the outbox until a worker relays it to Kafka")


@commands.command()
def skip(
    position: At,
    group: Annotated[str, typer.Option(help="as `tillstream quarantine list` names it")],
    reason: Annotated[str, typer.Option(help="kept, with your name, for whoever asks later")],
) -> None:
    """Let a group pass by the event that it fails on: at its next try it goes into quarantine."""
    from app.subscriptions import ALL_GROUPS
    from projections.skips import NotFailed
    from projections.skips import skip as note

    if group not in ALL_GROUPS:
        raise SettingsError(f"unknown group {group!r}; there are {', '.join(ALL_GROUPS)}")
    if not reason.strip():
        raise SettingsError("--reason: say why")
    try:
        failure = _with_pool(
            Settings(),
            lambda pool: note(pool, group, _position(position), reason, getpass.getuser()),
        )
    except NotFailed as error:
        raise Failed(str(error)) from error
    talk.print(
        f"[green]✓[/] {group} will pass by {failure.event_type} {failure.event_id} at {position} "
        f"as soon as it is started again: `tillstream up` does so by itself",
        soft_wrap=True,
    )


def _with_pool(
    settings: Settings, ask: "Callable[[asyncpg.Pool[asyncpg.Record]], Awaitable[T]]"
) -> T:
    """What is asked of Postgres. Raises Failed where it is away."""
    import asyncpg

    from projections.postgres import connect

    async def run() -> T:
        async with await connect(settings.servers.postgres, settings.schema_name, size=2) as pool:
            return await ask(pool)

    try:
        return asyncio.run(run())
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Failed(f"Postgres does not answer: {error}") from error


def _position(text: str) -> "Position":
    from projections.quarantine import parse_position

    try:
        return parse_position(text)
    except ValueError:
        raise SettingsError(f"{text!r} is not TOPIC:PARTITION:OFFSET, as `list` shows it") from None


def _there(found: "FailedEvent | None", position: str) -> "FailedEvent":
    if found is None:
        raise Failed(f"no record is in quarantine at {position}: `tillstream quarantine list`")
    return found


def _read(file: Path) -> bytes:
    return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
