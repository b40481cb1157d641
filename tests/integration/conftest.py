"""What most of these tests are run on: a schema and topics of the test's own."""

from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from app.settings import Settings
from projections.postgres import connect, migrate
from streams.log import Log
from streams.topics import create_topics


@pytest.fixture
def partitions() -> int:
    """How many each topic has."""
    return 2


@pytest.fixture
def topics() -> Sequence[str]:
    """Those that there are."""
    return ("orders",)


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """Connections that see the migrated schema."""
    await migrate(settings.servers.postgres, settings.schema_name)
    found = await connect(settings.servers.postgres, settings.schema_name)
    yield found
    found.terminate()


@pytest.fixture
async def log(settings: Settings, partitions: int, topics: Sequence[str]) -> AsyncIterator[Log]:
    """The topics, and who appends to them."""
    kafka = settings.servers.kafka
    await create_topics(kafka, partitions, settings.prefix, topics=topics)
    found = Log(kafka, partitions, settings.prefix, deadline=20)
    await found.start()
    await found.connected()
    yield found
    await found.stop()
