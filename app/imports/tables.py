"""Files as tables: text of any dialect, plain or gzipped, and spreadsheets."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import msgspec
import python_calamine
from msgspec import Struct

from app.imports.cells import Cell, text_of
from app.imports.dialect import (
    HEAD_BYTES,
    Encoding,
    Record,
    Scan,
    delimiter_of,
    header_at,
    is_wide,
    no_text,
    records,
)
from app.imports.mapping import Invalid, known_encoding

_BLOCK = 1 << 20
_LONGEST_LINE = 1 << 20
_HEAD_ROWS = 60
_MOST_COLUMNS = 1000
_MOST_ENTRIES = 10_000  # in the zip that a spreadsheet is
_MOST_TIMES = 100  # that a file may grow as it is unpacked
_ANY_SIZE = 64 * 1024**2  # up to which it may grow as it likes
_MOST_WORKBOOK = 512 * 1024**2  # unpacked: what is in a sheet is held in memory

_GZIP, _ZIP, _OLE = b"\x1f\x8b", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"


class Unreadable(Exception):
    """A file is no table; the message says why."""


class Shape(Struct, frozen=True):
    """How a file is to be read. `header` is the index of the record that names the columns, None
    where none does. `sheets` are those of a spreadsheet that are read, one after the other."""

    name: str
    columns: Sequence[str]
    header: int | None
    encoding: Encoding | None = None
    delimiter: str = ""
    sheets: Sequence[str] = ()
    notes: Sequence[str] = ()
    size: int = 0
    """In bytes, unpacked."""


def _go_on() -> None:
    """Nobody has said that it is to end."""


def shape_of(
    path: Path,
    name: str,
    most_bytes: int,
    *,
    encoding: str = "",
    delimiter: str = "",
    going_on: Callable[[], None] = _go_on,
) -> Shape:
    """Looks through a file. `most_bytes` is how large it may be unpacked; `going_on` is asked now
    and then, and raises where it is to end. Raises Unreadable, OSError."""
    if (head := check_kind(path)) is None:
        return _sheet_shape(path, name, most_bytes, going_on)
    wide = is_wide(head)
    scan, size = Scan(), 0
    for block in _blocks(path, most_bytes):
        going_on()
        if why := no_text(block, wide=wide):
            raise Unreadable(why)
        scan.feed(block)
        size += len(block)
    found = scan.encoding()
    if encoding:
        found = Encoding(_known(encoding), True, "as it was told", odd=found.odd)
    with _text(path, found) as text:
        lines = list(islice(_lines(text), 400))
    if not any(line.strip() for line in lines):
        raise Unreadable("the file is empty")
    divided = delimiter or delimiter_of(lines)
    head_rows = list(islice(records(lines, divided, odd=found.odd), _HEAD_ROWS))
    shape = _shaped(name, [row.fields for row in head_rows], found, divided)
    return msgspec.structs.replace(shape, size=size)


def check_kind(path: Path) -> bytes | None:
    """The first bytes of a text, unpacked, None of a spreadsheet. Raises Unreadable where it is
    plainly neither, OSError."""
    with path.open("rb") as file:
        if file.read(4) in (_ZIP, _OLE):
            return None
    try:
        with _opened(path) as file:
            head = file.read(HEAD_BYTES)
    except _BAD_GZIP as error:
        raise Unreadable(f"not a whole gzip file: {error}") from error
    if why := no_text(head, wide=is_wide(head)):
        raise Unreadable(why)
    return head


def _known(encoding: str) -> str:
    try:
        return known_encoding(encoding)
    except Invalid as error:
        raise Unreadable(error.reason) from None


def _shaped(
    name: str,
    rows: Sequence[Sequence[Cell]],
    encoding: Encoding | None = None,
    delimiter: str = "",
    sheets: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Shape:
    if not rows:
        raise Unreadable("there is no row in it")
    index = header_at(rows)
    if index is None:
        told: list[str] = [""] * max(map(len, rows))
        notes = [*notes, "no row names the columns: they are called by their place"]
    else:
        told = [text_of(cell)[:200] for cell in rows[index]]
    if len(told) > _MOST_COLUMNS:
        raise Unreadable(f"{len(told):,} columns, of at most {_MOST_COLUMNS:,}")
    return Shape(name, _distinct(told), index, encoding, delimiter, sheets, notes)


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of columns, each once: a nameless one is called by its place."""
    found: list[str] = []
    for place, name in enumerate(names, 1):
        wanted = " ".join(name.replace("\0", "").split()) or f"column {place}"
        while wanted in found:
            wanted = f"{wanted} ({place})"
        found.append(wanted)
    return found


def rows_of(path: Path, shape: Shape) -> Iterator[Record]:
    """The rows below the header; of text as it stands, of spreadsheets typed. Raises Unreadable,
    OSError."""
    if shape.encoding is None:
        yield from _sheet_rows(path, shape)
        return
    first = -1 if shape.header is None else shape.header
    width = len(shape.columns)
    try:
        with _text(path, shape.encoding) as text:
            found = records(_lines(text), shape.delimiter, width, odd=shape.encoding.odd)
            for _ in islice(found, first + 1):
                pass
            yield from found
    except _BAD_GZIP as error:
        raise Unreadable(f"not a whole gzip file: {error}") from error


_BAD_GZIP = (gzip.BadGzipFile, zlib.error, EOFError)


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    return io.BufferedReader(gzip.open(path), _BLOCK) if packed else path.open("rb")


def _room(path: Path, most_bytes: int) -> int:
    """How much may come out of a file: nobody's table packs as well as a trap does."""
    return min(most_bytes, max(_ANY_SIZE, _MOST_TIMES * path.stat().st_size))


def _blocks(path: Path, most_bytes: int) -> Iterator[bytes]:
    size, most_bytes = 0, _room(path, most_bytes)
    try:
        with _opened(path) as file:
            while block := file.read(_BLOCK):
                size += len(block)
                if size > most_bytes:
                    raise Unreadable(f"more than {most_bytes:,} bytes, unpacked")
                yield block
    except _BAD_GZIP as error:
        raise Unreadable(f"not a whole gzip file: {error}") from error


def _text(path: Path, encoding: Encoding) -> io.TextIOWrapper:
    return io.TextIOWrapper(_opened(path), encoding.name, "replace", newline="")


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    return iter(partial(text.readline, _LONGEST_LINE), "")


# Spreadsheets.


def _sheet_shape(path: Path, name: str, most_bytes: int, going_on: Callable[[], None]) -> Shape:
    check_packed(path, most_bytes, going_on)
    shapes: list[Shape] = []
    notes: list[str] = []
    with _workbook(path) as book:
        for sheet in book.sheet_names:
            going_on()
            rows = [one.fields for one in islice(_of_sheet(book, sheet), _HEAD_ROWS)]
            try:
                shapes.append(_shaped(name, rows, sheets=[sheet]))
            except Unreadable:
                notes.append(f"the sheet {sheet!r} is empty")
    if not shapes:
        raise Unreadable("no sheet has a table in it")
    first = max(shapes, key=lambda one: len(one.columns))
    alike = [one for one in shapes if one.columns == first.columns]
    notes += [f"the sheet {one.sheets[0]!r} is not read: it has other columns"
              for one in shapes if one not in alike]  # fmt: skip
    return Shape(
        name,
        first.columns,
        first.header,
        sheets=[one.sheets[0] for one in alike],
        notes=[*first.notes, *notes],
        size=path.stat().st_size * 8,
    )


def check_packed(path: Path, most_bytes: int, going_on: Callable[[], None] = _go_on) -> None:
    """Refuses a spreadsheet of which more comes out than may: by what it says, and by what is in
    it, for it may say what it likes. Raises Unreadable."""
    if not zipfile.is_zipfile(path):
        return
    most_bytes = min(_MOST_WORKBOOK, _room(path, most_bytes))
    try:
        with zipfile.ZipFile(path) as packed:
            entries = packed.infolist()
            names = {entry.filename for entry in entries}
            if not names & {"[Content_Types].xml", "mimetype", "content.xml"}:
                raise Unreadable("a zip file that is no spreadsheet: unpack it first")
            if len(entries) > _MOST_ENTRIES:
                raise Unreadable(f"a spreadsheet of {len(entries):,} parts")
            if sum(entry.file_size for entry in entries) > most_bytes:
                raise Unreadable(f"more than {most_bytes:,} bytes, unpacked")
            _really(path, entries, most_bytes, going_on)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise Unreadable(f"a broken spreadsheet: {error}") from error


def _really(
    path: Path, entries: Sequence[zipfile.ZipInfo], most_bytes: int, going_on: Callable[[], None]
) -> None:
    """Unpacks every part, wherever the list of parts says that it ends, and forgets it."""
    size = 0
    with path.open("rb") as file:
        for entry in entries:
            going_on()
            if entry.compress_type != zipfile.ZIP_DEFLATED:
                continue
            file.seek(entry.header_offset + 26)
            lengths = file.read(4)
            file.seek(int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little"),
                      io.SEEK_CUR)  # fmt: skip
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            while not inflate.eof:
                block = inflate.unconsumed_tail or file.read(1 << 16)
                if not block:
                    break
                size += len(inflate.decompress(block, _BLOCK))
                if size > most_bytes:
                    raise Unreadable(f"more than {most_bytes:,} bytes, unpacked")


class _Book:
    """A workbook whose errors are told in one way."""

    def __init__(self, book: Any) -> None:
        self.book = book
        self.sheet_names = [
            meta.name for meta in book.sheets_metadata if "WorkSheet" in str(meta.typ)
        ]

    def __enter__(self) -> "_Book":
        return self

    def __exit__(self, *_: object) -> None:
        self.book.close()


_CALAMINE: tuple[type[Exception], ...] = (python_calamine.CalamineError, ValueError, OSError)


def _workbook(path: Path) -> _Book:
    return _Book(_guarded(lambda: python_calamine.load_workbook(path)))


def _guarded(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except python_calamine.PasswordError as error:
        raise Unreadable("the spreadsheet has a password: save it without one") from error
    except _CALAMINE as error:
        raise Unreadable(f"a broken spreadsheet: {str(error)[:200]}") from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # what a library in Rust does with a surprise
            raise Unreadable("a broken spreadsheet") from error
        raise


def _of_sheet(book: _Book, sheet: str) -> Iterator[Record]:
    found = _guarded(lambda: book.book.get_sheet_by_name(sheet))
    start = found.start[0] if found.start else 0
    for line, row in enumerate(found.iter_rows(), start + 1):
        cells = [
            (cell.replace("\0", "") or None) if isinstance(cell, str) else cell for cell in row
        ]
        if any(cell is not None for cell in cells):
            yield Record(line, cells)


def _sheet_rows(path: Path, shape: Shape) -> Iterator[Record]:
    with _workbook(path) as book:
        for sheet in shape.sheets:
            rows = _of_sheet(book, sheet)
            if shape.header is not None:
                head = list(islice(rows, _HEAD_ROWS))
                at = header_at([one.fields for one in head])
                yield from head[(-1 if at is None else at) + 1 :]
            yield from rows
