"""What is no table, or a trap, is refused before it costs anything."""

import gzip
import random
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.imports.mapping import Column, Correction, Invalid, Mapping, corrected
from app.imports.prepare import prepare
from app.imports.tables import Unreadable, check_kind, check_packed, shape_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MOST = 8 * 1024**3
ROWS = b"order,date,product,quantity,price\n" + b"o1,2024-01-02,mug,2,9.90\n" * 2_000
MEGABYTE = 1024**2


def file(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "sales"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj << /Type /Catalog >>", "a PDF"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 9, "a picture"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "a picture"),
        (random.Random(7).randbytes(9_000), "no text"),
        (b"\0" * 5_000, "no text"),
        (gzip.compress(b"\0" * 5_000, mtime=0), "no text"),
        (gzip.compress(b"%PDF-1.7 ...", mtime=0), "a PDF"),
    ],
    ids=["PDF", "JPEG", "PNG", "noise", "zeros", "zeros packed", "PDF packed"],
)
def test_what_is_plainly_no_table_is_said_to_be_none(
    content: bytes, what: str, tmp_path: Path
) -> None:
    path = file(tmp_path, content)
    with pytest.raises(Unreadable, match=what):
        check_kind(path)
    with pytest.raises(Unreadable, match=what):
        shape_of(path, "sales.csv", MOST)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32", "cp1251"])
def test_text_of_any_letters_is_not_refused(encoding: str, tmp_path: Path) -> None:
    text = ROWS.decode().replace("mug", "Кружка" if encoding == "cp1251" else "mug")
    assert check_kind(file(tmp_path, text.encode(encoding)))
    assert shape_of(tmp_path / "sales", "sales.csv", MOST).columns[0] == "order"


def test_zeros_after_a_good_beginning_are_refused_where_they_begin(tmp_path: Path) -> None:
    path = file(tmp_path, ROWS + b"\0" * 20 * MEGABYTE)
    seen: list[None] = []
    with pytest.raises(Unreadable, match="no text"):
        shape_of(path, "sales.csv", MOST, going_on=lambda: seen.append(None))
    assert len(seen) <= 2


def test_a_text_that_grows_a_hundredfold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv.gz"
    with gzip.open(path, "wb") as packed:
        packed.write(ROWS[:34])
        for _ in range(80):
            packed.write(b"o1,2024-01-02,mug,2,9.90\n" * (MEGABYTE // 25))
    with pytest.raises(Unreadable, match="unpacked"):
        shape_of(path, "sales.csv.gz", MOST)


@pytest.mark.parametrize("lie", [False, True])
def test_a_workbook_that_grows_a_hundredfold_is_refused_unopened(lie: bool, tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("[Content_Types].xml", "<Types/>")
        with book.open("xl/worksheets/sheet1.xml", "w") as sheet:
            for _ in range(80):
                sheet.write(b"<c><v>1</v></c>" * (MEGABYTE // 15))
    if lie:  # of its size, in the list of its parts
        content = bytearray(path.read_bytes())
        at = content.rindex(b"PK\x01\x02")
        content[at + 24 : at + 28] = (1000).to_bytes(4, "little")
        path.write_bytes(bytes(content))
    with pytest.raises(Unreadable, match="unpacked"):
        check_packed(path, MOST)


class _Ended(Exception):
    pass


def test_whoever_looks_through_a_file_ends_when_told(tmp_path: Path) -> None:
    path = file(tmp_path, ROWS)
    asked = 0

    def going_on() -> None:
        nonlocal asked
        asked += 1
        if asked == 100:
            raise _Ended

    with pytest.raises(_Ended):
        prepare([(path, "sales.csv")], Correction(), {}, currency="EUR", timezone="UTC",
                most_bytes=MOST, now=NOW, going_on=going_on)  # fmt: skip
    assert asked == 100


@pytest.mark.parametrize(
    ("said", "field"),
    [
        (Correction(encoding="klingon"), "encoding"),
        (Correction(encoding="base64"), "encoding"),
        (Correction(encoding="a\0b"), "encoding"),
        (Correction(delimiter='"'), "delimiter"),
    ],
)
def test_a_correction_that_no_file_can_be_read_with_names_its_field(
    said: Correction, field: str
) -> None:
    with pytest.raises(Invalid) as wrong:
        corrected(Mapping([Column("order")]), said)
    assert wrong.value.field == field
