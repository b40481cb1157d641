"""The command line. Data goes to stdout, talk to stderr; an error says what to do next."""

import asyncio
import logging
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import httpx2
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from app.settings import DEMO_KEY, Servers, Settings, SettingsError
from app.subscriptions import GROUPS

cli = typer.Typer(
    help="Your shop, live: events in, exact figures out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
talk = Console(stderr=True, highlight=False)

ReadyFile = Annotated[
    Path | None, typer.Option(help="write the addresses here once everything answers")
]


class Failed(Exception):
    """A command did not do what it was asked to; the message says what to do next."""


@cli.command()
def up(ready_file: ReadyFile = None) -> None:
    """Start Kafka, Postgres, Redis, the API and the workers, and keep them up until Ctrl-C."""
    from app.demo import banner

    async def during(api: str) -> None:
        banner(talk, api)
        await asyncio.Event().wait()

    _stack(ready_file, during)


@cli.command()
def demo(
    rate: Annotated[float, typer.Option(min=0.1, help="events a second")] = 20.0,
    seed: int = 7,
    ready_file: ReadyFile = None,
) -> None:
    """Like `up`, with a simulated shop and a live view of its sales."""
    from app.demo import show
    from loadtests.simulator import simulate as run

    settings = Settings()

    async def during(api: str) -> None:
        key = _write_key(settings)
        run_id = datetime.now(UTC).strftime("%m%d%H%M%S")
        feed = asyncio.create_task(run(api, key, rate=rate, seed=seed, run_id=run_id))
        view = asyncio.create_task(show(settings, api, talk))
        try:
            done, _ = await asyncio.wait({feed, view}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            feed.cancel()
            view.cancel()
            await asyncio.gather(feed, view, return_exceptions=True)

    _stack(ready_file, during)


def _stack(ready_file: Path | None, during: Callable[[str], Awaitable[None]]) -> None:
    from app.demo import ticks
    from app.learner.client import asked
    from app.stack.ports import claim
    from app.stack.up import AppProcess, Stack
    from app.stack.up import up as run

    settings = Settings()
    progress = ticks(talk)

    async def prepare(servers: Servers) -> None:
        from app.page.modules import prefetch_modules
        from projections.postgres import migrate
        from streams.topics import create_topics

        await migrate(servers.postgres, settings.schema_name)
        await asyncio.gather(
            create_topics(
                servers.kafka, settings.partitions, settings.prefix, settings.replication
            ),
            prefetch_modules(settings.home, progress.note),
        )

    def apps(servers: Servers) -> Sequence[AppProcess]:
        found = settings.model_copy(update=vars_of(servers))
        port = claim(settings.home, "api", settings.api_port)
        api = f"http://{settings.api_host}:{port}"
        command = (sys.executable, "-m", "app.cli")
        return [
            AppProcess(
                "api", (*command, "api", "--port", str(port)), lambda: _answers(api), address=api
            ),
            *(
                AppProcess(
                    "worker" if group == GROUPS[0] else f"worker-{group}",
                    (*command, "worker", "--group", group),
                    lambda group=group: _reads(found, group),  # type: ignore[misc]
                )
                for group in GROUPS
            ),
            AppProcess("learner", (*command, "learner"), lambda: asked(found, "/health")),
        ]

    async def shown(stack: Stack) -> None:
        await during(stack.addresses["api"])

    stopped = asyncio.run(
        run(
            settings,
            prepare=prepare,
            apps=apps,
            ready_file=ready_file,
            progress=progress,
            during=shown,
        )
    )
    if stopped is not None:
        talk.print("[green]✓[/] stopped; what it knows is kept in", str(settings.home))
        raise typer.Exit(0 if stopped is signal.SIGINT else 128 + stopped)


def vars_of(servers: Servers) -> dict[str, str]:
    """Addresses as settings."""
    return {"kafka": servers.kafka, "postgres": servers.postgres, "redis": servers.redis}


async def _answers(api: str) -> None:
    async with httpx2.AsyncClient() as client:
        (await client.get(f"{api}/health/ready", timeout=2)).raise_for_status()


async def _reads(settings: Settings, group: str) -> None:
    from app.status import members

    if not await members(settings, group):
        raise ConnectionError(f"nobody reads for {group} yet")


@cli.command()
def api(
    port: Annotated[int | None, typer.Option(help="TILLSTREAM_API_PORT if not given")] = None,
) -> None:
    """Serve the API alone."""
    from app.api.server import serve

    settings = Settings()
    if DEMO_KEY in settings.write_keys and settings.api_host not in ("127.0.0.1", "localhost"):
        raise SettingsError(
            f"the write key {DEMO_KEY!r} is known to everyone: before you listen on "
            f"{settings.api_host}, set TILLSTREAM_WRITE_KEYS=KEY:main (for example "
            f"{secrets.token_urlsafe(16)}:main)"
        )
    serve(settings, port if port is not None else settings.api_port)


@cli.command()
def worker(
    group: Annotated[str, typer.Option(help=f"one of {', '.join(GROUPS)}")] = GROUPS[0],
) -> None:
    """Keep one group's read models."""
    from app.worker import run

    if group not in GROUPS:
        raise SettingsError(f"unknown group {group!r}; there are {', '.join(GROUPS)}")
    run(Settings(), group)


@cli.command()
def learner(
    digest: Annotated[
        bool, typer.Option("--digest", help="print what tells the running one's models apart")
    ] = False,
) -> None:
    """Learn from the log, and answer the API's questions for what comes next."""
    from app.learner import process
    from app.learner.client import asked

    settings = Settings()
    if digest:
        found = asyncio.run(asked(settings, "/digest"))
        typer.echo(f"{found['digest']} {found['seq']}")
    else:
        process.run(settings)


@cli.command()
def scores(
    shop: str = "main",
    level: Annotated[str | None, typer.Option(help="total or category")] = None,
) -> None:
    """Print how well the forecasts did, beside the seasonal naive."""
    from app.learner.client import asked
    from app.learner.scores import table_of

    found = asyncio.run(asked(Settings(), "/forecasts/scores", shop=shop, level=level))
    Console(highlight=False).print(table_of(found))


@cli.command()
def simulate(
    rate: Annotated[
        str | None, typer.Option(help="events a second, or max; 20, or max with --days")
    ] = None,
    seed: int = 7,
    limit: Annotated[int | None, typer.Option(help="stop after so many events")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="a history of so many days")] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="its last day; yesterday")
    ] = None,
    visits: Annotated[int, typer.Option(min=1, help="on an average day of it")] = 1000,
    truth: Annotated[
        Path | None, typer.Option(dir_okay=False, help="write here what every figure has to be")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="then compare every figure")] = False,
    shuffle: Annotated[float, typer.Option(min=0, max=1, help="share overtaken")] = 0.2,
    late: Annotated[float, typer.Option(min=0, max=1, help="share that comes much later")] = 0.05,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="share sent twice")] = 0.03,
    contradictions: Annotated[
        float, typer.Option(min=0, max=1, help="share of orders told twice, differently")
    ] = 0.01,
    in_order: Annotated[
        bool, typer.Option("--in-order", help="none of these: as it happened")
    ] = False,
    shop: Annotated[str | None, typer.Option(help="one that a write key writes to")] = None,
    api: Annotated[str | None, typer.Option(help="its address; the one that is up here")] = None,
) -> None:
    """Play a small shop's visitors against the running API: endlessly, or a history of --days.

    A history is a pure function of its seed, days, until and visits, so it can be sent in any
    disorder and compared with what the shop's own books say.
    """
    from app.target import target
    from loadtests.simulator import Refused, command
    from loadtests.simulator import simulate as run
    from loadtests.simulator.compare import Unanswered
    from loadtests.simulator.history import Plan
    from loadtests.simulator.traffic import IN_ORDER, Disorder

    settings = Settings()
    if days is None and (truth or verify or until):
        raise SettingsError("--truth, --verify and --until are about a history: say --days N")
    to = target(settings, shop, api)
    pace = parse_rate(rate or ("20" if days is None else "max"))

    async def play() -> bool:
        if days is None:
            run_id = datetime.now(UTC).strftime("%m%d%H%M%S")
            endless = pace or MOST_EVENTS_A_SECOND
            sent = await run(to.api, to.key, rate=endless, seed=seed, run_id=run_id, limit=limit)
            talk.print(f"[green]✓[/] {sent} events acknowledged")
            return True
        plan = Plan(seed, days, command.last_day(until.date() if until else None, settings), visits)
        disorder = IN_ORDER if in_order else Disorder(shuffle, late, duplicates, contradictions)
        return await command.send_history(
            settings, to, plan, disorder, pace, truth, talk, verify=verify
        )

    try:
        well = asyncio.run(play())
    except Refused as refused:
        raise Failed(f"the API refuses what the simulator sends: {refused}") from refused
    except Unanswered as failed:
        raise Failed(str(failed)) from failed
    raise typer.Exit(0 if well else 1)


MOST_EVENTS_A_SECOND = 100_000.0


def parse_rate(text: str) -> float | None:
    """`max` as None, `20` as 20. Raises SettingsError."""
    if text == "max":
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= MOST_EVENTS_A_SECOND:
        raise SettingsError(f"--rate is `max` or a number of events a second, not {text!r}")
    return rate


@cli.command()
def compare(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    api: Annotated[str | None, typer.Option(help="its address; the one that is up here")] = None,
    shop: Annotated[str | None, typer.Option(help="another one that had the same history")] = None,
) -> None:
    """Ask for every figure of a truth file. Exits with 1 if any differs."""
    from app.target import running_api
    from loadtests.simulator import command, truth
    from loadtests.simulator.compare import Unanswered

    settings = Settings()
    try:
        told = truth.read(file)
        if told.timezone != settings.timezone.key:
            raise SettingsError(f"its days are those of {told.timezone}: set TILLSTREAM_TIMEZONE")
        told.shop = shop or told.shop
        address = running_api(settings, api)
        well = asyncio.run(command.compare(settings, address, told, talk))
    except (truth.NoTruth, Unanswered) as failed:
        raise Failed(str(failed)) from failed
    raise typer.Exit(0 if well else 1)


@cli.command()
def trigger(
    type: Annotated[str, typer.Argument(help="such as order.completed, in any spelling")],  # noqa: A002
    country: str | None = None,
    product: str | None = None,
    category: str | None = None,
    quantity: int | None = None,
    price: str | None = None,
    currency: str | None = None,
    order: str | None = None,
    person: str | None = None,
    shop: Annotated[str | None, typer.Option(help="one that a write key writes to")] = None,
    api: Annotated[str | None, typer.Option(help="its address; the one that is up here")] = None,
) -> None:
    """Send one believable event, and say where it is and how to see what it did."""
    from app import trigger as triggering
    from app.target import target

    said = triggering.Said(country, product, category, quantity, price, currency, order, person)
    try:
        event = triggering.event(type, said, secrets.token_hex(3))
        to = target(Settings(), shop, api)
        answer = asyncio.run(triggering.send(to, event))
    except triggering.NotSent as failed:
        raise Failed(str(failed)) from failed
    typer.echo(f"{answer.id} {answer.position}")
    for words in triggering.next_steps(to, event, answer.position):
        talk.print(words, soft_wrap=True)


def _write_key(settings: Settings) -> str:
    return next(iter(settings.write_keys))


@cli.command()
def replay(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    format: Annotated[  # noqa: A002
        str, typer.Option(help="online-retail, rees46, retailrocket, or tillstream: our own log")
    ] = "online-retail",
    speed: Annotated[str, typer.Option(help="max, or xN: N times the original pace")] = "max",
    shop: str = "main",
) -> None:
    """Send a file of past events through the log; returns once all of it is in the figures."""
    from app.replay import ReplayFailed, replay_file

    try:
        asyncio.run(replay_file(Settings(), file, parse_speed(speed), shop, talk, format))
    except ReplayFailed as failed:
        raise Failed(str(failed)) from failed


@cli.command()
def capture(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="gzipped where it ends in .gz")],
    topics: Annotated[
        str, typer.Option(help="comma-separated; all but days, which are said anew")
    ] = "",
    from_offset: Annotated[int, typer.Option(min=0, help="of each partition")] = 0,
    shop: Annotated[str | None, typer.Option(help="this shop's events alone")] = None,
) -> None:
    """Write the log's events into a file, for `replay --format tillstream`."""
    from aiokafka.errors import KafkaError

    from streams import captured
    from streams.readback import ReadBackFailed

    settings = Settings()
    try:
        wanted = captured.topics_named(topics.split(",") if topics else captured.CAPTURED_TOPICS)
        found = asyncio.run(
            captured.capture(
                settings.servers.kafka,
                settings.prefix,
                settings.partitions,
                file,
                topics=wanted,
                first_offset=from_offset,
                shop=shop,
            )
        )
    except ValueError as error:
        raise SettingsError(f"--topics: {error}") from None
    except (KafkaError, ReadBackFailed, OSError) as error:
        raise Failed(f"the log was not captured: {error}") from error
    told = ", ".join(f"{count:,} {topic}" for topic, count in found.events.most_common())
    talk.print(f"[green]✓[/] {found.events.total():,} events in {file}: {told or 'none'}")
    if found.left_out:
        talk.print(f"[yellow]![/] {found.left_out:,} records are no events and were left out")


def parse_speed(text: str) -> float | None:
    """`max` as None, `x60` as 60. Raises SettingsError."""
    if text == "max":
        return None
    try:
        speed = float(text.removeprefix("x"))
    except ValueError:
        speed = 0.0
    if speed <= 0:
        raise SettingsError(f"--speed is `max` or `xN` such as x60, not {text!r}")
    return speed


@cli.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Delete all that the local servers keep."""
    from app.stack.home import reset as delete

    home = Settings().home
    if not yes and not sys.stdin.isatty():
        raise Failed(f"this deletes everything under {home}: say `tillstream reset --yes`")
    if not yes:
        typer.confirm(f"Delete everything under {home}?", abort=True)
    delete(home)
    talk.print(f"[green]✓[/] {home} is empty")


@cli.command()
def doctor() -> None:
    """Say what runs, which versions, how far behind, and what is wrong. Exits with 1 if anything
    is."""
    from app.doctor import report

    raise typer.Exit(asyncio.run(report(Settings(), Console(highlight=False))))


def main() -> None:
    """Runs the command line; an expected error is one line, not a traceback."""
    from app.stack.errors import StackError
    from streams.topics import PartitionsDiffer

    # aiokafka speaks of every leader it has to look up again.
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    try:
        cli()
    except (Failed, PartitionsDiffer, SettingsError, StackError) as error:
        talk.print(f"[red]✗[/] {error}")
        sys.exit(1)
    except ValidationError as error:
        for wrong in error.errors(include_url=False):
            name = "_".join(str(part) for part in wrong["loc"]).upper()
            told = wrong.get("input")
            talk.print(f"[red]✗[/] TILLSTREAM_{name}={escape(str(told))}: {escape(wrong['msg'])}")
        sys.exit(1)
    except (FileExistsError, NotADirectoryError, PermissionError, FileNotFoundError) as error:
        talk.print(
            f"[red]✗[/] {error.filename}: {error.strerror}. State is kept in TILLSTREAM_HOME "
            f"({os.environ.get('TILLSTREAM_HOME', '.tillstream')}): a folder that can be written"
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
