"""A real Chromium, and what it said and asked for while it showed the page."""

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, Response, Route, WebSocket, async_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
NO_CHROMIUM = "no chromium on the path: the page cannot be looked at (apt-get install chromium)"

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)


@dataclass
class Seen:
    """What happened behind a page."""

    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    responses: list[Response] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    """Frames that the page sent over its websockets."""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser of its own profile."""
    # Chromium's own sandbox does not work for root, as which containers run tests.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*arguments, "--disable-gpu", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def looking(
    browser: Browser,
    address: str,
    faked: Mapping[str, tuple[int, Any]] | None = None,
    **context: Any,
) -> AsyncIterator[tuple[Page, Seen]]:
    """The page at an address, in a context of its own, from before its first request.

    `faked` are answers, a status and a body each, by a pattern of their URL.
    """
    seen = Seen()
    opened = await browser.new_context(locale="en-GB", **context)
    page = await opened.new_page()

    def frames(socket: WebSocket) -> None:
        seen.hosts.add(urlsplit(socket.url).netloc)
        socket.on("framesent", lambda frame: seen.sent.append(str(frame)))

    def says(message: Any) -> None:
        # A forecast that is not there yet is an answer, but Chromium calls it an error.
        if message.type == "error" and "/v1/forecasts/" not in message.location["url"]:
            seen.errors.append(f"{message.text} {message.location}")

    for pattern, (status, body) in (faked or {}).items():
        await page.route(pattern, _answering(status, body))
    page.on("console", says)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("request", lambda request: seen.hosts.add(urlsplit(request.url).netloc))
    page.on("response", lambda response: seen.responses.append(response))
    page.on("websocket", frames)
    try:
        await page.goto(address)
        yield page, seen
    finally:
        await opened.close()


def _answering(status: int, body: Any) -> Callable[[Route], Awaitable[None]]:
    async def answer(route: Route) -> None:
        await route.fulfill(status=status, json=body)

    return answer
