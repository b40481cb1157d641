"""`tillstream doctor`: what runs, which versions, how far behind, and what is wrong."""

import asyncio
import platform
from importlib.metadata import version

from rich.console import Console
from rich.table import Table

from app.settings import Settings, SettingsError
from app.stack.doctor import Status, examine
from app.status import (
    GroupStatus,
    members,
    outbox_status,
    quarantine_status,
    reading_status,
)
from app.subscriptions import ALL_GROUPS, LEARNER_GROUPS
from projections.postgres import connect
from projections.skips import standing

_PATIENCE_SECONDS = 10.0


async def report(settings: Settings, console: Console) -> int:
    """Prints what is found; 1 if anything is wrong, else 0."""
    found = await examine(settings)
    console.print(
        f"Tillstream {version('tillstream')}, Python {platform.python_version()}, "
        f"home {settings.home.resolve()}"
    )
    console.print(_processes(found))
    problems = [f"{status.name}: {status.problem}" for status in found if status.problem]
    if not any(status.problem for status in found if status.name in ("kafka", "postgres")):
        problems += await _groups(settings, console)
    for problem in problems:
        console.print(f"[red]✗[/] {problem}")
    if not problems:
        console.print("[green]✓[/] all is well")
    return 1 if problems else 0


async def _groups(settings: Settings, console: Console) -> list[str]:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS), reading_status(settings) as status:
            groups = await status.groups(ALL_GROUPS)
            readers = {group.group: await members(settings, group.group) for group in groups}
            servers = settings.servers
            async with await connect(servers.postgres, settings.schema_name, size=1) as pool:
                outbox = await outbox_status(pool)
                quarantine = await quarantine_status(pool)
                failures = await standing(pool)
                wrong = await pool.fetch(_FOUND_WRONG)
    except SettingsError as error:
        return [str(error)]
    # Each client has its own errors for one and the same: no answer.
    except Exception as error:
        return [f"how far the readers are cannot be told: {error!r}"]
    console.print(_readers(groups, readers))
    waited = f", the first for {outbox.oldest_seconds:.0f} s" if outbox.waiting else ""
    console.print(f"outbox: {outbox.waiting:,} events wait for Kafka{waited}")
    problems = [
        f"{name}: nobody reads. After a crash this lasts up to ten seconds; if it stays so, start "
        f"`tillstream {_reader(name)}`"
        for name, count in readers.items()
        if not count
    ]
    problems += [
        f"{group.group}: {group.unaccounted} records were read and neither applied, repeated nor "
        "quarantined"
        for group in groups
        if group.unaccounted
    ]
    problems += [
        f"{one.group}: {one.model} fails on {one.event_type} {one.event_id} at {one.position}: "
        f"mend it, or `tillstream quarantine skip {one.position} --group {one.group} --reason …`"
        for one in failures
    ]
    problems += [
        f"{row['read_model']}: {row['differing']:,} keys were wrong when last checked "
        f"({row['scope']}, {row['checked_at']:%H:%M} UTC): `tillstream verify` says which, "
        "`tillstream rebuild all` makes them anew"
        for row in wrong
    ]
    if quarantine.waiting:
        problems.append(
            f"{quarantine.waiting} records in quarantine: `tillstream quarantine list` says why"
        )
    return problems


_FOUND_WRONG = """
    SELECT read_model, scope, differing, checked_at FROM verify_results
    WHERE differing > 0 ORDER BY read_model, scope
"""


def _reader(group: str) -> str:
    return f"{'learner' if group in LEARNER_GROUPS else 'worker'} --group {group}"


def _processes(found: list[Status]) -> Table:
    table = Table("", "pid", "address", "version", box=None, header_style="dim")
    for status in found:
        mark = "[red]✗[/]" if status.problem else "[green]✓[/]"
        table.add_row(
            f"{mark} {status.name}",
            str(status.pid or ""),
            status.address or "",
            status.version or "",
        )
    return table


def _readers(groups: list[GroupStatus], readers: dict[str, int]) -> Table:
    # 80 columns hold it, up to some ten million records.
    heads = ("group", "readers", "applied", "repeated", "refused", "lag", "complete to (UTC)")
    table = Table(*heads, box=None, header_style="dim", padding=(0, 1, 0, 0))
    for group in groups:
        table.add_row(
            group.group,
            str(readers[group.group]),
            f"{group.applied:,}",
            f"{group.repeated:,}",
            f"{group.quarantined:,}",
            f"{group.lag:,}",
            f"{group.complete_to:%Y-%m-%d %H:%M:%S}" if group.complete_to else "",
        )
    return table
