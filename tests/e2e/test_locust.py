"""Locust's users against the running service: they find nothing missing."""

import asyncio
import subprocess
import sys
from pathlib import Path

import loadtests
from tests.e2e.service import Service

LOCUSTFILE = Path(loadtests.__file__).with_name("locustfile.py")


def loaded(service: Service, results: Path) -> "subprocess.Popen[bytes]":
    """Twenty users for twelve seconds, as a process."""
    command = (
        *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--host", service.api),
        *("--headless", "-u", "20", "-r", "20", "-t", "12s", "--only-summary"),
        *("--csv", str(results / "load")),
    )
    return subprocess.Popen(
        command,
        env=dict(service.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


async def test_shoppers_and_dashboards_find_all_that_was_acknowledged(
    service: Service, tmp_path: Path
) -> None:
    process = loaded(service, tmp_path)
    async with asyncio.timeout(90):
        said, _ = await asyncio.to_thread(process.communicate)
    told = said.decode()
    assert process.returncode == 0, told
    assert "events acknowledged, each at a place of its own" in told
    measured = (tmp_path / "load_stats.csv").read_text()
    for name in ("OrderCompleted", "ProductViewed", "from POST to 202", "from POST to screen"):
        assert name in measured
