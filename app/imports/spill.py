"""Rows put together by their orders, however many: parts of them wait on disk.

All rows of an order are in one part, which alone is held in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec
import xxhash

from app.imports.reading import Sold

PART_BYTES = 32 * 1024 * 1024
"""Of a file's text; as rows it takes some five times as much."""
_MOST_PARTS = 512
_HELD_ROWS = 50_000

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[Sold])


class Parts:
    """Rows by part; one part stays in memory."""

    def __init__(self, folder: Path, size: int) -> None:
        self.count = max(1, min(_MOST_PARTS, -(-size // PART_BYTES)))
        self._folder = folder
        self._held: list[list[Sold]] = [[] for _ in range(self.count)]
        self._rows = 0
        self._files: list[IO[bytes] | None] = [None] * self.count

    def add(self, row: Sold) -> None:
        key = row.order or row.content
        part = xxhash.xxh3_64_intdigest(key.encode()) % self.count if self.count > 1 else 0
        self._held[part].append(row)
        self._rows += 1
        if self._rows >= _HELD_ROWS and self.count > 1:
            self._spill()

    def _spill(self) -> None:
        for part, rows in enumerate(self._held):
            if not rows:
                continue
            if self._files[part] is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._files[part] = self._path(part).open("wb+")
            block, file = _encode(rows), self._files[part]
            assert file is not None
            file.write(len(block).to_bytes(8, "little") + block)
            rows.clear()
        self._rows = 0

    def _path(self, part: int) -> Path:
        return self._folder / f"part-{part}"

    def rows(self) -> Iterator[list[Sold]]:
        """Part after part, each once."""
        for part in range(self.count):
            yield [*self._from_disk(part), *self._held[part]]
            self._held[part] = []

    def _from_disk(self, part: int) -> Iterator[Sold]:
        file = self._files[part]
        if file is None:
            return
        file.seek(0)
        while size := file.read(8):
            yield from _decoder.decode(file.read(int.from_bytes(size, "little")))

    def close(self) -> None:
        for part, file in enumerate(self._files):
            if file is not None:
                file.close()
                self._path(part).unlink(missing_ok=True)
