"""Commands that run something: the whole stack, or one process of it."""

import asyncio
import logging
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import httpx2
import typer

from app.cli.terminal import Failed, cli, talk
from app.settings import DEMO_KEY, Servers, Settings, SettingsError

ReadyFile = Annotated[
    Path | None, typer.Option(help="write the addresses here once everything answers")
]


@cli.command()
def up(ready_file: ReadyFile = None) -> None:
    """Start Kafka, Postgres, Redis, the API and the workers, and keep them up until Ctrl-C.

    Where no TILLSTREAM_STRIPE_KEY is set, a stand-in for Stripe is among them."""
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
    # The view asks Kafka without end; that it is away is said by who starts it again.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

    async def during(api: str) -> None:
        email, password = await _staff_of_demo(settings)
        talk.print(f"[green]✓[/] staff     log in as {email}, password {password}")
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


async def _staff_of_demo(settings: Settings) -> tuple[str, str]:
    """Somebody to log in as, with a password that nobody had before."""
    from app.identity.registrar import registrar

    email, password = "staff@demo.invalid", secrets.token_urlsafe(12)
    async with registrar(settings) as accounts:
        await accounts.ensure("main", email, password, "admin", "The demo's staff")
    return email, password


def _stack(ready_file: Path | None, during: Callable[[str], Awaitable[None]]) -> None:
    from app.cli.payments import stand_in
    from app.demo import ticks
    from app.learner.client import asked
    from app.stack.ports import claim
    from app.stack.up import AppProcess, Stack
    from app.stack.up import up as run
    from app.subscriptions import GROUPS, LEARNER_GROUPS

    settings = Settings()
    progress = ticks(talk)

    async def prepare(servers: Servers) -> None:
        from app.cli.rebuild import upgraded
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
        await upgraded(settings.model_copy(update=vars_of(servers)))

    def apps(servers: Servers) -> Sequence[AppProcess]:
        found = settings.model_copy(update=vars_of(servers))
        port = claim(settings.home, "api", settings.api_port)
        api = f"http://{settings.api_host}:{port}"
        command = (sys.executable, "-m", "app.cli")
        stripe = stand_in(settings, command, api) if not settings.stripe_key else None
        paid_by = stripe.clients if stripe else {}
        return [
            *([stripe.process] if stripe else []),
            AppProcess(
                "api",
                (*command, "api", "--port", str(port)),
                lambda: _answers(api),
                env=paid_by,
                address=api,
                alive=lambda: _answers(api, "live"),
                stuck_seconds=settings.stuck_seconds,
            ),
            *(
                AppProcess(
                    "worker" if group == GROUPS[0] else f"worker-{group}",
                    (*command, "worker", "--group", group),
                    lambda group=group: _reads(found, group),  # type: ignore[misc]
                    env=paid_by,
                    stuck_seconds=settings.stuck_seconds,
                )
                for group in GROUPS
            ),
            *(
                AppProcess(
                    group.removesuffix("s"),
                    (*command, "learner", "--group", group),
                    lambda group=group: asked(found, group, "/health"),  # type: ignore[misc]
                    stuck_seconds=settings.stuck_seconds,
                )
                for group in LEARNER_GROUPS
            ),
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


async def _answers(api: str, health: str = "ready") -> None:
    async with httpx2.AsyncClient() as client:
        (await client.get(f"{api}/health/{health}", timeout=2)).raise_for_status()


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
    if settings.api_host not in ("127.0.0.1", "localhost"):
        _check_before_listening(settings)
    serve(settings, port if port is not None else settings.api_port)


def _check_before_listening(settings: Settings) -> None:
    """What suits one machine alone is no default for others. Raises SettingsError."""
    for kind, keys in (("write", settings.write_keys), ("read", settings.read_keys)):
        if DEMO_KEY in keys:
            raise SettingsError(
                f"the {kind} key {DEMO_KEY!r} is known to everyone: before you listen on "
                f"{settings.api_host}, set TILLSTREAM_{kind.upper()}_KEYS=KEY:main (for example "
                f"{secrets.token_urlsafe(16)}:main)"
            )
    if settings.figures is None:
        raise SettingsError(
            f"whoever reaches {settings.api_host} could read the shop's figures: set "
            "TILLSTREAM_FIGURES=staff, for who is logged in and read keys, or =open if you mean it"
        )


@cli.command()
def worker(
    group: Annotated[str, typer.Option(help="sales, or another of app/subscriptions.py")] = "sales",
) -> None:
    """Keep one group's read models."""
    from app.subscriptions import GROUPS
    from app.worker import run

    if group not in GROUPS:
        raise SettingsError(f"unknown group {group!r}; there are {', '.join(GROUPS)}")
    run(Settings(), group)


@cli.command()
def learner(
    group: Annotated[str, typer.Option(help="learners or recommenders")] = "learners",
    digest: Annotated[
        bool, typer.Option("--digest", help="print what tells the running one's models apart")
    ] = False,
) -> None:
    """Learn from the log, and answer the API's questions for what comes next."""
    from app.learner import process
    from app.learner.client import Away, asked
    from app.subscriptions import LEARNER_GROUPS

    if group not in LEARNER_GROUPS:
        raise SettingsError(f"unknown group {group!r}; there are {', '.join(LEARNER_GROUPS)}")
    settings = Settings()
    if not digest:
        process.run(settings, group)
        return
    try:
        found = asyncio.run(asked(settings, group, "/digest"))
    except Away as away:
        raise Failed(str(away)) from away
    typer.echo(f"{found['digest']} {found['seq']}")


def _write_key(settings: Settings) -> str:
    return next(iter(settings.write_keys))


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
