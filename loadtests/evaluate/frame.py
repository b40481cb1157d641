"""Files of daily values as a frame: all series and days in one array, and what was known of each.

DuckDB reads the file and sums it up; what its texts mean (dates, decimal commas) is found out by
the same rules as of an imported spreadsheet.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Literal, NamedTuple

import duckdb
import numpy as np
from numpy.typing import NDArray

from loadtests.evaluate import sheet
from loadtests.evaluate.sheet import BadTable, told
from ml_online.accuracy import Array

Missing = Literal["zero", "gap"]

MOST_CATEGORIES = 20
_MOST_DAYS = 5_000
_MOST_CELLS = 400_000_000
_TRUE = frozenset({"1", "true", "t", "yes", "y", "ja", "sim", "oui", "open"})


class Columns(NamedTuple):
    """The columns of a file by what they are. Without `series` it is one series."""

    date: str
    value: str
    series: str | None = None
    known: Sequence[str] = ()


class Frame(NamedTuple):
    """Daily values of some series. `first` is the ordinal of the first day."""

    keys: list[str]
    first: int
    values: Array
    """[series, day]: NaN before a series' first day, after its last, and where nothing is known."""
    inputs: list[str]
    """Names of the known inputs: a column's, or `column=category`."""
    known: NDArray[np.float64]
    """[series, day, input], never NaN."""

    @property
    def days(self) -> int:
        return int(self.values.shape[1])

    def day(self, number: int) -> date:
        """The date of a day by its number."""
        return date.fromordinal(self.first + number)


def read(
    path: Path,
    columns: Columns,
    *,
    missing: Missing = "zero",
    date_format: str = "",
    decimal: str = "",
) -> Frame:
    """Reads a CSV (perhaps gzipped) or Parquet file. Raises BadTable."""
    _check(columns)
    with duckdb.connect(":memory:") as database:
        database.execute("SET TimeZone = 'UTC'")
        wanted = [columns.date, columns.value, *filter(None, [columns.series]), *columns.known]
        sheet.load(database, path, wanted)
        sheet.make_days(database, columns.date, date_format)
        sheet.make_numbers(database, columns.value, "amount", decimal)
        series = f"coalesce({told(columns.series)}::VARCHAR, '')" if columns.series else "''"
        database.execute(f"CREATE TABLE dated AS SELECT {series} AS series, * FROM sheet")  # noqa: S608
        keys, first, days = _extent(database)
        rows, at = _places(database, first)
        values = _values(database, rows, at, (len(keys), days), missing)
        inputs: list[str] = []
        layers: list[Array] = []
        for column in columns.known:
            names, found = _known(database, column, rows, at, values.shape, decimal)
            inputs += names
            layers += found
        if len(inputs) * values.size > _MOST_CELLS:
            raise BadTable(
                f"{len(inputs)} known inputs of {len(keys):,} series on {days:,} days are too many"
                " to be held in memory: name fewer --known columns, or fewer series"
            )
        known = np.stack(layers, axis=2) if layers else np.zeros((*values.shape, 0))
        return Frame(keys, first, values, inputs, known)


def _check(columns: Columns) -> None:
    used = [columns.date, columns.value, *filter(None, [columns.series])]
    if twice := {one for one in used if used.count(one) > 1}:
        raise BadTable(f"the column {twice.pop()!r} cannot be two of --date, --series and --value")
    for one in columns.known:
        if one == columns.value:
            raise BadTable(f"--known {one!r} is what is to be foretold: it is not known beforehand")
        if one in used or list(columns.known).count(one) > 1:
            raise BadTable(f"--known {one!r}: the column is named twice")


def _extent(database: duckdb.DuckDBPyConnection) -> tuple[list[str], int, int]:
    """The series in order of their names, the first day and how many there are."""
    found = database.execute("SELECT min(day), max(day) FROM dated").fetchone()
    assert found is not None
    first, last = found
    if last - first >= _MOST_DAYS:
        raise BadTable(
            f"its days go from {date.fromordinal(first)} to {date.fromordinal(last)}: more than"
            f" {_MOST_DAYS:,} days. Is one of the dates wrong?"
        )
    names = database.execute("SELECT DISTINCT series FROM dated ORDER BY series").fetchall()
    keys = [str(name) for (name,) in names]
    days = last - first + 1
    if len(keys) * days > _MOST_CELLS:
        raise BadTable(
            f"{len(keys):,} series on {days:,} days: is the --series column really one of series?"
        )
    database.execute(
        "CREATE TABLE keys AS SELECT series, row_number() OVER (ORDER BY series) - 1 AS row"
        " FROM (SELECT DISTINCT series FROM dated)"
    )
    database.execute(
        "CREATE TABLE cells AS SELECT row, day, dated.* EXCLUDE (series, day)"
        " FROM dated JOIN keys USING (series)"
    )
    return keys, first, days


def _places(
    database: duckdb.DuckDBPyConnection, first: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and day of every cell that some row of the file is of."""
    found = database.execute(
        "SELECT row, day FROM cells GROUP BY row, day ORDER BY row, day"
    ).fetchnumpy()
    return found["row"].astype(np.int64), found["day"].astype(np.int64) - first


def _floats(database: duckdb.DuckDBPyConnection, figure: str) -> Array:
    """A figure of each row and day, in the order of `_places`; NaN where it is NULL."""
    found = database.execute(
        f"SELECT ({figure})::DOUBLE AS figure FROM cells GROUP BY row, day ORDER BY row, day"  # noqa: S608
    ).fetchnumpy()["figure"]
    return np.asarray(np.ma.filled(found, np.nan), dtype=np.float64)


def _values(
    database: duckdb.DuckDBPyConnection,
    rows: NDArray[np.int64],
    at: NDArray[np.int64],
    shape: tuple[int, int],
    missing: Missing,
) -> Array:
    """Sums of each series and day. A row whose value is empty says that it is not known."""
    values = np.full(shape, np.nan)
    if missing == "zero":
        begin, end = np.full(shape[0], shape[1]), np.full(shape[0], -1)
        np.minimum.at(begin, rows, at)
        np.maximum.at(end, rows, at)
        day = np.arange(shape[1])
        values[(day >= begin[:, None]) & (day <= end[:, None])] = 0.0
    values[rows, at] = _floats(database, "sum(amount)")
    if np.isnan(values).all():
        raise BadTable("the --value column has no value at all")
    return values


def _known(
    database: duckdb.DuckDBPyConnection,
    column: str,
    rows: NDArray[np.int64],
    at: NDArray[np.int64],
    shape: tuple[int, ...],
    decimal: str,
) -> tuple[list[str], list[Array]]:
    """A known column's inputs, by name: itself if it is of numbers, else one of each text."""
    if sheet.has_numbers(database, column):
        sheet.make_numbers(database, column, "figure", decimal, table="cells")
        layer = np.full(shape, np.nan)
        layer[rows, at] = _floats(database, "avg(figure)")
        database.execute("ALTER TABLE cells DROP COLUMN figure")
        seen = layer[rows, at]
        switch = bool(np.isin(seen[~np.isnan(seen)], (0.0, 1.0)).all())
        return [column], [filled(layer, carried=not switch)]
    texts = sheet.texts_of(database, column)
    if len(texts) > MOST_CATEGORIES:
        raise BadTable(
            f"--known {column!r} is of text with {len(texts):,} different values, such as"
            f" {texts[0]!r}: at most {MOST_CATEGORIES} become inputs. Make it numbers or fewer"
            " words, or leave it out"
        )
    if len(texts) == 2:  # the one is what the other is not
        texts = [next((text for text in texts if text.strip().lower() in _TRUE), texts[1])]
    layers = []
    for text in texts:
        layer = np.full(shape, np.nan)
        literal = text.replace("'", "''")
        layer[rows, at] = _floats(
            database, f"avg((coalesce(trim({told(column)}::VARCHAR), '') = '{literal}')::INTEGER)"
        )
        layers.append(filled(layer, carried=False))
    return [f"{column}={text}" for text in texts], layers


def filled(layer: Array, *, carried: bool) -> Array:
    """A known input [series, day] without gaps.

    Where nothing is told, it is what all other series that tell of that day agree on; else, if
    `carried`, what the series told last (before it has told anything, what it tells first); else 0.
    """
    some = ~np.isnan(layer)
    least = np.where(some, layer, np.inf).min(axis=0)
    most = np.where(some, layer, -np.inf).max(axis=0)
    agreed = np.broadcast_to(np.where(least == most, least, np.nan), layer.shape)
    result = np.where(some, layer, agreed if len(layer) > 1 else np.nan)
    if carried:
        day = np.arange(layer.shape[1])
        known = ~np.isnan(result)
        last = np.maximum.accumulate(np.where(known, day, -1), axis=1)
        first = np.where(known.any(axis=1), known.argmax(axis=1), 0)
        source = np.where(last >= 0, last, first[:, None])
        result = np.take_along_axis(result, source, axis=1)
    return np.asarray(np.nan_to_num(result), dtype=np.float64)
