"""A bare FastAPI route that inserts one row by asyncpg: the least that a command could be.

`python -m loadtests.contenders.insert` with MINIMAL_POSTGRES, _SCHEMA and _PORT. It checks nothing,
knows nobody, locks nothing and tells nobody.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import uvicorn
from fastapi import FastAPI, Request, Response

from loadtests.contenders.minimal import setting


def api() -> FastAPI:
    """One route."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        schema = setting("SCHEMA")
        pool = await asyncpg.create_pool(
            setting("POSTGRES"), max_size=10, server_settings={"search_path": schema}
        )
        await pool.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        await pool.execute("CREATE TABLE rows (id uuid PRIMARY KEY, body jsonb NOT NULL)")
        app.state.pool = pool
        yield
        await pool.close()

    app = FastAPI(lifespan=lifespan)

    @app.post("/rows")
    async def rows(request: Request) -> Response:
        body = (await request.body()).decode()
        await app.state.pool.execute("INSERT INTO rows VALUES ($1, $2)", uuid4(), body)
        return Response(b"{}", 201)

    @app.get("/health/ready")
    async def ready() -> dict[str, str]:
        return {}

    return app


if __name__ == "__main__":
    uvicorn.run(api(), port=int(setting("PORT")), loop="uvloop", log_level="warning")
