"""A report as CSV (RFC 4180): UTF-8 with a byte order mark, without which Excel takes it for the
system's own encoding; lines end in CR LF."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.exports.cells import as_csv
from app.reports.report import Column


def write(path: Path, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a line of names, and one for each row."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        lines = csv.writer(file)
        lines.writerow([column.name for column in columns])
        lines.writerows([as_csv(row[c.name], c.kind) for c in columns] for row in rows)
