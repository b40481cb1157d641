"""Files that belong together, as one table: the one that says what was sold, and beside each of its
rows what the others say of the order, the product, the customer it names."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from app.imports.cells import Cell, id_of
from app.imports.dialect import Record
from app.imports.profile import Profile
from app.imports.suggest import by_name
from app.imports.words import words

_LEAST_FOUND = 0.5
"""Of the sample's values, that another file has to know to be about the same things."""
_SAMPLED = 2_000

Rows = Callable[[], Iterator[Record]]


class Table(NamedTuple):
    """A file: its columns, its rows from the beginning as often as they are asked for."""

    name: str
    columns: Sequence[str]
    rows: Rows


class Link(NamedTuple):
    """A file whose rows are found by its column `key`, which `column` of the joined table names."""

    table: int
    key: int
    column: int


class Joined(NamedTuple):
    """The table that all of them make, and what to know about it."""

    main: int
    columns: Sequence[str]
    links: Sequence[Link]
    notes: Sequence[str]


def main_of(tables: Sequence[Table], profiles: Sequence[Sequence[Profile]]) -> int:
    """The file with a row for each product sold: it names products, prices, and orders."""

    def worth(place: int) -> tuple[float, int]:
        wanted = {"product": 2.0, "unit_price": 2.0, "quantity": 2.0, "order": 1.0, "total": 1.0}
        names = [of.name for of in profiles[place]]
        found = sum(
            value * max((by_name(name, target) for name in names), default=0.0)
            for target, value in wanted.items()
        )
        return found, len(tables[place].columns)

    return max(range(len(tables)), key=worth)


def joined(tables: Sequence[Table], profiles: Sequence[Sequence[Profile]]) -> Joined:
    """Links all files that can be: by a column of the same name, whose values are each there once
    in the other file and are mostly known there."""
    main = main_of(tables, profiles)
    columns = list(tables[main].columns)
    samples = [set(list(of.values)[:_SAMPLED]) for of in profiles[main]]
    links: list[Link] = []
    notes: list[str] = []
    waiting = [place for place in range(len(tables)) if place != main]
    told: dict[int, str] = {}
    while waiting:
        found = None
        for place in waiting:
            link = _link(tables[place], place, columns, samples, told)
            if link is not None:
                found = link
                break
        if found is None:
            break
        waiting.remove(found.table)
        links.append(found)
        table, of = tables[found.table], profiles[found.table]
        for place, name in enumerate(table.columns):
            if place == found.key:
                continue
            columns.append(name if name not in columns else f"{name} ({table.name})")
            samples.append(set(list(of[place].values)[:_SAMPLED]))
        notes.append(f"{table.name} is looked up by {table.columns[found.key]}")
    notes += [
        f"{tables[place].name} is not read: {told.get(place, 'it names nothing of the others')}"
        for place in waiting
    ]
    return Joined(main, columns, links, [f"{tables[main].name} says what was sold", *notes])


def _link(
    table: Table, place: int, columns: Sequence[str], samples: Sequence[set[str]],
    told: dict[int, str],
) -> Link | None:  # fmt: skip
    for key, name in enumerate(table.columns):
        for column, other in enumerate(columns):
            if words(name) != words(other) or not samples[column]:
                continue
            known, twice = set(), False
            wanted, found = samples[column], set()
            for record in table.rows():
                if key >= len(record.fields):
                    continue
                value = id_of(record.fields[key])
                if not value:
                    continue
                if value in known:
                    twice = True
                    break
                known.add(value)
                if value in wanted:
                    found.add(value)
            if twice:
                told[place] = f"several of its rows have the same {name}"
            elif len(found) >= _LEAST_FOUND * len(wanted):
                return Link(place, key, column)
    return None


def rows_of(tables: Sequence[Table], how: Joined) -> Iterator[Record]:
    """The joined rows: each of the main file's, with what the others say of it; nothing where they
    do not know it. Their rows are held in memory."""
    known = [
        (link.column, _known(tables[link.table].rows(), link.key), len(tables[link.table].columns))
        for link in how.links
    ]
    width = len(tables[how.main].columns)
    for record in tables[how.main].rows():
        if record.wrong or len(record.fields) > width:
            yield record
            continue
        cells: list[Cell] = [*record.fields, *[None] * (width - len(record.fields))]
        for column, found, size in known:
            said = found.get(id_of(cells[column]))
            cells += said if said is not None else [None] * (size - 1)
        yield Record(record.line, cells)


def _known(rows: Iterable[Record], key: int) -> Mapping[str, Sequence[Cell]]:
    return {
        id_of(record.fields[key]): [
            cell for place, cell in enumerate(record.fields) if place != key
        ]
        for record in rows
        if not record.wrong and key < len(record.fields)
    }
