"""Locust users against a running Tillstream: shoppers who buy, dashboards that watch.

    locust -f loadtests/locustfile.py --headless -u 50 -r 10 -t 5m --html report.html

Without `--host` it is the API that is up in TILLSTREAM_HOME. When the test stops, every
acknowledged event is looked for in the figures: the exit code is 1 if any is missing. Of several
processes each looks for its own, and says so in its own output and exit code.
Locust brings gevent, which patches the standard library: nothing but locust imports this file.
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from itertools import takewhile
from random import Random
from typing import Any
from uuid import uuid4

import requests
from locust import FastHttpUser, User, between, constant, events, task
from locust.env import Environment
from websocket import (
    WebSocket,
    WebSocketException,
    WebSocketTimeoutException,
    create_connection,
)

from app.settings import Settings, SettingsError
from app.target import target
from loadtests import accounting
from loadtests.accounting import Ledger
from loadtests.simulator.shop import catalogue, population
from loadtests.simulator.visits import Happening, visit

RUN = uuid4().hex[:8]
_ON_SCREEN_SECONDS = 10.0
_BROWSING = 0.6

_rng = Random(RUN)
# Categories of its own tell this run's orders from all others.
PRODUCTS = [one._replace(category=f"{one.category}-{RUN}") for one in catalogue(_rng)]
SHOPPERS = population(_rng)
MARKED = f"marked-{RUN}"
CATEGORIES = sorted({one.category for one in PRODUCTS} | {MARKED})

ledger = Ledger()
_settings = Settings()
_key = next(iter(_settings.write_keys))
_headers = {"Authorization": f"Bearer {_key}"}


@events.init.add_listener  # type: ignore[untyped-decorator]
def find_the_api(environment: Environment, **_: Any) -> None:
    """The host, where none was told."""
    if environment.host is None:
        try:
            environment.host = target(_settings).api
        except SettingsError as error:
            raise SystemExit(f"{error}; or say --host URL") from error


class Shopper(FastHttpUser):
    """Looks, fills a cart, checks out, and sometimes buys, one event a request."""

    weight = 9
    wait_time = between(0.5, 2)

    @task
    def visits(self) -> None:
        name = f"{RUN}-{uuid4().hex[:12]}"
        steps = visit(_rng, PRODUCTS, _rng.choice(SHOPPERS), name)
        if _rng.random() < _BROWSING:
            steps = takewhile(lambda step: step["type"] == "ProductViewed", steps)
        for step in steps:
            self._send(step)
            time.sleep(_rng.uniform(0.05, 0.5))

    def _send(self, event: Happening) -> None:
        ledger.sending(event)
        with self.client.post(
            "/v1/events",
            json=event,
            headers=_headers,
            name=f"/v1/events {event['type']}",
            catch_response=True,
        ) as answer:
            if answer.status_code == 202:
                ledger.acknowledged(event, json.loads(answer.content)["position"])
                answer.success()
            else:
                answer.failure(f"{answer.status_code}: {answer.text}")


class LiveDashboard(User):
    """Watches a product of its own, sells it, and measures how long that takes to its screen."""

    weight = 1
    wait_time = constant(1)

    def on_start(self) -> None:
        self.http = requests.Session()
        self.socket: WebSocket | None = None
        self._begin()

    def on_stop(self) -> None:
        self._leave()
        self.http.close()

    def _begin(self) -> None:
        """Another product, of which nothing was sold: also after an error, for an order that nobody
        answered for may be on the screen or not, and would be taken for the next one."""
        self._leave()
        self.product = f"{MARKED}-{uuid4().hex[:8]}"
        self.sent = self.acknowledged = 0
        self.screen: dict[str, int] = {}

    def _leave(self) -> None:
        socket, self.socket = self.socket, None
        if socket is not None:
            with suppress(WebSocketException, OSError):  # it may be what has failed
                socket.close()

    def _subscribe(self) -> WebSocket:
        if self.socket is None:
            address = f"{self.host}/v1/live".replace("http", "ws", 1)
            self.socket = create_connection(address, timeout=_ON_SCREEN_SECONDS)
            wanted = {"dimension": "product", "key": self.product}
            self.socket.send(json.dumps({"subscribe": "revenue", "filter": wanted}))
            self._show(self.socket, "snapshot")
        return self.socket

    def _show(self, socket: WebSocket, *kinds: str) -> None:
        """Takes the next message of these kinds to the screen. Raises WebSocketException."""
        end = time.monotonic() + _ON_SCREEN_SECONDS
        while time.monotonic() < end:
            message = json.loads(socket.recv())
            if message["type"] in kinds:
                for figure in message["figures"]:  # one for each hour
                    self.screen[figure["value"]["hour"]] = figure["value"]["orders"]
                return
        raise WebSocketTimeoutException(f"no {kinds[0]} in {_ON_SCREEN_SECONDS:g} s")

    @task
    def sells_and_sees_it(self) -> None:
        begun = time.perf_counter()
        try:
            self._sell()
        except (requests.RequestException, WebSocketException, OSError) as error:
            self._note("from POST to screen", time.perf_counter() - begun, error)
            self._begin()

    def _sell(self) -> None:
        """Raises RequestException, WebSocketException, OSError."""
        socket, begun = self._subscribe(), time.perf_counter()
        self.sent += 1
        order = self._order()
        ledger.sending(order)
        answer = self.http.post(
            f"{self.host}/v1/events", json=order, headers=_headers, timeout=_ON_SCREEN_SECONDS
        )
        answer.raise_for_status()
        ledger.acknowledged(order, answer.json()["position"])
        self.acknowledged += 1
        self._note("from POST to 202", time.perf_counter() - begun)
        while sum(self.screen.values()) < self.acknowledged:
            self._show(socket, "delta", "snapshot")
        self._note("from POST to screen", time.perf_counter() - begun)

    def _order(self) -> Happening:
        line = {"product_id": self.product, "category": MARKED, "price": "1.00", "quantity": 1}
        order_id = f"{self.product}-{self.sent}"
        data = {"order_id": order_id, "currency": "EUR", "country": "DE", "products": [line]}
        return {"type": "OrderCompleted", "subject": order_id, "data": data}

    def _note(self, name: str, seconds: float, error: Exception | None = None) -> None:
        self.environment.events.request.fire(
            request_type="LIVE",
            name=name,
            response_time=seconds * 1000,
            response_length=0,
            exception=error,
            context={},
        )


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
def check_what_was_promised(environment: Environment, **_: Any) -> None:
    """Every event that was acknowledged to this process must be in the figures."""
    if not ledger.last:
        return
    session = requests.Session()

    def ask(path: str, parameters: Mapping[str, Any]) -> tuple[int, Any]:
        address = f"{environment.host}{path}"
        answer = session.get(address, params={"shop": _shop, **parameters}, timeout=60)
        return answer.status_code, answer.json()

    missing = accounting.check(ledger, ask, CATEGORIES)
    print(accounting.report(ledger, missing))
    if missing:
        environment.process_exit_code = 1


_shop = _settings.write_keys[_key]
