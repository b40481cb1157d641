"""CSV files, plain or gzipped, row by row: each with its line, or the place where it breaks."""

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from io import BufferedReader
from operator import itemgetter
from pathlib import Path
from typing import IO, NamedTuple


class Unreadable(Exception):
    """The file is not what it should be; the message says where and why."""


class Rejected(NamedTuple):
    """A line that became no event."""

    line: int
    field: str
    reason: str


def opened(path: Path) -> IO[bytes]:
    """A file's bytes, unpacked where its name ends in .gz. Raises OSError."""
    return BufferedReader(gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def rows_of(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """The rows below the header: each one's first line, and its fields in the order of `columns`
    as they stand; no fields where their number is wrong. Raises OSError, Unreadable."""
    with opened(path) as file:
        try:
            yield from _rows(_text(file), columns)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise Unreadable(f"{path.name} is not a whole gzip file: {error}") from error
        except Unreadable as error:
            raise Unreadable(f"{path.name}, {error}") from error.__cause__


def _rows(lines: Iterable[str], columns: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    reader = csv.reader(lines, strict=True)
    try:
        header = next(reader, [])
        if missing := [column for column in columns if column not in header]:
            raise Unreadable(f"line 1: the header has no {', '.join(missing)}")
        pick = itemgetter(*map(header.index, columns))
        line = reader.line_num + 1
        for fields in reader:
            if fields:
                yield line, pick(fields) if len(fields) == len(header) else ()
            line = reader.line_num + 1
    except csv.Error as error:
        raise Unreadable(f"line {reader.line_num}: {error}") from error


def _text(file: Iterable[bytes]) -> Iterator[str]:
    header = ""
    for number, line in enumerate(file, 1):
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            where = f"line {number}, {_field_at(header, line[: error.start])}"
            raise Unreadable(f"{where}: not UTF-8 (byte {line[error.start]:#04x})") from error
        if "\0" in text:
            raise Unreadable(f"line {number}: a NUL character; this is not a text file")
        if number == 1:
            header = text = text.removeprefix("\ufeff")
        yield text


def _field_at(header: str, before: bytes) -> str:
    """The name of the field that a line's first bytes lead to."""
    names, fields = next(csv.reader([header]), []), next(csv.reader([before.decode()]), [""])
    return names[len(fields) - 1] if len(fields) <= len(names) else f"field {len(fields)}"
