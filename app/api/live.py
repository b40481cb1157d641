"""`/v1/live`: a snapshot of named metrics, then every change, in order, as absolute values.

Over a websocket, which takes any number of subscriptions; or as server-sent events, one metric a
URL, so that `curl -N` is a dashboard. A client gets changes at once; while a send to it is under
way they wait in a slot per figure, the latest value only. A client that takes nothing for five
seconds is let go.

Every report is also a live query, of its name and with its filters: see `app.live.queries`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any
from urllib.parse import urlsplit

import structlog
from fastapi import (
    APIRouter,
    Depends,
    Header,
    Path,
    Query,
    Request,
    Response,
    WebSocket,
    WebSocketDisconnect,
)
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.datastructures import Headers
from starlette.types import Receive, Scope
from starlette.types import Send as SendEvent

from app.api import access
from app.api.access import Actor
from app.api.admission import LISTENERS, Admission, subprotocol_of
from app.api.completeness import Figures
from app.api.problems import Problem
from app.live.asking import Question, parameters, question
from app.live.client import Client, Ended, attend
from app.live.hub import Hub
from app.live.protocol import METRICS, Message, Subscribe, Subscription, names, parse, parse_query
from app.live.queries import Away, Queries, Snapshots
from app.reports.table import QUERIES
from app.settings import Settings
from projections.clock import ShopClock
from projections.read_model import Transaction
from streams.codec import Refused

logger = structlog.get_logger()
router = APIRouter()

MOST_FRAME_BYTES = 64 * 1024
MOST_SUBSCRIPTIONS = 50
_GOODBYE_SECONDS = 1.0
_RECONNECT_MILLISECONDS = 1000


def may_listen(headers: Headers, allowed: Sequence[str]) -> bool:
    """Whether a page of ours, an allowed one, or no page at all is asking."""
    origin = headers.get("origin")
    if origin is None or origin in allowed:
        return True
    try:
        return urlsplit(origin).netloc == headers.get("host")
    except ValueError:  # such as http://[
        return False


@router.websocket("/v1/live")
async def live(socket: WebSocket, actor: Annotated[Actor | None, Depends(LISTENERS)]) -> None:
    """Answers each subscription with a snapshot, then with deltas; sees its client leave."""
    settings: Settings = socket.app.state.settings
    hub: Hub = socket.app.state.hub
    if not may_listen(socket.headers, settings.origins):
        await socket.close(1008, "this origin may not subscribe")
        return
    await socket.accept(subprotocol_of(socket))
    if hub.listeners >= settings.live_clients:
        await _close(socket, 1013, "too many listen here already; come again later")
        return

    async def send(message: Message) -> None:
        await socket.send_text(message.body.decode())

    client = Client(send, socket.app.state.queries)
    admission = Admission(socket, actor)
    listening = _listen(socket, client, admission)
    ended = await attend(hub, client, admission.while_let_in(listening))
    if admission.over:
        await _close(socket, 1008, "this token is not valid here, or no more")
    elif ended is Ended.SLOW:
        await _close(socket, 1013, "too slow: nothing was taken for five seconds")
    elif ended is Ended.NOISY:
        await _close(socket, 1008, "too many messages that are refused")
    elif ended is Ended.STOPPING:
        await _close(socket, 1012, "this server stops; connect again")


async def _listen(socket: WebSocket, client: Client, admission: Admission) -> None:
    clock: ShopClock = socket.app.state.clock
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        try:
            text = _text(message)
            if not await admission.show(text):
                wanted = _wanted(text, client)
                asked = _asked_live(wanted, clock)
                admission.check(wanted.shop)
                _begin(client, wanted, asked)
        except Refused as refused:
            client.refuse(refused)


def _text(message: Mapping[str, Any]) -> str | bytes:
    """Raises Refused."""
    text: str | bytes = message.get("text") or message.get("bytes") or b""
    if len(text) > MOST_FRAME_BYTES:
        raise Refused("", f"a frame may have {MOST_FRAME_BYTES} bytes")
    return text


def _wanted(text: str | bytes, client: Client) -> Subscribe:
    """What a frame asks for. Raises Refused."""
    wanted = parse(text)
    if _name(wanted) not in client.names and len(client.names) >= MOST_SUBSCRIPTIONS:
        raise Refused("subscribe", f"at most {MOST_SUBSCRIPTIONS} subscriptions a socket")
    return wanted


def _name(wanted: Subscribe) -> str:
    return wanted.id or wanted.subscribe


def _asked_live(wanted: Subscribe, clock: ShopClock) -> Subscription | Question:
    """What is pushed, or asked again and again. Raises Refused."""
    return question(wanted) if wanted.subscribe in QUERIES else Subscription(wanted, clock)


def _begin(client: Client, wanted: Subscribe, asked: Subscription | Question) -> None:
    """Raises Refused."""
    if isinstance(asked, Subscription):
        client.subscribe(asked, wanted.since)
    else:
        client.watch(_name(wanted), asked, wanted.since)


def snapshots(figures: Figures) -> Snapshots:
    """Where live queries are read."""

    @asynccontextmanager
    async def snapshot(group: str) -> AsyncIterator[Transaction]:
        try:
            async with figures.snapshot(group) as (transaction, _):
                yield transaction
        except Problem as problem:
            if problem.status >= 500:
                raise Away(problem.detail) from problem
            field = str(problem.errors[0]["field"]) if problem.errors else ""
            raise Refused(f"filter.{field}" if field else "filter", problem.detail) from None

    return snapshot


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    with suppress(RuntimeError, TimeoutError, OSError, WebSocketDisconnect):  # it may be gone
        await asyncio.wait_for(socket.close(code, reason), _GOODBYE_SECONDS)


# Server-sent events.


class LiveEvents(EventSourceResponse):
    """One subscription as an event stream: `snapshot`, then `delta`, each with its revision as id;
    a comment where nothing has changed for five seconds."""

    def __init__(
        self,
        hub: Hub,
        queries: Queries,
        wanted: Subscribe,
        asked: Subscription | Question,
        headers: Mapping[str, str],
        admission: Admission,
    ) -> None:
        super().__init__((), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self.headers.update(headers)
        self._hub = hub
        self._queries = queries
        self._wanted = wanted
        self._asked = asked
        self._admission = admission

    async def __call__(self, _scope: Scope, receive: Receive, send: SendEvent) -> None:
        async def write(body: bytes, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": more})

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await write(format_sse_event(retry=_RECONNECT_MILLISECONDS))
        client = Client(lambda message: write(event_bytes(message)), self._queries)
        try:
            _begin(client, self._wanted, self._asked)
        except Refused as refused:  # the last room was taken meanwhile
            client.refuse(refused)
        ended = await attend(self._hub, client, self._admission.while_let_in(gone()))
        if ended is Ended.SLOW:
            logger.warning("a client took no event for five seconds and is let go")
        with suppress(TimeoutError):
            await asyncio.wait_for(write(b"", more=False), _GOODBYE_SECONDS)


def event_bytes(message: Message) -> bytes:
    """A message as an event; a beat as a comment, which browsers do not see."""
    if message.kind == "beat":
        return format_sse_event(comment=f"beat {message.revision}")
    # A browser has events of its own that are called errors.
    kind = "refused" if message.kind == "error" else message.kind
    data = message.body.decode()
    return format_sse_event(event=kind, data_str=data, id=message.revision or None)


def _filters() -> list[dict[str, Any]]:
    """The documentation's list of what a feed can be filtered by."""
    metrics_by_field: dict[str, list[str]] = {}
    for metric, fields in sorted(METRICS.items()):
        for field in fields:
            metrics_by_field.setdefault(field, []).append(metric)
    for report in QUERIES.values():
        for field in parameters(report):
            told = metrics_by_field.setdefault(field, [])
            if _REPORTS not in told:
                told.append(_REPORTS)
    return [
        {
            "name": field,
            "in": "query",
            "description": f"filters {' and '.join(metrics)}; may be repeated",
            "schema": {"type": "array", "items": {"type": "string"}},
        }
        for field, metrics in sorted(metrics_by_field.items())
    ]


_REPORTS = "reports as in their own queries"


@router.get(
    "/v1/live/{metric}",
    operation_id="live_events",
    tags=["live"],
    # Not `response_class=EventSourceResponse`: FastAPI's own loop over a generator has neither a
    # deadline for a slow client nor an end when the server stops.
    response_class=Response,
    responses={200: {"content": {EventSourceResponse.media_type: {}}}},
    openapi_extra={"parameters": _filters()},
)
async def live_events(
    request: Request,
    actor: Annotated[Actor, Depends(access.FIGURES)],
    metric: Annotated[str, Path(json_schema_extra={"enum": names()})],
    since: Annotated[str | None, Query(description="a revision to resume from")] = None,
    last_event_id: Annotated[str | None, Header(description="the same, by browsers")] = None,
    shop: str = "main",  # noqa: ARG001  (read with the filters)
) -> Response:
    """The feed of one metric, or of any report, as server-sent events: a snapshot, then absolute
    values in order. A report is filtered as in its own query."""
    settings: Settings = request.app.state.settings
    if not may_listen(request.headers, settings.origins):
        raise Problem(403, "origin", "pages of this origin may not listen")
    hub: Hub = request.app.state.hub
    if hub.listeners >= settings.live_clients:
        said = "too many listen here already"
        raise Problem(503, "too_many_clients", said, headers={"Retry-After": "5"})
    wanted, asked = _asked(metric, request, last_event_id or since)
    queries: Queries = request.app.state.queries
    if isinstance(asked, Question) and not queries.has_room(asked):
        said = "too many different live queries are asked here already"
        raise Problem(503, "too_many_queries", said, headers={"Retry-After": "5"})
    origin = request.headers.get("origin")
    headers = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if origin else {}
    return LiveEvents(hub, queries, wanted, asked, headers, Admission(request, actor))


def _asked(
    metric: str, request: Request, since: str | None
) -> tuple[Subscribe, Subscription | Question]:
    """What a URL asks for. Raises Problem."""
    if metric not in names():
        raise Problem(
            404, "unknown_metric", f"no metric {metric!r}; there are {', '.join(names())}"
        )
    try:
        wanted = parse_query(metric, request.query_params.multi_items(), since)
        return wanted, _asked_live(wanted, request.app.state.clock)
    except Refused as refused:
        field = refused.field.removeprefix("filter.")
        errors = [{"field": field, "reason": refused.reason}]
        raise Problem(422, "invalid", f"{field}: {refused.reason}", errors) from None
