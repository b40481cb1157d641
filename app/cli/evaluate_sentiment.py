"""`tillstream evaluate sentiment`: the judge of reviews, on anybody's reviews."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.evaluate import chosen_peers, commands, told
from app.cli.terminal import Failed, talk


@commands.command()
def sentiment(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV, perhaps gzipped, or Parquet")
    ],
    text: Annotated[str, typer.Option(help="the column of reviews' texts")],
    stars: Annotated[str, typer.Option(help="the column of their stars, 1 to 5")],
    time: Annotated[
        str | None, typer.Option(help="the column of times; without it they come as they stand")
    ] = None,
    peer: Annotated[
        list[str] | None, typer.Option(help="only this one beside ours; repeated. none: nobody")
    ] = None,
    date_format: Annotated[str, typer.Option(help="d/m/y or m/d/y, where it is not plain")] = "",
    json: Annotated[
        Path | None, typer.Option(dir_okay=False, help="write it all; - is the output")
    ] = None,
) -> None:
    """Have each review judged before its stars are learned, as it is served, beside others.

    Peers: majority, multinomial_nb, complement_nb, and with `uv sync --inexact --group peers`
    vader.
    """
    from loadtests.evaluate import sentiment as evaluation
    from loadtests.evaluate.reviews import read
    from loadtests.evaluate.sheet import BadTable

    there = [name for name in evaluation.judges() if name != evaluation.OURS]
    chosen = chosen_peers(peer, there, evaluation.NEEDS)
    try:
        reviews = read(file, text, stars, time, date_format)
    except BadTable as error:
        raise Failed(str(error)) from error
    found, interrupted = evaluation.evaluate(reviews, evaluation.Settings(chosen), talk)
    told(
        found,
        evaluation.table_of(found),
        json,
        [name for name in evaluation.NEEDS if name not in there],
        interrupted=interrupted,
    )
