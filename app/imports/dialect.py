"""How a text file is written: its characters, what divides its fields, where its header stands."""

import codecs
import csv
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from msgspec import Struct

from app.imports.cells import Cell, date_formats, decimal_marks, text_of
from app.imports.words import NAMES, words

DELIMITERS = ",;\t|"
MOST_ROW_LINES = 200
"""A cell may go over some lines; a quote that nobody closes would go over all of them."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WESTERN = frozenset(
    "àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿßœŠšŽžÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝŒ€£¥§°ªº«»–—‘’“”„…•"
    "·´¨¿¡½¼¾²³±×®©™ "
    "\u00a0\u00ad"
)
EIGHT_BITS = ("cp1252", "cp1250", "cp1251", "cp850", "mac_roman", "latin-1")
"""None of them can be told from the others for sure: a person has to look."""


class Encoding(Struct, frozen=True):
    """`sure`: no other was possible, or what it gives is plainly what was meant."""

    name: str
    sure: bool
    reason: str
    odd: bool = False
    """Some lines hold what is no text: they are looked for, and rejected."""
    words: Sequence[str] = ()
    """Where it is not sure: words as this encoding and some others give them."""


def _wide(head: bytes) -> Encoding | None:
    """Where a letter is more than a byte, or the file says what it is."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            return Encoding(name, True, "it says so in its first bytes")
    evens, odds = head[::2].count(0), head[1::2].count(0)
    if max(evens, odds) > len(head) * 0.3 > 8 * min(evens, odds):
        name = "utf-16-be" if evens > odds else "utf-16-le"
        return Encoding(name, True, "every second byte is zero")
    return None


_OTHERS = (
    (b"%PDF-", "a PDF"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"\x89PNG", "a picture (PNG)"),
    (b"GIF8", "a picture (GIF)"),
    (b"SQLite format 3", "a database (SQLite)"),
    (b"PAR1", "a Parquet file"),
)
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1a\x1b"))
HEAD_BYTES = 65_536


def no_text(block: bytes, *, wide: bool = False) -> str:
    """Why the bytes of a file are no text, whatever its encoding; empty where they may be. `wide`:
    a letter is more than a byte."""
    for mark, what in _OTHERS:
        if block.startswith(mark):
            return f"it is {what}, no table: save it as CSV or as a spreadsheet"
    if wide:
        return ""
    controls = len(block) - len(block.translate(None, _CONTROLS))
    if controls > 3 and controls * 50 > len(block):
        return "it is no text and no spreadsheet: its bytes are none of letters"
    return ""


def is_wide(head: bytes) -> bool:
    """Whether its letters are of several bytes each, some of them zeros."""
    found = _wide(head)
    return found is not None and found.name != "utf-8-sig"


class Scan:
    """Looks at all bytes of a file, block after block, for what characters they can be."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._high = self._broken = 0
        self._head = b""
        self._samples: list[bytes] = []
        self._nul = False

    def feed(self, block: bytes) -> None:
        if len(self._head) < HEAD_BYTES:
            self._head += block[: HEAD_BYTES - len(self._head)]
        self._nul = self._nul or b"\0" in block
        text = self._utf8.decode(block)
        if text.isascii():
            return
        self._broken += text.count("\ufffd")
        self._high += sum(1 for letter in text if letter > "\x7f")
        if len(self._samples) < 40:
            found = (word for word in block.split() if not word.isascii() and len(word) < 80)
            self._samples += [word for word, _ in zip(found, range(40), strict=False)]

    def encoding(self) -> Encoding:
        """What it all can be, at the end."""
        if (wide := _wide(self._head)) is not None:
            return wide
        if not self._high:
            return Encoding("utf-8", True, "plain ASCII", self._nul)
        if not self._broken:
            return Encoding("utf-8", True, "all of it is UTF-8", self._nul)
        if self._broken * 10 <= self._high:
            return Encoding("utf-8", True, "all but a few bytes of it are UTF-8", odd=True)
        return eight_bits(self._samples, odd=self._nul)


def eight_bits(samples: Sequence[bytes], *, odd: bool = False) -> Encoding:
    """Where each byte is a letter: western by what it gives, else something to be asked."""
    found = "".join(word.decode("cp1252", "replace") for word in samples)
    letters = [letter for letter in found if letter > "\x7f"]
    western = sum(letter in _WESTERN for letter in letters)
    sure = western >= 0.95 * max(1, len(letters))
    shown = [f"{name}: {b' '.join(samples[:6]).decode(name, 'replace')}" for name in EIGHT_BITS[:4]]
    reason = "no UTF-8; as cp1252 its letters are western ones" if sure else "no UTF-8"
    return Encoding("cp1252", sure, reason, odd, () if sure else shown)


# What divides the fields.


class Record(NamedTuple):
    """A record of a file: the line where it begins, and its fields, or what is wrong with it."""

    line: int
    fields: Sequence[Cell]
    wrong: str = ""


class _Runaway(Exception):
    """A record goes on for too long."""


class _Lines:
    """Lines of which some can be given back, with the number of the last."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.source = iter(lines)
        self.again: deque[str] = deque()
        self.taken: list[str] = []
        self.number = 0
        self.over = False

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if len(self.taken) >= MOST_ROW_LINES:
            raise _Runaway
        try:
            line = self.again.popleft() if self.again else next(self.source)
        except StopIteration:
            self.over = True
            raise
        self.taken.append(line)
        self.number += 1
        return line

    def give_back(self) -> int:
        """All that was taken but the first; the number of that one."""
        self.again.extendleft(reversed(self.taken[1:]))
        self.number -= len(self.taken) - 1
        self.over = False
        return self.number


def records(
    lines: Iterable[str], delimiter: str, width: int = 0, *, odd: bool = False
) -> Iterator[Record]:
    """The records of a text, empty lines left out. Where a quote is not closed, its line is wrong
    and those after it are read: `width` is how many fields a whole record has, if that is known.

    `odd`: some hold what is no text.
    """
    feed = _Lines(lines)
    source, again = feed.source, feed.again
    while True:
        line = again.popleft() if again else next(source, "")
        if not line:
            return
        feed.number += 1
        if '"' not in line:  # nearly all: what csv would do with it, in a third of the time
            fields = line.rstrip("\r\n").split(delimiter)
            if odd and ("\0" in line or "\ufffd" in line):
                yield Record(feed.number, fields, _NO_TEXT)
            elif len(fields) > 1 or fields[0]:
                yield Record(feed.number, fields)
            continue
        feed.taken[:] = [line]
        yield _quoted(feed, delimiter, width, odd=odd)


_NO_TEXT = "bytes that are no text"
_OPEN = "a quote that is not closed"


def _quoted(feed: _Lines, delimiter: str, width: int, *, odd: bool) -> Record:
    """The record that the line just taken begins, over as many lines as it goes on."""
    taken = feed.taken
    wrong, fields = "", []
    try:
        fields = next(csv.reader(chain(taken[:1], feed), delimiter=delimiter))
    except (_Runaway, csv.Error):
        wrong = _OPEN
    cut = feed.over and sum(line.count('"') for line in taken) % 2 == 1
    if width and len(fields) != width and (cut or len(taken) > 1):
        wrong = _OPEN
    if wrong:
        return Record(feed.give_back(), [], wrong)
    first = feed.number - len(taken) + 1
    unreadable = odd and any("\0" in line or "\ufffd" in line for line in taken)
    return Record(first, fields, _NO_TEXT if unreadable else "")


def delimiter_of(lines: Sequence[str]) -> str:
    """What divides most of these lines into equally many fields."""
    best: tuple[float, int, str] = (0.0, 0, ",")
    for delimiter in DELIMITERS:
        found = [len(one.fields) for one in records(lines, delimiter) if not one.wrong]
        widths = Counter(width for width in found if width > 1)
        if widths:
            width, count = widths.most_common(1)[0]
            best = max(best, (round(count / len(found), 1), width, delimiter), key=lambda one: one)
    return best[2]


# Where the header stands.


def header_at(rows: Sequence[Sequence[Cell]]) -> int | None:
    """Which of the first rows names the columns; None where none does, for there is no header."""
    widths = Counter(_filled(row) for row in rows if _filled(row) > 1)
    if not widths:
        return 0 if rows else None
    usual = max(widths, key=lambda width: (widths[width], width))
    best, found = 0.0, None
    for index, row in enumerate(rows[:30]):
        score = _as_header(row, usual)
        if score > best + 1e-9:
            best, found = score, index
        if found is not None and index > found and _filled(row) >= usual / 2 and best > 0.8:
            break
    return found


def _filled(row: Sequence[Cell]) -> int:
    return sum(1 for cell in row if text_of(cell))


_KNOWN = frozenset(
    tuple(phrase.split()) for groups in NAMES.values() for _, one in groups
    for phrase in one.split("|")
)  # fmt: skip


def _as_header(row: Sequence[Cell], usual: int) -> float:
    """How much a row looks like names of columns: 0 where some of it are data."""
    told = [text_of(cell) for cell in row if text_of(cell)]
    if len(told) < max(1, usual * 0.6) or any(_is_data(cell) for cell in row):
        return 0.0
    distinct = len(set(told)) / len(told)
    known = sum(1 for one in told if words(one) in _KNOWN) / len(told)
    short = sum(1 for one in told if len(one) <= 60) / len(told)
    if not known and (distinct < 1 or short < 1):
        return 0.0
    return 0.4 * distinct + 0.2 * short + 0.2 * min(1.0, len(told) / usual) + 0.3 * known


def _is_data(cell: Cell) -> bool:
    if isinstance(cell, str):
        text = cell.strip()
        return bool(text) and (decimal_marks(text) is not None or bool(date_formats(text)))
    return cell is not None
