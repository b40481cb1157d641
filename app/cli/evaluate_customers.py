"""The command that holds what is said of customers to what they did then."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.evaluate import chosen_peers, commands, told
from app.cli.terminal import Failed, talk


@commands.command()
def customers(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV, perhaps gzipped, or Parquet")
    ],
    customer: Annotated[str, typer.Option(help="the column that says whose an order is")],
    date: Annotated[str, typer.Option(help="the column of days")],
    value: Annotated[str, typer.Option(help="the column of what was paid; summed by day")],
    split: Annotated[str, typer.Option(help="the last day that is learned from: 1997-09-30")],
    horizon: Annotated[int, typer.Option(min=1, help="days after it that are judged")],
    peer: Annotated[
        list[str] | None, typer.Option(help="only this one beside ours; repeated. none: nobody")
    ] = None,
    date_format: Annotated[str, typer.Option(help="such as d/m/y, where it is not plain")] = "",
    decimal: Annotated[str, typer.Option(help=". or , where it is not plain")] = "",
    json: Annotated[
        Path | None, typer.Option(dir_okay=False, help="write it all; - is the output")
    ] = None,
) -> None:
    """Ask who orders again, how often and for how much, and look what they did.

    The served models hear every order up to the split, in order; each week is learned when it is
    over. Peers: bg_nbd (with gamma-gamma, our own), naive_rate and recency; with
    `uv sync --inexact --group peers` lifetimes.
    """
    from loadtests.evaluate import customer_models, purchases
    from loadtests.evaluate import customers as judging
    from loadtests.evaluate.sheet import BadTable

    there = customer_models.installed()
    chosen = chosen_peers(peer, there, customer_models.NEEDS)
    columns = purchases.Columns(customer, date, value)
    try:
        bought = purchases.read(file, columns, date_format=date_format, decimal=decimal)
        settings = judging.Settings(split, horizon, chosen)
        found, interrupted = judging.evaluate(bought, settings, talk)
    except BadTable as error:
        raise Failed(str(error)) from error
    told(
        found,
        judging.table_of(found),
        json,
        [name for name in customer_models.NEEDS if name not in there],
        interrupted=interrupted,
    )
