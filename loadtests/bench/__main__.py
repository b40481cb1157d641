"""The command: `python -m loadtests.bench`."""

import asyncio
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.stack.up import servers as embedded
from loadtests.bench import (
    catch_up,
    commands,
    figures,
    held,
    imports,
    ingest,
    latency,
    learning,
    rebuild,
    recommending,
    replay,
)
from loadtests.bench.tables import Table, as_json, markdown, show

QUESTIONS = (
    *("catch-up", "latency", "ingest", "held", "learning", "rebuild", "commands", "figures"),
    *("recommending", "replay", "import"),
)
talk = Console(stderr=True, highlight=False)


def bench(
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    events: Annotated[int, typer.Option(min=1000, help="to catch up with")] = 300_000,
    online_retail: Annotated[
        Path | None, typer.Option(help="that file; without it nothing is replayed", exists=True)
    ] = None,
    only: Annotated[str, typer.Option(help=",".join(QUESTIONS))] = ",".join(QUESTIONS),
    json: Annotated[Path | None, typer.Option(help="write every value there")] = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", help="write tables")] = None,
) -> None:
    """Measures Tillstream beside what else one would use."""
    wanted = [name.strip() for name in only.split(",")]
    if unknown := set(wanted) - set(QUESTIONS):
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}")
    home = Path(tempfile.mkdtemp(prefix="tillstream-bench-"))
    try:
        tables = asyncio.run(measure(home, wanted, rounds, events, online_retail))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    console = Console()
    for table in tables:
        show(console, table)
    if json:
        json.write_text(as_json(tables, machine()))
    if markdown_file:
        markdown_file.write_text(markdown(tables))


async def measure(
    home: Path, wanted: list[str], rounds: int, events: int, online_retail: Path | None
) -> list[Table]:
    begun = time.monotonic()
    tables: list[Table] = []
    async with embedded(home) as servers:
        if "catch-up" in wanted:
            tables += await catch_up.measure(servers, home, rounds, events, tell)
        if "latency" in wanted:
            tables += await latency.measure(servers, home, rounds, tell)
        if "ingest" in wanted:
            tables += await ingest.measure(servers, home, rounds, tell)
        if "held" in wanted:
            tables += await held.measure(servers, home, rounds, tell)
        if "learning" in wanted:
            tables += await learning.measure(servers, home, rounds, events, tell)
        if "recommending" in wanted:
            tables += await recommending.measure(servers, home, rounds, events, tell)
        if "rebuild" in wanted:
            tables += await rebuild.measure(servers, home, rounds, events, tell)
        if "commands" in wanted:
            tables += await commands.measure(servers, home, rounds, tell)
        if "figures" in wanted:
            tables += await figures.measure(servers, home, rounds, events, tell)
        if "replay" in wanted and online_retail is not None:
            tables += await replay.measure(servers, home, rounds, online_retail.resolve(), tell)
        if "import" in wanted and online_retail is not None:
            tables += await imports.measure(servers, home, rounds, online_retail.resolve(), tell)
    talk.print(f"{time.monotonic() - begun:.0f} s")
    return tables


def tell(text: str) -> None:
    """What is being done, for who waits."""
    talk.print(f"[dim]{text}[/]")


def machine() -> dict[str, object]:
    """Where it was measured."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
    }


if __name__ == "__main__":
    typer.run(bench)
