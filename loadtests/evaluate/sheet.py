"""What the cells of a file say: days, numbers and words, whatever way they are written in."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import duckdb

from app.imports.cells import (
    DATE_FORMATS,
    UNIT,
    Unread,
    amount,
    decimal_marks,
    moment,
)
from app.imports.profile import Profile
from app.imports.tables import Unreadable, rows_of, shape_of

_MOST_BYTES = 16 * 1024**3
_NOTHING = ["", "NA", "N/A", "NULL", "null", "NaN", "nan"]
_COMPACT = re.compile(r"\d{8}")
_ENCODINGS = {"utf-8": "utf-8", "utf-8-sig": "utf-8"}


class BadTable(ValueError):
    """A file is not what it was said to be: names the column and the reason, and what to do."""


def told(name: str) -> str:
    """A column of the file in SQL: named so that none is taken for what is made of them."""
    return _quoted(f"told {name}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def load(database: duckdb.DuckDBPyConnection, path: Path, wanted: Sequence[str]) -> None:
    """The wanted columns of a file as the table `sheet`: text of CSV, typed of Parquet."""
    try:
        with path.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
        relation = "read_parquet(?)" if parquet else _csv(path)
        named = database.execute(f"DESCRIBE SELECT * FROM {relation}", [str(path)]).fetchall()  # noqa: S608
        columns = [str(row[0]) for row in named]
        for name in wanted:
            if name not in columns:
                raise BadTable(
                    f"{path.name} has no column {name!r}: it has " + ", ".join(map(repr, columns))
                )
        chosen = ", ".join(f"{_quoted(name)} AS {told(name)}" for name in wanted)
        database.execute(f"CREATE TABLE sheet AS SELECT {chosen} FROM {relation}", [str(path)])  # noqa: S608
    except (Unreadable, OSError) as error:
        raise BadTable(f"{path.name} cannot be read: {error}") from error
    except duckdb.Error as error:
        reason = " ".join(str(error).partition("Possible")[0].split())[:400]
        raise BadTable(f"{path.name} cannot be read: {reason}") from error
    if not _one(database, "SELECT count(*) FROM sheet"):
        raise BadTable(f"{path.name} has no row below its header")


def _csv(path: Path) -> str:
    """How DuckDB is to read a text, by what the import finds out of it."""
    shape = shape_of(path, path.name, _MOST_BYTES)
    if shape.encoding is None:
        raise BadTable(f"{path.name} is a workbook: save its sheet as CSV")
    first = next(rows_of(path, shape), None)
    if first is None or shape.header is None:
        raise BadTable(f"{path.name} has no row below its header")
    wide = "utf-16" if shape.encoding.name.startswith("utf-16") else "latin-1"
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    names = ", ".join(f"'{_literal(name)}': 'VARCHAR'" for name in shape.columns)
    nothing = ", ".join(f"'{one}'" for one in _NOTHING)
    return (
        f"read_csv(?, delim='{shape.delimiter}', header=false, skip={first.line - 1},"
        f" columns={{{names}}}, quote='\"', escape='\"', nullstr=[{nothing}], null_padding=true,"
        f" encoding='{_ENCODINGS.get(shape.encoding.name, wide)}', auto_detect=false,"
        f" compression='{'gzip' if packed else 'none'}', parallel=false)"
    )


def _literal(text: str) -> str:
    return text.replace("'", "''")


def _one(database: duckdb.DuckDBPyConnection, query: str) -> Any:
    found = database.execute(query).fetchone()
    assert found is not None
    return found[0]


def _type(database: duckdb.DuckDBPyConnection, column: str, table: str = "sheet") -> str:
    return str(_one(database, f"SELECT any_value(typeof({told(column)})) FROM {table}"))  # noqa: S608


def _is_number(kind: str) -> bool:
    return kind.startswith(("DECIMAL", "FLOAT", "DOUBLE", "BOOLEAN")) or kind.endswith("INT") or (
        kind in ("INTEGER", "UINTEGER")
    )  # fmt: skip


def texts_of(database: duckdb.DuckDBPyConnection, column: str, table: str = "cells") -> list[str]:
    """The different texts of a column, in their order; none of the empty."""
    found = database.execute(
        f"SELECT DISTINCT trim({told(column)}::VARCHAR) AS text FROM {table}"  # noqa: S608
        f" WHERE trim({told(column)}::VARCHAR) <> '' ORDER BY text"
    ).fetchall()
    return [str(text) for (text,) in found]


def _understood(
    database: duckdb.DuckDBPyConnection,
    table: str,
    column: str,
    name: str,
    kind: str,
    read: Callable[[str], Any],
) -> None:
    """Adds the column `name`: what each text of another means."""
    texts = texts_of(database, column, table)
    means = []
    for text in texts:
        try:
            means.append(read(text))
        except (Unread, ValueError, OverflowError) as error:
            _refuse(database, table, column, text, str(error))
    database.execute(
        f"CREATE TEMP TABLE meaning AS SELECT unnest(?::VARCHAR[]) AS text, unnest(?::{kind}[])"
        f" AS {name}",
        [texts, means],
    )
    database.execute(
        f"CREATE OR REPLACE TABLE {table} AS SELECT one.*, meaning.{name} FROM {table} AS one"  # noqa: S608
        f" LEFT JOIN meaning ON trim(one.{told(column)}::VARCHAR) = meaning.text"
    )
    database.execute("DROP TABLE meaning")


def _refuse(
    database: duckdb.DuckDBPyConnection, table: str, column: str, text: str, reason: str
) -> NoReturn:
    found = database.execute(
        f"SELECT count(*) FROM {table} WHERE trim({told(column)}::VARCHAR) = ?",  # noqa: S608
        [text],
    ).fetchone()
    assert found is not None
    raise BadTable(
        f"the column {column!r} has {text[:60]!r} in {found[0]:,} rows: {reason}."
        " Mend or leave out those rows, or name another column"
    )


def make_days(database: duckdb.DuckDBPyConnection, column: str, form: str = "") -> None:
    """Adds the column `day`: the ordinal of the date that each row tells. Raises BadTable."""
    if form and form not in DATE_FORMATS:
        raise BadTable(f"--date-format {form!r}: it is one of {', '.join(DATE_FORMATS)}")
    kind = _type(database, column)
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        since = "date_diff('day', DATE '0001-01-01', " + told(column) + "::DATE) + 1"
        database.execute(f"CREATE OR REPLACE TABLE sheet AS SELECT *, {since} AS day FROM sheet")  # noqa: S608
    else:
        texts = texts_of(database, column, "sheet")
        form = form or _date_format(column, texts)
        _understood(
            database, "sheet", column, "day", "BIGINT", lambda text: moment(text, form).toordinal()
        )
    if without := _one(database, "SELECT count(*) FROM sheet WHERE day IS NULL"):
        raise BadTable(
            f"the column {column!r} is empty in {without:,} rows: give each its day, or leave"
            " those rows out"
        )


def _date_format(column: str, texts: Sequence[str]) -> str:
    """The one format in which all are dates. Raises BadTable where there is none, or several."""
    if texts and all(_COMPACT.fullmatch(text) for text in texts):
        return "compact"
    profile = Profile(column)
    for text in texts:
        profile.add(text)
    fits = profile.date_fits
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise BadTable(
            f"the column {column!r} can be read as {' and as '.join(fits)}, such as {texts[0]!r}:"
            " say which with --date-format"
        )
    raise BadTable(
        f"the column {column!r} is not of dates, such as {(texts or ['nothing'])[0]!r}: name"
        f" another one, or say its --date-format ({', '.join(DATE_FORMATS)})"
    )


def has_numbers(database: duckdb.DuckDBPyConnection, column: str) -> bool:
    """Whether a column of `cells` is of numbers (with a share of nothing), not of words."""
    kind = _type(database, column, "cells")
    if _is_number(kind):
        return True
    if kind != "VARCHAR" and not kind.startswith("ENUM") and kind != '"NULL"':
        raise BadTable(
            f"--known {column!r} is of the type {kind}: only numbers, yes and no, and words can be"
            " inputs"
        )
    texts = texts_of(database, column)
    if not texts:
        raise BadTable(f"--known {column!r} is empty in every row: leave it out")
    profile = Profile(column)
    for text in texts:
        profile.add(text)
    return profile.numbers == profile.filled


def make_numbers(
    database: duckdb.DuckDBPyConnection,
    column: str,
    name: str,
    decimal: str = "",
    table: str = "sheet",
) -> None:
    """Adds a column of floats: the numbers of another; NULL where it is empty. Raises BadTable."""
    if decimal not in ("", ".", ","):
        raise BadTable(f"--decimal {decimal!r}: it is . or ,")
    found = told(column)
    kind = _type(database, column, table)
    plain = f"CREATE OR REPLACE TABLE {table} AS SELECT *, {{}} AS {name} FROM {table}"  # noqa: S608
    if _is_number(kind):
        some = f"{found}::DOUBLE"
        database.execute(plain.format(f"CASE WHEN isfinite({some}) THEN {some} END"))
        return
    texts = texts_of(database, column, table)
    if decimal != "," and all(_plain(text) for text in texts):
        database.execute(plain.format(f"TRY_CAST(trim({found}) AS DOUBLE)"))
        return
    mark = decimal or _decimal(column, texts)
    _understood(database, table, column, name, "DOUBLE", lambda text: amount(text, mark) / UNIT)


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")


def _plain(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _decimal(column: str, texts: Sequence[str]) -> str:
    """The mark that all numbers of a column can be read with. Raises BadTable where both do."""
    profile = Profile(column)
    for text in texts:
        profile.add(text)
    dots, commas = profile.marks["."], profile.marks[","]
    if not profile.marks:
        raise BadTable(
            f"the column {column!r} is not of numbers, such as {(texts or ['nothing'])[0]!r}:"
            " name another one"
        )
    if dots or commas:
        return "." if dots >= commas else ","
    for text in texts:
        if decimal_marks(text) and amount(text, ".") != amount(text, ","):
            raise BadTable(
                f"the column {column!r} can be read with decimal points and with decimal commas,"
                f" such as {text!r}: say which with --decimal . or --decimal ,"
            )
    return "."


_SECONDS = (
    "CASE WHEN abs({0}) >= 1e17 THEN {0} / 1e9 WHEN abs({0}) >= 1e14 THEN {0} / 1e6"
    " WHEN abs({0}) >= 1e11 THEN {0} / 1e3 ELSE {0} END"
)


def make_times(database: duckdb.DuckDBPyConnection, column: str, form: str = "") -> None:
    """Adds the column `instant`: seconds since 1970. Numbers are seconds, ms, µs or ns since then;
    texts without an offset are in UTC. Raises BadTable."""
    if form and form not in DATE_FORMATS:
        raise BadTable(f"--date-format {form!r}: it is one of {', '.join(DATE_FORMATS)}")
    found, kind = told(column), _type(database, column)
    text = f"trim({found}::VARCHAR)"
    plain = f"regexp_replace({text}, '\\s*(UTC|GMT)$', 'Z')"
    filled, number = f"{text} <> ''", f"TRY_CAST({text} AS DOUBLE)"
    ways = [
        f"epoch({found})" if kind.startswith("TIMESTAMP") or kind == "DATE" else "",
        _SECONDS.format(f"CASE WHEN isfinite({number}) THEN {number} END") if not form else "",
        f"epoch(TRY_CAST({plain} AS TIMESTAMPTZ))" if not form else "",
    ]
    fits = [
        way
        for way in filter(None, ways)
        if not _one(database, f"SELECT count(*) FROM sheet WHERE {filled} AND ({way}) IS NULL")  # noqa: S608
    ]
    if fits:
        with_times = f"SELECT *, {fits[0]} AS instant FROM sheet"  # noqa: S608
        database.execute(f"CREATE OR REPLACE TABLE sheet AS {with_times}")
    else:
        known = form or _date_format(column, texts_of(database, column, "sheet"))
        _understood(
            *(database, "sheet", column, "instant", "DOUBLE"),
            lambda text: moment(text, known).timestamp(),
        )
    if without := _one(database, "SELECT count(*) FROM sheet WHERE instant IS NULL"):
        raise BadTable(
            f"the column {column!r} is empty in {without:,} rows: give each its time, or leave"
            " those rows out"
        )
