"""A report as Parquet, by DuckDB: exact decimals, days as dates, times as instants, text as it is.

The rows go by way of a file of JSON lines, which DuckDB reads with the types that they are to have.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from app.exports.cells import NUMBERS, Value, value
from app.reports.report import Column

_TYPES = {"text": "VARCHAR", "count": "BIGINT", "day": "DATE", "month": "DATE"}
_DIGITS, _LEAST_SCALE, _MOST_SCALE = 38, 4, 18
_AT_ONCE = 10_000  # rows
_encoder = msgspec.json.Encoder(enc_hook=str)


def write(path: Path, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes the rows. Raises duckdb.Error."""
    lines = path.with_suffix(".jsonl")
    with lines.open("wb") as file:
        for start in range(0, len(rows), _AT_ONCE):
            file.write(_encoder.encode_lines(list(_told(columns, rows[start : start + _AT_ONCE]))))
    # By number: a column may have any name.
    types = {f"c{number}": _type(column, rows) for number, column in enumerate(columns)}
    read = {name: "VARCHAR" if told == _INSTANT else told for name, told in types.items()}
    names = (column.name.replace('"', '""') for column in columns)
    selected = ", ".join(
        f'{name}::{told} AS "{shown}"'
        for (name, told), shown in zip(types.items(), names, strict=True)
    )
    settings: dict[str, Any] = {
        "threads": 1,
        "memory_limit": "256MB",
        "temp_directory": str(path.parent),
    }
    with duckdb.connect(":memory:", config=settings) as database:
        database.execute(
            f"COPY (SELECT {selected} FROM read_json($1, format = 'newline_delimited', "  # noqa: S608
            f"columns = {read!r})) TO '{_quoted(path)}' (FORMAT parquet)",
            [str(lines)],
        )
    lines.unlink()


_INSTANT = "TIMESTAMPTZ"


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _told(
    columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Value]]:
    for row in rows:
        yield {f"c{n}": value(row[column.name], column.kind) for n, column in enumerate(columns)}


def _type(column: Column, rows: Sequence[Mapping[str, Any]]) -> str:
    """What DuckDB calls it. A decimal has as many places as any of its values."""
    if column.kind not in NUMBERS or column.kind == "count":
        return _TYPES.get(column.kind, _INSTANT)
    scale = _LEAST_SCALE
    for row in rows:
        if isinstance(told := row[column.name], str):
            exponent = Decimal(told).as_tuple().exponent
            assert isinstance(exponent, int), told
            scale = max(scale, -exponent)
    return f"DECIMAL({_DIGITS}, {min(scale, _MOST_SCALE)})"
