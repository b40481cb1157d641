"""Shopkeepers and buyers, as the tests of commands have them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from app.api.access import Role
from tests.e2e.service import Service
from tests.e2e.test_commands import bearer, mug

__all__ = ["bearer", "mug", "refused", "sent", "somebody"]


@asynccontextmanager
async def somebody(
    service: Service,
    role: Role | None = Role.STAFF,
    id: str = "s-1",  # noqa: A002
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of somebody who is logged in, or of anyone."""
    headers = bearer(service, role, id) if role else {}
    async with httpx2.AsyncClient(base_url=service.api, headers=headers, timeout=30) as client:
        yield client


async def sent(
    client: httpx2.AsyncClient, method: str, path: str, body: Any = None, **headers: str
) -> dict[str, Any]:
    """What a command that succeeds is answered with, and its ETag as `etag`."""
    answer = await client.request(method, path, json=body, headers=headers)
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return {**found, "etag": answer.headers.get("ETag")}


def refused(answer: httpx2.Response, status: int, field: str | None = None) -> Mapping[str, Any]:
    """A problem that names the field."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    if field is not None:
        assert [error["field"] for error in found["errors"]] == [field], found
    return found
