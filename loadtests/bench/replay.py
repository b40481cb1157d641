"""Ten months of a real shop, from the file to committed rows: how fast, and where time goes."""

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from app.settings import Servers
from loadtests.bench.processes import output_of
from loadtests.bench.services import ours
from loadtests.bench.tables import Row, Table

PATIENCE = 300.0
WHOLE = "end to end, to committed rows"
PARTS = ("reading", "sending", "committing the last")
AGAIN = "a second time, when nothing changes"
_CLOSING = re.compile(
    r"([\d,]+) lines in .*?: ([\d.]+) s reading, ([\d.]+) s sending, then ([\d.]+) s"
)


async def measure(
    servers: Servers, home: Path, rounds: int, file: Path, tell: Callable[[str], None]
) -> list[Table]:
    """Seconds for the file and for each part of the way, a value for each round."""
    rows = {name: Row(name, "") for name in (WHOLE, *PARTS, AGAIN)}
    lines = 0
    for number in range(rounds):
        async with ours(servers, home, worker=True) as pipeline:
            lines, took = await _replay(file, home, pipeline.environment)
            _, again = await _replay(file, home, pipeline.environment)
        for name, seconds in zip((WHOLE, *PARTS), took, strict=True):
            rows[name].values.append(seconds)
        rows[AGAIN].values.append(again[0])
        tell(f"replay, round {number + 1}: {lines / took[0]:,.0f} lines/s")
    rate = lines / (rows[WHOLE].median or 1)
    note = f"{lines:,} order lines of Online Retail: {rate:,.0f} lines/s; all read models."
    return [Table("Replaying Online Retail", "s", WHOLE, list(rows.values()), 1, [note])]


async def _replay(
    file: Path, home: Path, environment: dict[str, str]
) -> tuple[int, tuple[float, float, float, float]]:
    """The lines of the file; the seconds in all, reading, sending, and committing what was left."""
    command = (sys.executable, "-m", "app.cli", "replay", "--format", "online-retail", str(file))
    begun = time.monotonic()
    text = await output_of(command, home, PATIENCE, environment)
    seconds = time.monotonic() - begun
    closing = _CLOSING.search(" ".join(text.split()))
    assert closing is not None, text
    parts = (float(closing[2]), float(closing[3]), float(closing[4]))
    return int(closing[1].replace(",", "")), (seconds, *parts)
