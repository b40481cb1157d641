"""Files of who turned to what, and when, in order of time: clicks of sessions, lines of orders."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import duckdb

from loadtests.evaluate import sheet
from loadtests.evaluate.sheet import BadTable, told

Kind = Literal["clicks", "baskets"]


class Columns(NamedTuple):
    """The columns of a file by what they are."""

    session: str
    item: str
    time: str
    user: str | None = None


class Visit(NamedTuple):
    """What one session has of one and the same time: a click, or a basket. Each item once.

    `at` is in seconds since 1970; without a user it is "".
    """

    at: float
    session: str
    user: str
    items: tuple[str, ...]


def read(path: Path, columns: Columns, date_format: str = "") -> tuple[list[Visit], int]:
    """The visits of a CSV (perhaps gzipped) or Parquet file in order of time, and how many rows
    were passed over because they name no session or no item. Raises BadTable."""
    used = [one for one in columns if one is not None]
    if twice := {one for one in (columns.item, columns.time) if used.count(one) > 1}:
        raise BadTable(f"the column {twice.pop()!r} is named for two things")
    with duckdb.connect(":memory:") as database:
        database.execute("SET TimeZone = 'UTC'")
        sheet.load(database, path, list(dict.fromkeys(used)))
        sheet.make_times(database, columns.time, date_format)
        session, item = (f"trim({told(one)}::VARCHAR)" for one in (columns.session, columns.item))
        user = f"coalesce(trim({told(columns.user)}::VARCHAR), '')" if columns.user else "''"
        named = f"coalesce({session}, '') <> '' AND coalesce({item}, '') <> ''"
        rows = database.execute(
            f"SELECT instant, {session} AS session, max({user}), list({item} ORDER BY rowid),"  # noqa: S608
            f" min(rowid) AS first FROM sheet WHERE {named} GROUP BY instant, session"
            " ORDER BY instant, first"
        ).fetchall()
        found = database.execute("SELECT count(*) FROM sheet").fetchone()
    assert found is not None
    if not rows:
        raise BadTable(
            f"no row names both {columns.session!r} and {columns.item!r}: name other columns"
        )
    visits = [
        Visit(float(at), one, whose, tuple(dict.fromkeys(items)))
        for at, one, whose, items, _ in rows
    ]
    return visits, int(found[0]) - sum(len(row[3]) for row in rows)


def kind_of(visits: Sequence[Visit]) -> Kind:
    """Baskets, where more than half of all items came with others at the same time."""
    items = sum(len(visit.items) for visit in visits)
    among = sum(len(visit.items) for visit in visits if len(visit.items) > 1)
    return "baskets" if 2 * among > items else "clicks"
