"""Commands that hold the models to what came after: on anybody's data, beside others."""

import json as json_
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console, RenderableType

from app.cli.terminal import Failed, cli, talk

commands = typer.Typer(
    help="Judge the models on a past that they have not seen, beside others.",
    no_args_is_help=True,
)
cli.add_typer(commands, name="evaluate")

_INTERRUPTED = 130


def chosen_peers(
    named: Sequence[str] | None, there: Sequence[str], needs: Collection[str]
) -> list[str] | None:
    """Who is to stand beside ours: those that were named, and nobody for `none`. Raises Failed of
    one that is not there; `needs` are those that the group `peers` installs."""
    for name in named or []:
        if name not in (*there, "none"):
            hint = "install it: .venv/bin/uv sync --inexact --group peers" if name in needs else ""
            raise Failed(f"--peer {name}: {hint or 'there are ' + ', '.join(there)}")
    return None if named is None else [name for name in named if name != "none"]


def told(
    found: dict[str, Any],
    table: RenderableType,
    json: Path | None,
    missing: Sequence[str],
    *,
    interrupted: bool,
) -> None:
    """Prints what was found, or writes it as well; and says which peers are missing. Raises Exit
    where it was interrupted."""
    from loadtests.evaluate.command import write

    output = Console(highlight=False)
    if json == Path("-"):
        output.out(json_.dumps(found))
    else:
        output.print(table)
        if json is not None:
            write(found, json)
    if missing:
        hint = ".venv/bin/uv sync --inexact --group peers"
        talk.print(f"[dim]not installed: {', '.join(missing)} ({hint})[/]")
    if interrupted:
        left = ", ".join(found["settings"]["left_out"])
        talk.print(f"[yellow]![/] interrupted: left out {left}")
        raise typer.Exit(_INTERRUPTED)


@commands.command()
def forecast(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV, perhaps gzipped, or Parquet")
    ],
    date: Annotated[str, typer.Option(help="the column of days")],
    value: Annotated[str, typer.Option(help="the column that is foretold; summed by day")],
    series: Annotated[str | None, typer.Option(help="the column that tells series apart")] = None,
    known: Annotated[
        list[str] | None,
        typer.Option(help="a column that is known beforehand: promotion, price, holiday; repeated"),
    ] = None,
    horizon: Annotated[
        int | None, typer.Option(min=1, help="days ahead; months  [28; monthly 12]")
    ] = None,
    origins: Annotated[int, typer.Option(min=1, help="how often it is asked")] = 6,
    step: Annotated[
        int | None, typer.Option(min=1, help="days between  [the horizon; monthly 1]")
    ] = None,
    monthly: Annotated[
        bool, typer.Option("--monthly", help="the long-term model, on sums of whole months")
    ] = False,
    missing: Annotated[
        Literal["zero", "gap"], typer.Option(help="days without a row: nothing sold, or not known")
    ] = "zero",
    peer: Annotated[
        list[str] | None, typer.Option(help="only this one beside ours; repeated. none: nobody")
    ] = None,
    date_format: Annotated[str, typer.Option(help="such as d/m/y, where it is not plain")] = "",
    decimal: Annotated[str, typer.Option(help=". or , where it is not plain")] = "",
    json: Annotated[
        Path | None, typer.Option(dir_okay=False, help="write it all; - is the output")
    ] = None,
) -> None:
    """Ask the served forecasts at origins that roll over the past, beside naive and other models.

    Peers: seasonal_naive, and with `uv sync --inexact --group peers` auto_ets, auto_theta and
    lightgbm.
    """
    from loadtests.evaluate import command, peers
    from loadtests.evaluate.frame import Columns, read
    from loadtests.evaluate.sheet import BadTable
    from loadtests.evaluate.table import table_of

    there = peers.installed()
    chosen = chosen_peers(peer, there, peers.NEEDS)
    if monthly and known:
        raise Failed("--known: the monthly model knows of no inputs; leave them out")
    ahead = horizon or (12 if monthly else 28)
    settings = command.Settings(
        ahead, origins, step or (1 if monthly else ahead), chosen, monthly=monthly
    )
    columns = Columns(date, value, series, known or [])
    try:
        frame = read(file, columns, missing=missing, date_format=date_format, decimal=decimal)
        found, interrupted = command.evaluate(frame, settings, talk)
    except BadTable as error:
        raise Failed(str(error)) from error
    told(
        found,
        table_of(found),
        json,
        [name for name in peers.NEEDS if name not in there],
        interrupted=interrupted,
    )
