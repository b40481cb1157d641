"""`tillstream evaluate recommend`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from app.cli.evaluate import chosen_peers, commands, told
from app.cli.terminal import Failed, talk


@commands.command()
def recommend(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV, perhaps gzipped, or Parquet")
    ],
    session: Annotated[
        str, typer.Option(help="the column of sessions; of baskets, customers or orders")
    ],
    item: Annotated[str, typer.Option(help="the column of products")],
    time: Annotated[str, typer.Option(help="the column of times")],
    user: Annotated[
        str | None, typer.Option(help="the column of who it was, beyond a session")
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="what is judged  [the last of FILE]"),
    ] = None,
    share: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="without --test, so much is judged")
    ] = 0.2,
    k: Annotated[int, typer.Option(min=1, max=1000, help="how long the lists are")] = 20,
    kind: Annotated[
        Literal["clicks", "baskets"] | None,
        typer.Option(help="what the rows are  [baskets, where most come together at one time]"),
    ] = None,
    peer: Annotated[
        list[str] | None, typer.Option(help="only this one beside ours; repeated. none: nobody")
    ] = None,
    date_format: Annotated[str, typer.Option(help="such as d/m/y, where it is not plain")] = "",
    json: Annotated[
        Path | None, typer.Option(dir_okay=False, help="write it all; - is the output")
    ] = None,
) -> None:
    """Ask the served recommender for a list before each visit, then tell it what came.

    Peers: popularity, item_knn, v_sknn, bought_together, and with `uv sync --inexact --group peers`
    als, bpr.
    """
    from loadtests.evaluate import recommend_command, recommend_peers
    from loadtests.evaluate.sheet import BadTable
    from loadtests.evaluate.visits import Columns

    there = recommend_peers.installed()
    chosen = chosen_peers(peer, there, recommend_peers.NEEDS)
    columns = Columns(session, item, time, user)
    settings = recommend_command.Settings(columns, k, test, share, kind, chosen, date_format)
    try:
        found, interrupted = recommend_command.evaluate(file, settings, talk)
    except BadTable as error:
        raise Failed(str(error)) from error
    told(
        found,
        recommend_command.table_of(found),
        json,
        [name for name in recommend_peers.NEEDS if name not in there],
        interrupted=interrupted,
    )
