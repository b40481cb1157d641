"""The command that kills things and counts what is left."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from app.cli.terminal import Failed, cli, talk


@cli.command()
def chaos(
    events: Annotated[int, typer.Option(min=100, help="for each seed")] = 60_000,
    seed: Annotated[str, typer.Option(help="one, or several: 1..5")] = "1",
    faults: Annotated[str, typer.Option(help="comma-separated; all of them, and mixed")] = "",
    planted: Annotated[
        bool, typer.Option("--planted", help="instead: are planted bugs found? --bugs names them")
    ] = False,
    bugs: Annotated[str, typer.Option(help="comma-separated; all of them")] = "",
    recovery: Annotated[
        int, typer.Option(min=0, help="instead: so many kill -9, timed; and two workers beside one")
    ] = 0,
    soak: Annotated[
        float, typer.Option(min=0, help="instead: so many minutes, and what memory grows by")
    ] = 0,
    rate: Annotated[float, typer.Option(min=1, help="of both, in events a second")] = 2_000,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="write all results")] = None,
) -> None:
    """Kill, cut, freeze and confuse a stack of its own under load, and recount the log.

    Exits with 1 where a single figure differs.
    """
    from loadtests.chaos import command

    home = Path(tempfile.mkdtemp(prefix="tillstream-chaos-"))
    try:
        if planted:
            well = asyncio.run(command.planted(home, talk, int(seed), bugs, json))
        elif recovery or soak:
            measure = command.endurance(home, talk, soak, recovery, rate, events)
            well = asyncio.run(measure)
        else:
            well = asyncio.run(command.chaos(home, talk, events, seed, faults, json))
    except ValueError as error:
        raise Failed(str(error)) from error
    finally:
        shutil.rmtree(home, ignore_errors=True)
    raise typer.Exit(0 if well else 1)
