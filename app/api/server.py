"""The API's composition: what it opens when it starts, its routes, its documentation."""

import gc
import socket
from functools import partial
from importlib.metadata import version
from typing import Any

import structlog
import uvicorn
from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline

from app import logs
from app.api import (
    access,
    anomalies,
    as_of,
    auth,
    calendar,
    carts,
    categories,
    coupons,
    currency_rates,
    customer_forecasts,
    customers,
    demand_forecasts,
    documentation,
    erasure,
    experiments,
    exports,
    forecasts,
    images,
    imports,
    ingest,
    jobs,
    live,
    month_forecasts,
    orders,
    page,
    payments,
    problems,
    products,
    quarantine,
    rates,
    recommendations,
    records,
    reports,
    reviews,
    sales,
    sentiment,
    status,
    stock,
    stock_out_forecasts,
    training,
    users,
)
from app.api.bodies import ROOM_BYTES, Bodies
from app.api.counted import Counted
from app.api.door import Door
from app.api.lifespan import lifespan
from app.api.limits import Room
from app.settings import Settings
from streams.events import schemas

logger = structlog.get_logger()


def create_app(settings: Settings) -> FastAPI:
    """The API over the servers that the settings name."""

    app = FastAPIOffline(
        docs_url="/docs",
        redoc_url=None,
        title="Tillstream",
        version=version("tillstream"),
        summary="Your shop, live: events in, exact figures out.",
        lifespan=partial(lifespan, settings=settings),
        swagger_ui_parameters={"tryItOutEnabled": True},
    )
    problems.install(app)
    as_of.install(app)
    app.add_middleware(Bodies, room=Room(ROOM_BYTES))
    # In this order a path is looked for among two hundred: what has to be quick comes early.
    for part in (
        *(ingest, recommendations, carts, orders, products, sales, reports, live),
        *(quarantine, records, exports, jobs, forecasts, training),
        *(month_forecasts, demand_forecasts, stock_out_forecasts, anomalies, sentiment),
        *(customer_forecasts, status, page, documentation, imports, auth, users),
        *(categories, images, stock, reviews, coupons, rates, currency_rates, calendar),
        *(experiments, customers, erasure),
    ):
        app.include_router(part.router)

    @app.get(
        "/v1/schemas",
        operation_id="schemas_list",
        tags=["events"],
        dependencies=[Depends(access.PUBLIC)],
    )
    async def schemas_list() -> dict[str, Any]:
        """The JSON Schema of every event's `data`, by type. `x-personal` fields are encrypted."""
        return schemas()

    app.include_router(payments.router)
    access.describe(app, settings)
    documentation.describe_problems(app)
    return app


DEAD_SECONDS = 20
"""How long a peer may leave what it was sent unacknowledged, or its window shut."""


KEPT_SECONDS = 75
"""How long a connection is kept that nobody uses: longer than clients keep theirs, which is five to
fifteen seconds mostly. Whoever closes first may close on a request that is under way."""


class Server(uvicorn.Server):
    """Lets the listeners of live feeds go first, for they would never end by themselves."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.hub.stopping.set()
        await super().shutdown(sockets)


def serve(settings: Settings, port: int) -> None:
    """Runs the API until a signal ends it."""
    logs.configure(settings.log)
    app = create_app(settings)
    # What is loaded by now stays: to look through it again and again is a twentieth of the time.
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    config = uvicorn.Config(
        Counted(Door(app)),
        host=settings.api_host,
        port=port,
        loop="uvloop",
        http="httptools",
        # Log-ins are counted by where they come from.
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=settings.proxies,
        log_level="warning",
        log_config=None,
        ws_per_message_deflate=False,
        ws_max_size=live.MOST_FRAME_BYTES,
        timeout_graceful_shutdown=3,
        timeout_keep_alive=KEPT_SECONDS,
    )
    Server(config, app).run(sockets=[listening(config)])


def listening(config: uvicorn.Config) -> socket.socket:
    """The socket to accept on. Whoever takes nothing is cut off by the kernel, if we have let go of
    it or not: what waits for such a peer would otherwise be held for ever."""
    found = config.bind_socket()
    # Accepted sockets inherit both. Event loops other than uvloop leave the first to whoever binds,
    # at the price of 40 ms an answer.
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_SECONDS * 1000)
    return found
