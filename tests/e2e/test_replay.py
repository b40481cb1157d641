"""Ten months of a real shop, through the log: exact to the last digit, whatever happens."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from tests.e2e.service import Service, run_cli, running
from tests.e2e.test_sales import ask

NAME = "online_retail_2010-12_2011-09"
ALL = {"currency": "GBP", "from": "2010-12-01", "to": "2011-09-30"}


@pytest.fixture(scope="session")
def facts(data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data / f"{NAME}.facts.json").read_text())
    return found


def replaying(service: Service, data: Path) -> subprocess.Popen[bytes]:
    file = str(data / f"{NAME}.csv.gz")
    return run_cli(  # type: ignore[no-any-return]
        *("replay", "--format", "online-retail", file, "--speed", "max"),
        environment=service.environment,
        stderr=subprocess.PIPE,
    )


async def replayed(process: subprocess.Popen[bytes]) -> str:
    """Until the replay has returned; what it said."""
    async with asyncio.timeout(240):
        _, said = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0, said.decode()
    return said.decode()


async def figures(service: Service) -> dict[str, Any]:
    """All that the facts file knows, as the API gives it."""
    (total,) = (await ask(service, "/v1/sales/revenue", grain="total", **ALL))["rows"]
    months = (await ask(service, "/v1/sales/revenue", grain="month", **ALL))["rows"]
    countries = (await ask(service, "/v1/sales/revenue", grain="total", by="country", **ALL))[
        "rows"
    ]
    by_units = (await ask(service, "/v1/sales/top-products", by="units", limit=5, **ALL))["rows"]
    by_gross = (await ask(service, "/v1/sales/top-products", by="gross", limit=5, **ALL))["rows"]
    return {
        "gross": total["gross"],
        "refunds": total["refunds"],
        "net_of_refunds": total["net"],
        "bad_debt_adjustments_negative_price_lines": total["adjustments"],
        "positive_revenue_by_month": {row["month"]: row["gross"] for row in months},
        "top5_countries_by_positive_revenue": [
            [row["country"], row["gross"]] for row in countries[:5]
        ],
        "top5_products_by_positive_units": [[row["product"], row["units"]] for row in by_units],
        "top5_products_by_positive_revenue": [[row["product"], row["gross"]] for row in by_gross],
    }


def expected(facts: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in like}


async def test_ten_months_are_exact_and_a_second_replay_changes_nothing(
    settings: Settings, data: Path, facts: dict[str, Any]
) -> None:
    async with running(settings) as service:
        said = await replayed(replaying(service, data))
        assert "370,931" in said
        found = await figures(service)
        assert found == expected(facts, found)
        everything = await ask(service, "/v1/sales/revenue", grain="hour", by="product", **ALL)
        await replayed(replaying(service, data))
        again = await ask(service, "/v1/sales/revenue", grain="hour", by="product", **ALL)
    assert again["rows"] == everything["rows"]
    offsets = (
        sum(answer["complete_to"]["next_offsets"]["orders"]) for answer in (everything, again)
    )
    assert 2 * next(offsets) == next(offsets)


async def test_two_workers_of_which_one_is_killed_again_and_again_agree(
    settings: Settings, data: Path, facts: dict[str, Any]
) -> None:
    async with running(settings, workers=2) as service:
        replay = replaying(service, data)
        for _ in range(3):
            await _applied_more(service)
            service.workers[-1].kill()
            service.workers[-1].wait()
            service.start_worker()
        await replayed(replay)
        found = await figures(service)
    assert found == expected(facts, found)


async def _applied_more(service: Service) -> None:
    """Until something more than before is in the figures."""
    before = await _applied(service)
    async with asyncio.timeout(90):
        while await _applied(service) <= before:
            await asyncio.sleep(0.1)


async def _applied(service: Service) -> int:
    found = await ask(service, "/v1/sales/revenue", grain="total", **ALL)
    return sum(sum(offsets) for offsets in found["complete_to"]["next_offsets"].values())
