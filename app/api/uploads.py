"""Files as they come in, of any size: to disk, block by block, and never held in memory."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from app.api.problems import Problem

MOST_FILES = 32
_SILENT_SECONDS = 30.0
_LONGEST_FIELD = 64 * 1024
_LONGEST_NAME = 200


class Upload:
    """Files in a folder, which is there already, and the fields that came with them."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._file: IO[bytes] | None = None
        self.files: list[dict[str, Any]] = []
        self.fields: dict[str, str] = {}
        self._size = 0

    async def take(self, request: Request, name: str) -> None:
        """All of a request's body: a form of files, or one file that is called so. Raises
        Problem."""
        told = request.headers.get("content-type", "")
        kind, options = parse_options_header(told)
        try:
            if kind == b"multipart/form-data":
                if not (boundary := options.get(b"boundary")):
                    raise _no_form("the form has no boundary")
                await self._form(request, boundary)
            else:
                self._begin(name)
                async for block in _blocks(request):
                    await asyncio.to_thread(self._write, block)
                self._end()
        except (MultipartParseError, UnicodeDecodeError) as error:
            raise _no_form(f"no form: {error}") from None
        finally:
            if self._file is not None:
                self._file.close()
        if not any(file["bytes"] for file in self.files):
            raise Problem(422, "no_file", "send a file: as the body, or in a form as `file`")

    def _begin(self, name: str) -> None:
        if len(self.files) >= MOST_FILES:
            raise Problem(413, "too_large", f"at most {MOST_FILES} files")
        stored = f"file-{len(self.files)}"
        clean = name.replace("\0", "").replace("\\", "/").rsplit("/", 1)[-1][-_LONGEST_NAME:]
        self.files.append({"name": clean or stored, "stored": stored, "bytes": 0})
        self._file = (self._folder / stored).open("wb")

    def _write(self, block: bytes) -> None:
        self._size += len(block)
        if self._size > self._most_bytes:
            raise Problem(
                413, "too_large", f"the files may have {self._most_bytes:,} bytes together"
            )
        assert self._file is not None
        self._file.write(block)
        self.files[-1]["bytes"] += len(block)

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    async def _form(self, request: Request, boundary: bytes) -> None:
        part = _Part(self)
        parser = MultipartParser(boundary, part.callbacks())
        async for block in _blocks(request):
            await asyncio.to_thread(parser.write, block)
        parser.finalize()


class _Part:
    """The part of a form that is being read."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._name = self._value = b""
        self._disposition = b""
        self._field: str | None = None
        self._told = bytearray()

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        self._name = self._value = self._disposition = b""
        self._field = None
        self._told.clear()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        if len(self._value) > _LONGEST_FIELD:
            raise _no_form("a header of the form is too long")

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"filename" in options:
            self._upload._begin(options[b"filename"].decode("utf-8", "replace"))
        else:
            self._field = options.get(b"name", b"").decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._upload._write(data[start:end])
        else:
            self._told += data[start:end]
            if len(self._told) > _LONGEST_FIELD:
                raise Problem(413, "too_large", f"a field may have {_LONGEST_FIELD:,} bytes")

    def _end(self) -> None:
        if self._field is None:
            self._upload._end()
        else:
            self._upload.fields[self._field] = self._told.decode("utf-8", "replace")


async def _blocks(request: Request) -> AsyncIterator[bytes]:
    """A body's blocks, none of them long in coming. Raises Problem."""
    stream = request.stream()
    try:
        while True:
            async with asyncio.timeout(_SILENT_SECONDS):
                block = await anext(stream, None)
            if block is None:
                return
            if block:
                yield block
    except TimeoutError:
        detail = f"nothing came for {_SILENT_SECONDS:g} s"
        raise Problem(408, "too_slow", detail, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(400, "cut_off", "the body did not come whole") from None


def _no_form(reason: str) -> Problem:
    return Problem(400, "invalid_form", reason)
