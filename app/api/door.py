"""The short way in for events: past the layers of FastAPI, which take longer than checking one.

The route stays FastAPI's own, in its documentation and for whoever calls the app without a server;
here the same function is called, and what it raises is answered in the same way.
"""

from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from app.api import ingest, problems


class Door:
    """An ASGI app before another."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == ingest.PATH and scope["method"] == "POST":
            scope["app"], scope["route"] = self._app, ingest.router.routes[0]
            response = await _answer(Request(scope, receive))
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def _answer(request: Request) -> Response:
    try:
        return await ingest.append(request)
    except problems.Problem as problem:
        return problems.answer(problem)
    except Exception as error:
        return problems.bug(error)
