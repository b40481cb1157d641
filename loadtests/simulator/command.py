"""`tillstream simulate --days … --truth FILE` and `tillstream compare FILE`: what a person sees."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import asyncpg
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from app.identity.tokens import Actor, Role, Tokens
from app.own_key import own_key
from app.settings import Settings, SettingsError
from app.status import reading_status
from app.subscriptions import topics_of
from app.target import Target
from loadtests.simulator import commands
from loadtests.simulator import compare as comparing
from loadtests.simulator import truth as truths
from loadtests.simulator.commands import Shopping, Till
from loadtests.simulator.compare import Comparison, Difference
from loadtests.simulator.history import Plan
from loadtests.simulator.send import send_all
from loadtests.simulator.traffic import Disorder
from loadtests.simulator.truth import Truth
from projections.postgres import connect

_SHOWN = 20


def last_day(until: date | None, settings: Settings) -> date:
    """The last day of a history: yesterday if not told. Raises SettingsError for a later one."""
    today = datetime.now(UTC).astimezone(settings.timezone).date()
    if until is not None and until >= today:
        raise SettingsError(f"--until is a day that is over: at the latest {today - _DAY}")
    return until or today - _DAY


_DAY = timedelta(days=1)


async def send_history(
    settings: Settings,
    to: Target,
    plan: Plan,
    disorder: Disorder,
    rate: float | None,
    file: Path | None,
    console: Console,
    *,
    verify: bool,
) -> bool:
    """Sends a history, whose truth is in the file before anything else; whether all is as it has
    to be, where that is to be verified. Raises Refused, SettingsError, comparing.Unanswered."""
    before = await counts(settings) if verify else None
    begun = time.monotonic()
    traffic, truth = truths.prepare(plan, settings.timezone, to.shop, disorder)
    if file is not None:
        _write(file, truth)
    for name, words in truths.described(truth).items():
        console.print(f"[dim]{name:<8}[/] {words}")
    made = time.monotonic()
    with _bar(console) as bar:
        task = bar.add_task("sending", total=len(traffic.events))
        truth.acknowledged = await send_all(
            to.api, to.key, traffic.events, rate=rate, on_sent=lambda n: bar.advance(task, n)
        )
    seconds = time.monotonic() - made
    if file is not None:
        _write(file, truth)
    console.print(
        f"[green]✓[/] {len(traffic.events):,} events acknowledged in {seconds:.1f} s, "
        f"{len(traffic.events) / seconds:,.0f} events/s, after {made - begun:.1f} s of making them"
    )
    if not verify:
        return True
    well = await compare(settings, to.api, truth, console)
    if before is not None and (after := await counts(settings)) is not None:
        for words in counted(before, after, truth):
            console.print(words)
    return well


async def shop_by_command(
    settings: Settings,
    to: Target,
    seed: int,
    share: float,
    rate: float,
    limit: int | None,
    console: Console,
    *,
    verify: bool,
) -> bool:
    """Plays visits of which a share buys by command; whether all is as it has to be, where that is
    to be verified. Raises Refused, comparing.Unanswered."""
    tokens = Tokens(own_key(settings.token_key, settings.home / "token.key"))
    actor = Actor(Role.STAFF, "simulator", to.shop)
    till = Till(to.api, to.shop, lambda: tokens.issue(actor, datetime.now(UTC)))
    async with commands.client(to.key) as client:
        shopping = Shopping(client, till, seed, share, settings.timezone)
        await shopping.open()
        with _bar(console) as bar:
            task = bar.add_task("shopping", total=limit)
            await shopping.play(rate, limit or sys.maxsize, lambda n: bar.advance(task, n))
    console.print(
        f"[green]✓[/] {shopping.commands:,} commands answered, "
        f"{shopping.facts:,} events acknowledged"
    )
    if not verify:
        return True
    today = datetime.now(UTC).astimezone(settings.timezone).date()
    truth = commands.truth_of(shopping, till, seed, today, settings.timezone)
    return await compare(settings, to.api, truth, console)


def _write(file: Path, truth: Truth) -> None:
    try:
        truths.write(file, truth)
    except OSError as error:
        raise SettingsError(f"--truth {file}: {error.strerror or error}") from error


async def counts(settings: Settings) -> dict[str, tuple[int, int, int]] | None:
    """What each group has applied, found repeated and quarantined; None if that cannot be asked."""
    try:
        async with reading_status(settings) as status:
            groups = await status.groups()
    except (SettingsError, OSError, TimeoutError, KafkaError, asyncpg.PostgresError):
        return None
    return {group.group: (group.applied, group.repeated, group.quarantined) for group in groups}


def counted(
    before: Mapping[str, Sequence[int]], after: Mapping[str, Sequence[int]], truth: Truth
) -> Iterator[str]:
    """What each group made of the records, beside what was sent. It is also different where
    something else wrote meanwhile, or a request had to be sent again."""
    for group in sorted(after):
        sent = [truth.sent.by_topic.get(topic, (0, 0, 0)) for topic in topics_of(group)]
        wanted = [sum(column) for column in zip(*sent, strict=True)]
        found = [new - old for old, new in zip(before[group], after[group], strict=True)]
        words = ", ".join(
            f"{count:,} {what}"
            for count, what in zip(found, ("applied", "repeated", "quarantined"), strict=True)
        )
        if found == wanted:
            yield f"[green]✓[/] {group}: {words}, as sent"
        else:
            told = ", ".join(f"{count:,}" for count in wanted)
            yield f"[yellow]![/] {group}: {words}; sent were {told}, unless others wrote too"


async def compare(settings: Settings, api: str, truth: Truth, console: Console) -> bool:
    """Whether every figure that the API gives is the true one; prints what is not.

    Raises comparing.Unanswered.
    """
    begun = time.monotonic()
    with _bar(console) as bar:
        task = bar.add_task("asking", total=sum(map(len, truth.figures.values())))
        found = await comparing.compare(
            api,
            truth,
            on_asked=lambda _, rows: bar.advance(task, rows),
            on_waiting=lambda: bar.console.print("[dim]· not all of it is applied yet[/]"),
        )
    lies = await _quarantined(settings, truth)
    took = time.monotonic() - begun
    if found.differences:
        console.print(table(found.differences))
    for words in verdict(found, truth, lies):
        console.print(words)
    console.print(f"[dim]compared in {took:.1f} s[/]")
    return not found.differences and found.digest == truth.digest and not _unlike(lies, truth)


def _unlike(lies: Sequence[str] | None, truth: Truth) -> bool:
    return lies is not None and sorted(lies) != sorted(truth.sent.contradictions)


def verdict(found: Comparison, truth: Truth, lies: Sequence[str] | None) -> list[str]:
    """The comparison in a few lines."""
    wrong = len(found.differences)
    mark = "[red]✗[/]" if wrong else "[green]✓[/]"
    words = (
        f"{wrong:,} of {found.figures:,} figures differ"
        if wrong
        else f"all {found.figures:,} figures are equal"
    )
    lines = [f"{mark} {words}", f"  digest {found.digest}", f"  truth  {truth.digest}"]
    expected = len(truth.sent.contradictions)
    if lies is None:
        lines.append("[dim]· quarantine not looked at: Postgres is not reachable from here[/]")
    elif _unlike(lies, truth):
        lines.append(f"[red]✗[/] {len(lies):,} events quarantined, not the {expected:,} sent")
    else:
        lines.append(f"[green]✓[/] quarantined: the {expected:,} contradictions, nothing else")
    return lines


def table(differences: Sequence[Difference]) -> Table:
    """The first differences, a row each."""
    shown = Table("figure", "row", "column", "truth", "found", box=None, header_style="dim")
    for one in differences[:_SHOWN]:
        shown.add_row(*one)
    if len(differences) > _SHOWN:
        shown.add_row(f"and {len(differences) - _SHOWN:,} more")
    return shown


async def _quarantined(settings: Settings, truth: Truth) -> list[str] | None:
    """The ids of this history's events that were quarantined; None if that cannot be asked."""
    plan = Plan(truth.seed, truth.days, truth.until, truth.visits)
    try:
        pool = await connect(settings.servers.postgres, settings.schema_name, size=1)
    except (SettingsError, OSError, TimeoutError, asyncpg.PostgresError):
        return None
    async with pool:
        rows = await pool.fetch(_QUARANTINED, f"sim-{plan.name}-", truth.shop)
    return [row["event_id"] for row in rows]


# A retried request may bring a contradiction again: each counts once.
_QUARANTINED = """
    SELECT DISTINCT event_id FROM quarantine
    WHERE starts_with(event_id, $1) AND convert_from(value, 'UTF8')::json ->> 'shop' = $2
"""


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
