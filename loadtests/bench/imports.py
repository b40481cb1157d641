"""Importing a file of sales beside pandas reading the same file, which makes no sale of it."""

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from app.settings import Servers
from loadtests.bench.processes import output_of
from loadtests.bench.services import ours
from loadtests.bench.tables import Row, Table

PATIENCE = 600.0
REFERENCE = "pandas.read_csv"
READING = "Tillstream: rows understood"
MAKING = "Tillstream: rows as orders"
WHOLE = "Tillstream: end to end, to committed rows"
AGAIN = "Tillstream: a second time, when nothing is added"


async def measure(
    servers: Servers, home: Path, rounds: int, file: Path, tell: Callable[[str], None]
) -> list[Table]:
    """Rows a second, each contender in a process of its own, a value for each round."""
    rows = {
        REFERENCE: Row(REFERENCE, "checks, dates, orders, the log, figures"),
        READING: Row(READING, "orders, the log, figures"),
        MAKING: Row(MAKING, "the log, figures"),
        WHOLE: Row(WHOLE, "–"),
        AGAIN: Row(AGAIN, "–"),
    }
    count = 0
    for number in range(rounds):
        for contender in (REFERENCE, MAKING):
            module = (sys.executable, "-m", "loadtests.bench.imports")
            text = await output_of((*module, contender, str(file)), home, PATIENCE)
            found = json.loads(text.splitlines()[-1])
            for name, value in found["rates"].items():
                rows[name].values.append(value)
            count = found["rows"]
        async with ours(servers, home, worker=True) as pipeline:
            for name in (WHOLE, AGAIN):
                command = (sys.executable, "-m", "app.cli", "import", str(file), "--yes")
                begun = time.monotonic()
                await output_of((*command, "--shop", "bench"), home, PATIENCE, pipeline.environment)
                rows[name].values.append(count / (time.monotonic() - begun))
        tell(f"import, round {number + 1}: {rows[WHOLE].values[-1]:,.0f} rows/s")
    note = (
        f"{count:,} order lines of Online Retail, gzipped; whole is from the start of the process, "
        "with what the file is being found out first."
    )
    return [Table("Importing a file of sales", "rows/s", REFERENCE, list(rows.values()), 0, [note])]


def with_pandas(file: Path) -> tuple[int, dict[str, float]]:
    """How many rows, and how many a second."""
    import pandas as pd

    begun = time.perf_counter()
    count = len(pd.read_csv(file))
    return count, {REFERENCE: count / (time.perf_counter() - begun)}


def with_ours(file: Path) -> tuple[int, dict[str, float]]:
    """The same as an import does it, up to the log."""
    from app.imports.mapping import Correction
    from app.imports.orders import events_of
    from app.imports.prepare import prepare, rows_of
    from app.imports.reading import Aside, Reader

    now, named = datetime.now(UTC), [(file, file.name)]
    begun = time.perf_counter()
    found = prepare(
        named,
        Correction(),
        {},
        currency="GBP",
        timezone="UTC",
        most_bytes=10**10,
        now=now,
    )
    reader, rows, count = Reader(found.mapping, now, b"bench"), [], 0
    for record in rows_of(named, found.shapes):
        count += 1
        try:
            rows.append(reader.read(record))
        except Aside:
            continue
    read = time.perf_counter()
    events_of(rows, "bench", now)
    made = time.perf_counter()
    return count, {READING: count / (read - begun), MAKING: count / (made - begun)}


if __name__ == "__main__":
    _measure = with_pandas if sys.argv[1] == REFERENCE else with_ours
    _count, _rates = _measure(Path(sys.argv[2]))
    print(json.dumps({"rows": _count, "rates": _rates}))
