"""Lists by pages: a cursor is where the next one begins, and says nothing else to anyone."""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Query

from app.api.problems import Problem

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=100, description="how many at most")]
Cursor = Annotated[
    str | None, Query(max_length=2048, description="`next_cursor` of the page before")
]


def page(
    found: Sequence[T],
    limit: int,
    shown: Callable[[T], Any],
    place: Callable[[T], tuple[Any, ...]],
    name: str,
) -> dict[str, Any]:
    """A page of what was asked for, with one more than `limit` where there are more."""
    some = found[:limit]
    more = place(some[-1]) if len(found) > limit else None
    return {
        name: [shown(one) for one in some],
        "next_cursor": None if more is None else encode_cursor(more),
    }


def encode_cursor(place: tuple[Any, ...]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def parse_cursor(cursor: str | None, kind: type[T]) -> T | None:
    """A place, such as `tuple[float, str]`; None is the beginning. Raises Problem."""
    if cursor is None:
        return None
    try:
        told = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        found = msgspec.json.decode(told, type=kind)
        for part in found:  # type: ignore[attr-defined]
            if isinstance(part, str) and "\x00" in part:
                raise ValueError("a NUL")
            if isinstance(part, datetime):
                part.astimezone(UTC)
    except (binascii.Error, ValueError, OverflowError, msgspec.MsgspecError):
        reason = "no cursor of an answer before"
        errors = [{"field": "cursor", "reason": reason}]
        raise Problem(422, "invalid", f"cursor: {reason}", errors) from None
    return found
