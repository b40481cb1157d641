"""What a request may bring besides events: how much, how slowly, and in which characters.

A body is read here, before any code of a route, and handed on. Events have a door and bounds of
their own; what is no JSON, such as a picture, is bounded here and looked into by its route.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import problems
from app.api.limits import BODY_SECONDS, Room, Share
from app.api.problems import Problem

MOST_JSON_BYTES = 1024 * 1024
MOST_UPLOAD_BYTES = 12 * 1024 * 1024
UPLOAD_SECONDS = 60.0
ROOM_BYTES = 64 * 1024 * 1024
"""Of all bodies under way in an API process; beyond it 503 at once."""
STREAMED = "/v1/imports"
"""Bodies to this path are as large as they like: their route writes them to disk, within bounds of
its own."""

_JSON = ("application/json", "text/json", "")
_ODD_ESCAPES = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")


class Bodies:
    """An ASGI app before another, which gets only bodies that it can read safely."""

    def __init__(self, app: ASGIApp, room: Room) -> None:
        self._app = app
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            check_address(scope)
            if scope["method"] in ("GET", "HEAD", "OPTIONS") or scope["path"] == STREAMED:
                await self._app(scope, receive, send)
                return
            with self._room.share() as share:
                body = await _read(scope, receive, share)
                await self._app(scope, _again(body, receive), send)
        except Problem as problem:
            await problems.answer(problem)(scope, receive, send)


def check_address(scope: Scope) -> None:
    """Postgres' text cannot hold NUL. Raises Problem."""
    for field, text in (("path", scope["raw_path"]), ("query", scope["query_string"])):
        if b"%00" in text or b"\x00" in text:
            raise _invalid(field, "text with a NUL character")


async def _read(scope: Scope, receive: Receive, share: Share) -> bytes:
    """The body, within its bounds. Raises Problem."""
    headers = Headers(scope=scope)
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    json_like = content_type in _JSON or content_type.endswith("+json")
    most = MOST_JSON_BYTES if json_like else MOST_UPLOAD_BYTES
    seconds = BODY_SECONDS if json_like else UPLOAD_SECONDS
    length = headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 18 or int(length) > most):
        raise _too_large(most)
    try:
        async with asyncio.timeout(seconds):
            body = await _received(receive, most, share)
    except TimeoutError:
        raise Problem(
            408,
            "too_slow",
            f"the body did not come within {seconds:g} s",
            headers={"Connection": "close"},
        ) from None
    if json_like:
        check_text(body)
    return body


async def _received(receive: Receive, most: int, share: Share) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "cut_off", "the body did not come whole")
        part = message.get("body", b"")
        share.take(len(part))
        body += part
        if len(body) > most:
            raise _too_large(most)
        if not message.get("more_body"):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, in one piece; then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def check_text(body: bytes) -> None:
    """JSON can say what is no text: NUL, which Postgres cannot hold, and halves of surrogate pairs,
    which have no UTF-8. Raises Problem, which names where."""
    if not _ODD_ESCAPES.search(body):
        return
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return  # no JSON at all: the route says so
    for path, text in _texts(told):
        if _NO_TEXT.search(text):
            raise _invalid(
                ".".join(path), "text with a NUL character, or with half a surrogate pair"
            )


def _texts(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text in a JSON value, names of fields among them, with where it stands."""
    left = [(path, value)]
    while left:
        path, value = left.pop()
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, list):
            left += [((*path, str(index)), one) for index, one in enumerate(value)]
        elif isinstance(value, dict):
            for name, one in value.items():
                yield path, name
                left.append(((*path, name), one))


def _invalid(field: str, reason: str) -> Problem:
    errors = [{"field": field, "reason": reason}]
    return Problem(422, "invalid", f"{field}: {reason}" if field else reason, errors)


def _too_large(most: int) -> Problem:
    return Problem(413, "too_large", f"this may have {most:,} bytes")
