"""The services of all tests that do not kill parts of them."""

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


@pytest.fixture(scope="session")
async def learning(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """An API and a learner, for all tests that do not kill it; each has a shop of its own."""
    settings = settings_for(servers, tmp_path_factory.mktemp("learning"))
    async with running(settings, workers=0) as found:
        await found.learns(found.start_learner())
        yield found


@pytest.fixture
def tag() -> str:
    """Something that no other test has in its ids."""
    return uuid4().hex[:8]
