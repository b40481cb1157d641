"""The API's composition: what it opens when it starts, its routes, its documentation."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from redis.asyncio import Redis

from app.api import forecasts, ingest, live, problems, sales
from app.api.completeness import Figures
from app.learner.client import LearnerClient, name_of
from app.settings import Settings
from app.vault import Vault
from projections.clock import ShopClock
from projections.live import LiveFigures
from projections.postgres import connect, migrate
from streams.events import schemas
from streams.log import Log

logger = structlog.get_logger()


def create_app(settings: Settings) -> FastAPI:
    """The API over the servers that the settings name."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        servers = settings.servers
        await migrate(servers.postgres, settings.schema_name)
        pool = await connect(servers.postgres, settings.schema_name, size=10)
        redis = Redis.from_url(servers.redis)
        log = Log(servers.kafka, settings.partitions, settings.prefix)
        await log.start()
        figures = LiveFigures(redis, settings.prefix, {})
        app.state.settings = settings
        app.state.clock = ShopClock(settings.timezone)
        app.state.log = log
        app.state.intake = ingest.Intake(log, Vault(pool), settings.write_keys, settings.currency)
        app.state.figures = Figures(pool)
        app.state.hub = live.Hub(redis, figures, app.state.clock)
        app.state.learner = LearnerClient(pool, name_of(settings))
        hub = asyncio.create_task(app.state.hub.run())
        try:
            yield
        finally:
            hub.cancel()
            await asyncio.gather(hub, return_exceptions=True)
            await log.stop()
            await app.state.learner.close()
            await redis.aclose()
            await asyncio.wait_for(pool.close(), 5)

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
    for part in (ingest, sales, forecasts, live):
        app.include_router(part.router)

    @app.get("/v1/schemas", operation_id="schemas_list", tags=["events"])
    async def schemas_list() -> dict[str, Any]:
        """The JSON Schema of every event's `data`, by type. `x-personal` fields are encrypted."""
        return schemas()

    @app.get("/health/live", operation_id="health_live", tags=["health"])
    async def health_live() -> dict[str, str]:
        """Answers while the process does."""
        return {"status": "ok"}

    @app.get("/health/ready", operation_id="health_ready", tags=["health"])
    async def health_ready() -> dict[str, str]:
        """Answers once events are accepted and figures can be read."""
        async with app.state.figures.snapshot("sales"):
            pass
        if not app.state.log.ready:
            raise problems.Problem(503, "log_unavailable", "Kafka is not reachable yet")
        return {"status": "ok"}

    describe_write_key(app)
    return app


def describe_write_key(app: FastAPI) -> None:
    """Tells the documentation how a write key is sent; the route itself reads the header."""
    schema = app.openapi()
    schema.setdefault("components", {})["securitySchemes"] = {
        "writeKey": {"type": "http", "scheme": "bearer", "description": "a write key"}
    }
