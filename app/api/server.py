"""The API's composition: what it opens when it starts, its routes, its documentation."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import structlog
import uvicorn
from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline
from redis.asyncio import Redis

from app import logs
from app.api import (
    access,
    auth,
    carts,
    categories,
    coupons,
    documentation,
    forecasts,
    images,
    ingest,
    live,
    orders,
    page,
    payments,
    problems,
    products,
    quarantine,
    rates,
    reviews,
    sales,
    status,
    stock,
    users,
)
from app.api.bodies import ROOM_BYTES, Bodies
from app.api.completeness import Figures
from app.api.counted import Counted
from app.api.door import Door
from app.api.limits import Rates, Room
from app.api.watch import Watch
from app.commands.execute import LIMITS, Commands
from app.identity.login import LogIns, limits
from app.identity.passwords import Passwords
from app.identity.sessions import Sessions
from app.identity.tokens import Tokens
from app.learner.client import LearnerClient, name_of
from app.live.hub import Hub
from app.own_key import own_key
from app.payments.opened import provider_of
from app.queries.accounts import People
from app.settings import Settings
from app.vault import Vault
from projections.clock import ShopClock
from projections.live import LiveFigures
from projections.postgres import connect, migrate, sessions_of_api
from streams.events import schemas
from streams.log import Log

logger = structlog.get_logger()


def create_app(settings: Settings) -> FastAPI:
    """The API over the servers that the settings name."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        servers = settings.servers
        await migrate(servers.postgres, settings.schema_name)
        name = sessions_of_api(settings.schema_name)
        pool = await connect(servers.postgres, settings.schema_name, size=10, name=name)
        redis = Redis.from_url(servers.redis)
        log = Log(servers.kafka, settings.partitions, settings.prefix)
        await log.start()
        figures = LiveFigures(redis, settings.prefix, {})
        app.state.settings = settings
        app.state.clock = ShopClock(settings.timezone)
        app.state.log = log
        vault = Vault(pool)
        app.state.intake = ingest.Intake(
            log,
            vault,
            settings.write_keys,
            settings.currency,
            Room(settings.intake_bytes),
            Rates(settings.events_per_second),
        )
        command_pool = await connect(
            servers.postgres, settings.schema_name, size=10, name=name, limits=LIMITS
        )
        app.state.commands = Commands(command_pool, vault)
        app.state.provider = provider_of(settings)
        app.state.images = images.Images(settings.images, settings.home)
        app.state.tokens = Tokens(own_key(settings.token_key, settings.home / "token.key"))
        app.state.sessions = Sessions(pool)
        app.state.people = People(pool)
        passwords = Passwords()
        allowed = limits(
            settings.logins_per_account,
            settings.logins_per_address,
            settings.registrations_per_address,
        )
        app.state.log_ins = LogIns(pool, passwords, app.state.sessions, allowed)
        app.state.quarantine = quarantine.Quarantine(pool, app.state.intake, vault)
        app.state.figures = Figures(pool, settings.partitions)
        app.state.page = page.Page(settings)
        app.state.hub = Hub(redis, figures, app.state.clock)
        app.state.learner = LearnerClient(pool, name_of(settings))
        app.state.pool = pool
        app.state.watch = Watch(settings, pool, redis, app.state.learner)
        hub = asyncio.create_task(app.state.hub.run())
        watch = asyncio.create_task(app.state.watch.run())
        try:
            yield
        finally:
            hub.cancel()
            watch.cancel()
            passwords.close()
            await app.state.page.close()
            await asyncio.gather(hub, watch, return_exceptions=True)
            await app.state.watch.close()
            await log.stop()
            await app.state.learner.close()
            if app.state.provider:
                await app.state.provider.close()
            await redis.aclose()
            await asyncio.wait_for(asyncio.gather(pool.close(), command_pool.close()), 5)

    app = FastAPIOffline(
        docs_url="/docs",
        redoc_url=None,
        title="Tillstream",
        version=version("tillstream"),
        summary="Your shop, live: events in, exact figures out.",
        lifespan=lifespan,
        swagger_ui_parameters={"tryItOutEnabled": True},
    )
    problems.install(app)
    app.add_middleware(Bodies, room=Room(ROOM_BYTES))
    for part in (
        *(ingest, quarantine, sales, forecasts, live, status, page, documentation),
        *(auth, users),
        *(categories, products, images, stock, reviews),
        *(coupons, rates, carts, orders),
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
