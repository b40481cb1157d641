"""From files to what would be imported of them: how they are written, what their columns are, what
has to be asked, and the first rows as they would be read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Struct

from app.imports import joining, tables
from app.imports.dialect import Record
from app.imports.joining import Link, Table
from app.imports.mapping import Asked, Column, Correction, Invalid, corrected, digest
from app.imports.mapping import Mapping as Map
from app.imports.profile import profiles
from app.imports.reading import Aside, Bad, Kind, Reader, Sold
from app.imports.suggest import asked, format_of, suggested
from app.imports.tables import Shape, Unreadable
from streams import money

_PREVIEW_ROWS = 10
MOST_LOOKUP_BYTES = 256 * 1024 * 1024
"""Of files that are looked up, for they are held in memory."""


class Shapes(Struct, frozen=True):
    """How all files of an import are written, and how they belong together."""

    files: Sequence[Shape]
    columns: Sequence[str]
    main: int = 0
    links: Sequence[tuple[int, int, int]] = ()
    notes: Sequence[str] = ()

    @property
    def size(self) -> int:
        return self.files[self.main].size


class Prepared(Struct, frozen=True):
    """What is known of an import before it begins."""

    shapes: Shapes
    mapping: Map
    asked: Sequence[Asked]
    preview: Sequence[Mapping[str, Any]]
    header: str

    @property
    def blocked(self) -> bool:
        return any(one.blocking for one in self.asked)


def prepare(
    files: Sequence[tuple[Path, str]],
    said: Correction,
    saved: Mapping[str, Correction],
    *,
    currency: str,
    timezone: str,
    most_bytes: int,
    now: datetime,
    going_on: Callable[[], None] = lambda: None,
) -> Prepared:
    """Looks through files, given with their names. What was said of a file with the same header is
    said again, and then what is said now. `going_on` is asked at every row, and raises where it is
    to end. Raises Unreadable, Invalid, OSError."""
    shapes = _shapes(files, said, most_bytes, going_on)
    found = profiles(shapes.columns, _fields(rows_of(files, shapes), going_on))
    guessed = suggested(found, currency, timezone)
    header = digest(shapes.columns)
    mapping, told = guessed, said.currency is not None
    if (before := saved.get(header)) is not None:
        mapping, told = _again(mapping, before), told or before.currency is not None
    mapping = corrected(mapping, said)
    by_name = {of.name: of for of in found}
    mapping = Map(
        [_with_format(one, by_name) for one in mapping.columns],
        *(mapping.decimal, mapping.currency, mapping.timezone, mapping.statuses),
    )
    wanted = asked(mapping, found, told)
    if said.decimal is not None or (before is not None and before.decimal is not None):
        wanted = [one for one in wanted if one.field != "decimal"]
    wanted += [
        Asked("encoding", f"{one.encoding.reason}: which of these is right? "
              + "; ".join(one.encoding.words), True, ("cp1252", "cp1250", "cp1251", "cp850"))
        for one in shapes.files if one.encoding is not None and not one.encoding.sure
    ]  # fmt: skip
    wanted += [Asked("file", note) for note in shapes.notes]
    shown = list(_preview(files, shapes, mapping, now)) if not _unready(mapping) else []
    return Prepared(shapes, mapping, wanted, shown, header)


def _again(mapping: Map, before: Correction) -> Map:
    try:
        return corrected(mapping, before)
    except Invalid:
        return mapping  # it was said of another version's targets


def _with_format(one: Column, by_name: Mapping[str, Any]) -> Column:
    if not one.target or one.format:
        return one
    form = format_of(by_name[one.name], one.target)
    return Column(one.name, one.target, form, one.confidence, one.reason)


def _unready(mapping: Map) -> bool:
    targets = {one.target for one in mapping.columns}
    return not (
        "time" in targets and targets & {"product", "name"} and targets & {"unit_price", "total"}
    ) or any(one.target == "time" and not one.format for one in mapping.columns)


def _shapes(
    files: Sequence[tuple[Path, str]],
    said: Correction,
    most_bytes: int,
    going_on: Callable[[], None],
) -> Shapes:
    found, notes = [], []
    for path, name in files:
        try:
            shape = tables.shape_of(
                path, name, most_bytes,
                encoding=said.encoding or "", delimiter=said.delimiter or "", going_on=going_on,
            )  # fmt: skip
        except Unreadable as error:
            raise Unreadable(f"{name}: {error}") from error
        found.append(shape)
        notes += list(shape.notes)
    if len(found) == 1:
        return Shapes(found, found[0].columns, notes=notes)
    each = _tables(files, found)
    seen = [profiles(one.columns, _fields(one.rows(), going_on)) for one in each]
    how = joining.joined(each, seen)
    looked_up = sum(found[link.table].size for link in how.links)
    if looked_up > MOST_LOOKUP_BYTES:
        raise Unreadable(
            f"{looked_up:,} bytes of files that are looked up, of at most {MOST_LOOKUP_BYTES:,}"
        )
    links = [(link.table, link.key, link.column) for link in how.links]
    return Shapes(found, how.columns, how.main, links, [*notes, *how.notes])


def _tables(files: Sequence[tuple[Path, str]], shapes: Sequence[Shape]) -> list[Table]:
    return [
        Table(shape.name, shape.columns, partial(tables.rows_of, path, shape))
        for (path, _), shape in zip(files, shapes, strict=True)
    ]


def rows_of(files: Sequence[tuple[Path, str]], shapes: Shapes) -> Iterator[Record]:
    """All rows, of several files joined. Raises Unreadable, OSError."""
    each = _tables(files, shapes.files)
    if len(each) == 1:
        return each[0].rows()
    links = [Link(*link) for link in shapes.links]
    return joining.rows_of(each, joining.Joined(shapes.main, shapes.columns, links, ()))


def _fields(rows: Iterator[Record], going_on: Callable[[], None]) -> Iterator[Sequence[Any]]:
    for record in rows:
        going_on()
        if not record.wrong:
            yield record.fields


# The first rows, as they would be read.


def _preview(
    files: Sequence[tuple[Path, str]], shapes: Shapes, mapping: Map, now: datetime
) -> Iterator[Mapping[str, Any]]:
    reader = Reader(mapping, now, b"preview")
    rows = rows_of(files, shapes)
    for record in islice(rows, _PREVIEW_ROWS):
        try:
            yield shown_as(reader.read(record))
        except Bad as bad:
            one = bad.faults[0]
            yield {"line": record.line, "rejected": f"{one.column}: {one.reason}".lstrip(": ")}
        except Aside as aside:
            yield {"line": record.line, "set_aside": str(aside)}


def shown_as(row: Sold) -> dict[str, Any]:
    """A row as a person is shown it; who bought is left out."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=row.at)
    amount = row.price * row.quantity + row.extra
    told = {
        "line": row.line,
        "is": Kind(row.kind).name.lower(),
        "time": at.isoformat(),
        "order": row.order,
        "product": row.product,
        "name": row.name,
        "category": row.category,
        "variant": row.variant,
        "quantity": row.quantity,
        "amount": money.text(amount),
        "discount": money.text(row.discount) if row.discount else "",
        "tax": money.text(row.tax) if row.tax else "",
        "currency": row.currency,
        "country": row.country,
        "channel": row.channel,
    }
    return {name: value for name, value in told.items() if value != ""}
