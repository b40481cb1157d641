"""What the tests share: the real servers, started once, and names of its own for every test."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from app.settings import Servers, Settings
from app.stack.up import servers as embedded


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In several processes (`-n 2 --dist loadgroup`), all that needs servers stays in one of them:
    so they are started once, and what needs none is done beside it."""
    for item in items:
        folder, *_, file = item.path.relative_to(Path(__file__).parent).parts
        item.add_marker(pytest.mark.xdist_group(file if folder == "unit" else "servers"))


@pytest.fixture(scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """The embedded Kafka, Postgres and Redis, for the whole run."""
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
