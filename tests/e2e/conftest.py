"""One service for all tests that do not kill parts of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from app.settings import Servers
from tests.conftest import settings_for
from tests.e2e.service import Service, running


@pytest.fixture(scope="session")
async def service(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """The API and one worker, for the whole run; a test takes a shop's worth of ids of its own."""
    home: Path = tmp_path_factory.mktemp("service")
    async with running(settings_for(servers, home)) as found:
        yield found


@pytest.fixture
def tag() -> str:
    """Something that no other test has in its ids."""
    return uuid4().hex[:8]
