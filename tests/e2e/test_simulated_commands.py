"""A simulated shop that sells at its own till and tells of other sales: one set of figures."""

import asyncio

from app.settings import Settings
from tests.e2e.service import run_cli, running


async def test_what_is_sold_by_command_and_what_is_told_are_booked_and_shown_alike(
    settings: Settings,
) -> None:
    async with asyncio.timeout(400), running(settings) as service:
        shopping = run_cli(
            *("simulate", "--through", "both", "--limit", "500", "--rate", "max", "--verify"),
            *("--api", service.api),
            environment={**service.environment, "COLUMNS": "200"},
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await asyncio.to_thread(shopping.communicate)
    assert shopping.returncode == 0, said.decode()
    assert "commands answered" in said.decode(), said.decode()
