"""The short way in answers as FastAPI does, whatever becomes of a request."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.api import ingest, problems
from app.api.door import Door
from app.api.limits import MOST_REQUEST_BYTES, Room
from app.api.problems import Problem


class FakeIntake:
    """Answers what it is told to."""

    def __init__(self, outcome: Callable[[], tuple[int, dict[str, Any]]]) -> None:
        self._outcome = outcome
        self.room = Room(1 << 30)

    def known_key(self, authorization: str | None) -> tuple[str, str]:
        if authorization is None:
            raise Problem(401, "write_key", "send one", headers={"WWW-Authenticate": "Bearer"})
        return "k", "main"

    def sender(self, _request: object) -> None:
        return None

    async def accept(
        self, _body: bytes, _key: str, _shop: str, _now: datetime, _sender: None
    ) -> tuple[int, dict[str, Any]]:
        return self._outcome()


def accepted() -> tuple[int, dict[str, Any]]:
    return 202, {"id": "a", "position": "orders:0:1"}


def invalid() -> tuple[int, dict[str, Any]]:
    raise Problem(422, "invalid_event", "type: unknown", [{"field": "type", "reason": "unknown"}])


def unavailable() -> tuple[int, dict[str, Any]]:
    raise Problem(503, "log_unavailable", "not now", headers={"Retry-After": "2"})


def broken() -> tuple[int, dict[str, Any]]:
    raise RuntimeError("nobody thought of it")


def app_with(outcome: Callable[[], tuple[int, dict[str, Any]]]) -> FastAPI:
    app = FastAPI()
    problems.install(app)
    app.include_router(ingest.router)
    app.state.intake = FakeIntake(outcome)
    return app


KEY = {"Authorization": "Bearer k"}
LARGE = b" " * (MOST_REQUEST_BYTES + 1)


@pytest.mark.parametrize(
    ("outcome", "method", "path", "headers", "body"),
    [
        (accepted, "POST", "/v1/events", KEY, b"{}"),
        (accepted, "POST", "/v1/events?x=1", KEY, b"{}"),
        (accepted, "POST", "/v1/events", {}, b"{}"),
        (accepted, "POST", "/v1/events", KEY, LARGE),
        (invalid, "POST", "/v1/events", KEY, b"{}"),
        (unavailable, "POST", "/v1/events", KEY, b"{}"),
        (broken, "POST", "/v1/events", KEY, b"{}"),
        (accepted, "GET", "/v1/events", KEY, b""),
        (accepted, "POST", "/v1/events/", KEY, b"{}"),
        (accepted, "GET", "/nowhere", {}, b""),
    ],
)
async def test_it_answers_as_the_app_does(
    outcome: Callable[[], tuple[int, dict[str, Any]]],
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
) -> None:
    app = app_with(outcome)
    answers = []
    for way_in in (app, Door(app)):
        transport = httpx2.ASGITransport(way_in, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
            found = await client.request(method, path, headers=headers, content=body)
        answers.append((found.status_code, dict(found.headers), found.content))
    assert answers[0] == answers[1]
