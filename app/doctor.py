"""`tillstream doctor`: what runs, which versions, how far behind, and what is wrong."""

import asyncio
import platform
from importlib.metadata import version

from rich.console import Console
from rich.table import Table

from app.settings import Settings, SettingsError
from app.stack.doctor import Status, examine
from app.status import GroupStatus, members, reading_status
from app.subscriptions import GROUPS, LEARNERS

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
            groups = await status.groups((*GROUPS, LEARNERS))
            readers = {group.group: await members(settings, group.group) for group in groups}
    except SettingsError as error:
        return [str(error)]
    # Each client has its own errors for one and the same: no answer.
    except Exception as error:
        return [f"how far the readers are cannot be told: {error!r}"]
    console.print(_readers(groups, readers))
    problems = [
        f"{name}: nobody reads. After a crash this lasts up to ten seconds; if it stays so, start "
        f"`tillstream {_reader(name)}`"
        for name, count in readers.items()
        if not count
    ]
    return problems + [
        f"{group.group}: {group.quarantined} records in quarantine; "
        "table quarantine holds them, each with its reason"
        for group in groups
        if group.quarantined
    ]


def _reader(group: str) -> str:
    return "learner" if group == LEARNERS else f"worker --group {group}"


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
    heads = ("group", "readers", "applied", "repeated", "quarantined", "lag", "complete to")
    table = Table(*heads, box=None, header_style="dim")
    for group in groups:
        table.add_row(
            group.group,
            str(readers[group.group]),
            f"{group.applied:,}",
            f"{group.repeated:,}",
            f"{group.quarantined:,}",
            f"{group.lag:,}",
            f"{group.complete_to:%Y-%m-%d %H:%M:%S %Z}" if group.complete_to else "",
        )
    return table
