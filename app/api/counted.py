"""Counts and times every answer, by route, for Prometheus."""

import time
from functools import cache

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.metrics import HTTP_REQUESTS, HTTP_SECONDS

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_ENDLESS = "/v1/live"


# Finding a label's own counter takes longer than counting. There are as many as routes.
_requests = cache(HTTP_REQUESTS.labels)
_seconds = cache(HTTP_SECONDS.labels)


class Counted:
    """Routes are counted by their templates: whatever clients ask for, they stay as few."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun = time.perf_counter()
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            _requests(method, route, status).inc()
            if not route.startswith(_ENDLESS):
                _seconds(route).observe(time.perf_counter() - begun)
        return None
