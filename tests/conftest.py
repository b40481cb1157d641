"""What the tests share: the real servers, started once, and names of its own for every test."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import hypothesis
import pytest

from app.settings import Servers, Settings
from app.stack.up import servers as embedded

# How long an example takes says something of the machine, and nothing of what is right.
hypothesis.settings.register_profile("tillstream", deadline=None)
hypothesis.settings.load_profile("tillstream")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Names what fails as it fails: of a run that is cut off, nothing else would be heard."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        reason = str(report.longrepr).strip().splitlines()[-1:]
        sys.stderr.write(f"\n{report.nodeid} failed in {report.duration:.0f} s: {reason}\n")


@pytest.fixture(scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """The embedded Kafka, Postgres and Redis, for the whole run; of several processes each has its
    own."""
    async with embedded(tmp_path_factory.mktemp("home")) as found:
        yield found


def settings_for(servers: Servers, home: Path) -> Settings:
    """Settings with topics, groups, keys and a schema that nobody else has."""
    name = uuid4().hex[:12]
    return Settings(
        home=home,
        kafka=servers.kafka,
        postgres=servers.postgres,
        redis=servers.redis,
        prefix=f"t{name}-",
        schema_name=f"t{name}",
    )


@pytest.fixture
def settings(servers: Servers, tmp_path: Path) -> Settings:
    """Settings of a test's own."""
    return settings_for(servers, tmp_path)


@pytest.fixture(scope="session")
def data() -> Path:
    """The real data sets, which stand beside the checkout and are never part of it."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        assert not os.environ.get("CI"), f"no real data at {folder}, and CI must not skip"
        pytest.skip(f"no real data at {folder}")
    return folder
