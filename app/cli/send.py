"""Commands that send events: a simulated shop's, one believable one, a file of the past."""

import asyncio
import secrets
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.cli.terminal import Failed, cli, talk
from app.settings import Settings, SettingsError


class Through(StrEnum):
    """How what the simulated shop does comes in."""

    FACTS = "facts"
    COMMANDS = "commands"
    BOTH = "both"


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
    through: Annotated[
        Through, typer.Option(help="how carts and orders come in: told, commanded, or either")
    ] = Through.FACTS,
    shop: Annotated[str | None, typer.Option(help="one that a write key writes to")] = None,
    api: Annotated[str | None, typer.Option(help="its address; the one that is up here")] = None,
) -> None:
    """Play a small shop's visitors against the running API: endlessly, or a history of --days.

    A history is a pure function of its seed, days, until and visits, so it can be sent in any
    disorder and compared with what the shop's own books say. Through commands, --verify compares
    what was sold until the --limit, in a shop where nobody else sells.
    """
    from app.target import target
    from loadtests.simulator import Refused, command
    from loadtests.simulator import simulate as run
    from loadtests.simulator.compare import Unanswered
    from loadtests.simulator.history import Plan
    from loadtests.simulator.traffic import IN_ORDER, Disorder

    settings = Settings()
    if through is not Through.FACTS:
        if days is not None or truth or until:
            raise SettingsError("a history is of facts: leave out --days, --truth and --until")
        if verify and limit is None:
            raise SettingsError("--verify through commands needs a --limit")
    elif days is not None and limit is not None:
        raise SettingsError("--limit is of a stream: a history is as long as --days and --visits")
    elif days is None and (truth or verify or until):
        raise SettingsError("--truth, --verify and --until are about a history: say --days N")
    to = target(settings, shop, api)
    pace = parse_rate(rate or ("20" if days is None else "max"))

    async def play() -> bool:
        if through is not Through.FACTS:
            share = 1.0 if through is Through.COMMANDS else 0.5
            return await command.shop_by_command(
                settings, to, seed, share, pace or MOST_EVENTS_A_SECOND, limit, talk, verify=verify
            )
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
