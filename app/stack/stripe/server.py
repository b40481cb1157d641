"""The stand-in's doors: Stripe's routes, keys, idempotency and headers, and one door of its own.

`PUT /stand-in/mischief` says what is to go wrong with webhooks and answers; `GET` says what is.
`POST /stand-in/authenticate/{id}` is the shopper's bank, for intents that require action.
"""

import asyncio
import base64
import json
import secrets
import string
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request as Asked
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.stack.stripe import asked, forms
from app.stack.stripe.account import API_VERSION, Account, Request
from app.stack.stripe.deliveries import Deliveries, Mischief
from app.stack.stripe.errors import StripeError
from app.stack.stripe.store import Kept, Object, Store

PUBLISHABLE_KEY = "pk_test_tillstream"
"""What a shopper's browser shows: it can pay an intent whose client secret it has, nothing else."""

KEPT_SECONDS = 24 * 3600.0
_LONGEST_KEY = 255
_LETTERS = string.ascii_letters + string.digits


class Keys(NamedTuple):
    """Who may ask: the shop by `secret`; `webhook` signs what is sent to `forward_to`."""

    secret: str
    webhook: str
    forward_to: str | None = None


Operation = Callable[[Account, Mapping[str, str], Mapping[str, Any]], Object]


class Way(NamedTuple):
    """A route: what it does, and whether a browser may ask for it with an intent's secret."""

    method: str
    path: str
    operation: Operation
    public: bool = False


WAYS = (
    Way(
        "POST",
        "/v1/payment_intents",
        lambda a, _, q: a.create_intent(asked.read(asked.NewIntent, q)),
    ),
    Way(
        "GET",
        "/v1/payment_intents",
        lambda a, _, q: a.list(
            "payment_intent", "/v1/payment_intents", asked.read(asked.Listed, q)
        ),
    ),
    Way(
        "GET",
        "/v1/payment_intents/{id}",
        lambda a, p, q: a.intent(p["id"], asked.read(asked.RetrievedIntent, q).client_secret),
        public=True,
    ),
    Way(
        "POST",
        "/v1/payment_intents/{id}",
        lambda a, p, q: a.change_intent(p["id"], asked.read(asked.ChangedIntent, q)),
    ),
    Way(
        "POST",
        "/v1/payment_intents/{id}/confirm",
        lambda a, p, q: a.confirm_intent(p["id"], asked.read(asked.Confirm, q)),
        public=True,
    ),
    Way(
        "POST",
        "/v1/payment_intents/{id}/cancel",
        lambda a, p, q: a.cancel_intent(p["id"], asked.read(asked.Cancel, q)),
    ),
    Way("POST", "/v1/refunds", lambda a, _, q: a.create_refund(asked.read(asked.NewRefund, q))),
    Way(
        "GET",
        "/v1/refunds",
        lambda a, _, q: a.list("refund", "/v1/refunds", asked.read(asked.ListedRefunds, q)),
    ),
    Way("GET", "/v1/refunds/{id}", lambda a, p, _: a.get("refund", p["id"])),
    Way("GET", "/v1/charges/{id}", lambda a, p, _: a.get("charge", p["id"])),
    Way("GET", "/v1/payment_methods/{id}", lambda a, p, _: a.get("payment_method", p["id"])),
    Way(
        "GET",
        "/v1/events",
        lambda a, _, q: a.list("event", "/v1/events", asked.read(asked.ListedEvents, q)),
    ),
    Way("GET", "/v1/events/{id}", lambda a, p, _: a.get("event", p["id"])),
    Way(
        "POST",
        "/v1/webhook_endpoints",
        lambda a, _, q: a.create_endpoint(asked.read(asked.NewEndpoint, q)),
    ),
    Way(
        "DELETE",
        "/v1/webhook_endpoints/{id}",
        lambda a, p, _: a.delete_endpoint(p["id"]),
    ),
)


def new_id() -> str:
    """What follows an id's prefix."""
    return "".join(secrets.choice(_LETTERS) for _ in range(23))


class StandIn:
    """The stand-in as an ASGI app, over the state in a file; in memory alone without one."""

    def __init__(self, keys: Keys, file: Path | None, now: Callable[[], float] = time.time) -> None:
        self.store = Store(file)
        self.account = Account(self.store, now, new_id)
        self.deliveries = Deliveries(self.store, self.account, now)
        self._keys = keys
        self._now = now
        self._forward()
        routes = [Route(way.path, self._endpoint(way), methods=[way.method]) for way in WAYS]
        own = [
            Route("/health", _healthy),
            Route("/stand-in/mischief", self._mischief, methods=["GET", "PUT"]),
            Route("/stand-in/authenticate/{id}", self._authenticate, methods=["POST"]),
        ]
        other = Route("/{path:path}", self._unknown, methods=["GET", "POST", "DELETE", "PUT"])
        self.app = Starlette(routes=[*routes, *own, other], lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        sending = asyncio.create_task(self.deliveries.run())
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            self.store.close()

    def _forward(self) -> None:
        """Webhooks go where they are to go now, wherever they went the last time."""
        with self.store.transaction():
            self.store.delete(_FORWARDED)
            if self._keys.forward_to:
                endpoint = self.account.create_endpoint(
                    asked.NewEndpoint(url=self._keys.forward_to, enabled_events=["*"])
                )
                self.store.delete(endpoint["id"])
                self.store.put({**endpoint, "id": _FORWARDED, "secret": self._keys.webhook})

    def _endpoint(self, way: Way) -> Callable[[Asked], Any]:
        async def endpoint(request: Asked) -> Response:
            id = f"req_{new_id()}"  # noqa: A001
            headers = {"Request-Id": id, "Stripe-Version": API_VERSION}
            try:
                body = (await request.body()).decode(errors="replace")
                told = body if request.method == "POST" else request.url.query
                params = forms.nested(told)
                self._authorize(request, way, params)
                key = request.headers.get("idempotency-key")
                status, answer = self._answer(way, request, params, Request(id, key), headers)
            except StripeError as error:
                status, answer = error.status, json.dumps(error.body, indent=2)
            self.deliveries.wake()
            mischief = self.deliveries.mischief
            if mischief.lost_answers and request.method == "POST":
                mischief.lost_answers -= 1
                return Response("<html>Bad Gateway</html>", 502, media_type="text/html")
            return Response(answer, status, headers, "application/json")

        return endpoint

    def _authorize(self, request: Asked, way: Way, params: Mapping[str, Any]) -> None:
        """Raises StripeError."""
        scheme, _, told = request.headers.get("authorization", "").partition(" ")
        key = told.strip()
        if scheme.lower() == "basic":
            try:
                key = base64.b64decode(key).decode().partition(":")[0]
            except ValueError:
                key = ""
        if not key:
            raise StripeError(
                401,
                "You did not provide an API key. You need to provide your API key in the "
                "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer "
                "YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for details.",
            )
        if secrets.compare_digest(key.encode(), self._keys.secret.encode()):
            return
        if key != PUBLISHABLE_KEY:
            raise StripeError(401, f"Invalid API Key provided: {key[:8]}****{key[-4:]}")
        if not (way.public and params.get("client_secret")):
            raise StripeError(
                401,
                "This API call cannot be made with a publishable API key. Please use a secret API "
                "key. You can find a list of your API keys at "
                "https://dashboard.stripe.com/account/apikeys.",
                code="secret_key_required",
            )

    def _answer(
        self,
        way: Way,
        request: Asked,
        params: Mapping[str, Any],
        by: Request,
        headers: dict[str, str],
    ) -> tuple[int, str]:
        """The answer, the same under the same key. Raises StripeError."""
        key = by.key if request.method == "POST" else None
        if key is not None and not 0 < len(key) <= _LONGEST_KEY:
            raise StripeError(400, f"Idempotency keys are of 1 to {_LONGEST_KEY} characters.")
        sent = json.dumps(params, sort_keys=True)
        with self.store.transaction():
            self.store.forget_answers(self._now() - KEPT_SECONDS)
            if key is not None:
                headers["Idempotency-Key"] = key
                if before := self.store.kept(key):
                    _check_same(before, request.url.path, sent, key)
                    headers |= {"Idempotent-Replayed": "true", "Original-Request": before.request}
                    return before.status, before.body
            self.account.request = by
            try:
                done = way.operation(self.account, request.path_params, params)
            except StripeError as error:
                if not error.kept:
                    raise
                status, answer = error.status, json.dumps(error.body, indent=2)
            else:
                status, answer = 200, json.dumps(done, indent=2)
            if key is not None:
                assert by.id is not None
                kept = Kept(request.url.path, sent, status, answer, by.id, self._now())
                self.store.keep(key, kept)
            return status, answer

    async def _mischief(self, request: Asked) -> Response:
        if request.method == "PUT":
            try:
                self.deliveries.mischief = Mischief.model_validate_json(await request.body())
            except ValidationError as error:
                return Response(error.json(), 422, media_type="application/json")
            self.deliveries.wake()
        return JSONResponse(self.deliveries.mischief.model_dump())

    async def _authenticate(self, request: Asked) -> Response:
        succeeds = request.query_params.get("succeeds", "true") == "true"
        try:
            with self.store.transaction():
                self.account.request = Request(None, None)
                done = self.account.authenticate(request.path_params["id"], succeeds=succeeds)
        except StripeError as error:
            return JSONResponse(error.body, error.status)
        self.deliveries.wake()
        return JSONResponse(done)

    async def _unknown(self, request: Asked) -> Response:
        error = StripeError(
            404,
            f"Unrecognized request URL ({request.method}: {request.url.path}). Please see "
            "https://stripe.com/docs or we can help at https://support.stripe.com/.",
        )
        return JSONResponse(error.body, 404)


_FORWARDED = "we_forwarded"


async def _healthy(_: Asked) -> Response:
    return JSONResponse({"status": "ok"})


def _check_same(before: Kept, path: str, params: str, key: str) -> None:
    """Raises StripeError where a key comes with another request than the first time."""
    if before.endpoint != path:
        raise StripeError(
            400,
            "Keys for idempotent requests can only be used for the same endpoint they were first "
            f"used for ('{before.endpoint}' instead of '{path}'). Try using a key other than "
            f"'{key}' if you meant to execute a different request.",
            type="idempotency_error",
        )
    if before.params != params:
        raise StripeError(
            400,
            "Keys for idempotent requests can only be used with the same parameters they were "
            f"first used with. Try using a key other than '{key}' if you meant to execute a "
            "different request.",
            type="idempotency_error",
        )
