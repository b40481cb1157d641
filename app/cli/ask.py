"""Commands that ask: for figures, scores, the log itself, or what is wrong."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.cli.terminal import Failed, cli, talk
from app.settings import Settings, SettingsError
from app.subscriptions import LEARNERS


@cli.command()
def scores(
    shop: str = "main",
    level: Annotated[str | None, typer.Option(help="total, category, product, …")] = None,
    measure: Annotated[str, typer.Option(help="net or units")] = "net",
) -> None:
    """Print how well the forecasts did, beside the seasonal naive."""
    from app.learner.client import Away, asked
    from app.learner.scores import table_of

    try:
        told = asked(
            Settings(), LEARNERS, "/forecasts/scores", shop=shop, level=level, measure=measure
        )
        found = asyncio.run(told)
    except Away as away:
        raise Failed(str(away)) from away
    Console(highlight=False).print(table_of(found))


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


@cli.command()
def doctor() -> None:
    """Say what runs, which versions, how far behind, and what is wrong. Exits with 1 if anything
    is."""
    from app.doctor import report

    raise typer.Exit(asyncio.run(report(Settings(), Console(highlight=False))))
