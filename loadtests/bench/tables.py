"""What was measured, as tables: medians with their range, and ratios to a reference."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable


@dataclass
class Row:
    """A contender's values, one for each round; `failed` says why it has none."""

    contender: str
    leaves_out: str
    values: list[float] = field(default_factory=list)
    failed: str = ""
    goal: str = ""

    @property
    def median(self) -> float | None:
        return median(self.values) if self.values and not self.failed else None


@dataclass
class Table:
    """One question's answers, one measure; ratios are to the row called `reference`."""

    question: str
    unit: str
    reference: str
    rows: Sequence[Row]
    digits: int = 0
    notes: Sequence[str] = ()

    def ratio(self, row: Row) -> float | None:
        """A row's median by that of the reference."""
        reference = next(r.median for r in self.rows if r.contender == self.reference)
        return row.median / reference if row.median is not None and reference else None

    def cells(self) -> list[list[str]]:
        """The rows as text."""
        return [
            [
                row.contender,
                *(self._number(value) for value in _range(row)),
                "" if (ratio := self.ratio(row)) is None else f"{ratio:.2f} ×",
                f"out: {row.failed}" if row.failed else row.leaves_out,
            ]
            for row in self.rows
        ]

    @property
    def head(self) -> list[str]:
        return [self.unit, "min", "median", "max", "× reference", "what it does not do"]

    def _number(self, value: float | None) -> str:
        return "–" if value is None else f"{value:,.{self.digits}f}"


def _range(row: Row) -> tuple[float | None, float | None, float | None]:
    middle = row.median
    return (None, None, None) if middle is None else (min(row.values), middle, max(row.values))


def show(console: Console, table: Table) -> None:
    """A table for a terminal."""
    drawn = RichTable(title=table.question, title_justify="left", title_style="bold")
    for n, name in enumerate(table.head):
        drawn.add_column(name, justify="right" if 0 < n < 5 else "left", overflow="fold")
    for cells in table.cells():
        drawn.add_row(*cells)
    console.print(drawn)
    for note in table.notes:
        console.print(f"  {note}")


def markdown(tables: Sequence[Table]) -> str:
    """All tables for a README."""
    parts = []
    for table in tables:
        lines = [table.head, ["---", "--:", "--:", "--:", "--:", "---"], *table.cells()]
        text = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
        parts.append("\n\n".join([f"**{table.question}**", text, *table.notes]))
    return "\n\n".join(parts) + "\n"


def as_json(tables: Sequence[Table], machine: Mapping[str, Any]) -> str:
    """Everything that was measured, every round."""
    found = [
        {
            "question": table.question,
            "unit": table.unit,
            "reference": table.reference,
            "notes": list(table.notes),
            "rows": [
                {
                    "contender": row.contender,
                    "leaves_out": row.leaves_out,
                    "values": row.values,
                    "median": row.median,
                    "ratio": table.ratio(row),
                    "failed": row.failed or None,
                }
                for row in table.rows
            ],
        }
        for table in tables
    ]
    return json.dumps({"machine": dict(machine), "tables": found}, indent=2, ensure_ascii=False)
