"""Ten months of a real shop, through the log: exact to the last digit, whatever happens."""

import asyncio
import csv
import io
import json
import subprocess
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from app.reports.table import REPORTS
from app.settings import Settings
from streams import money
from tests.e2e.service import Service, run_cli, running
from tests.e2e.test_live_reports import Asking, followed
from tests.e2e.test_sales import ask
from tests.retail import NAME, part

AGAIN = (date(2011, 2, 1), date(2011, 3, 31))
ALL = {"currency": "GBP", "from": "2010-12-01", "to": "2011-09-30"}


@pytest.fixture(scope="session")
def facts(data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data / f"{NAME}.facts.json").read_text())
    return found


def replaying(service: Service, data: Path) -> subprocess.Popen[bytes]:
    """A replay of the file, or of the one in a folder, under way."""
    file = data / f"{NAME}.csv.gz" if data.is_dir() else data
    return run_cli(  # type: ignore[no-any-return]
        *("replay", "--format", "online-retail", str(file), "--speed", "max"),
        environment=service.environment,
        stderr=subprocess.PIPE,
    )


async def replayed(process: subprocess.Popen[bytes]) -> str:
    """Until the replay has returned; what it said."""
    async with asyncio.timeout(240):
        _, said = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0, said.decode()
    return said.decode()


async def figures(service: Service, **shop: str) -> dict[str, Any]:
    """All that the facts file knows, as the API gives it."""
    asked = {**ALL, **shop}
    (total,) = (await ask(service, "/v1/sales/revenue", grain="total", **asked))["rows"]
    months = (await ask(service, "/v1/sales/revenue", grain="month", **asked))["rows"]
    countries = (await ask(service, "/v1/sales/revenue", grain="total", by="country", **asked))[
        "rows"
    ]
    by_units = (await ask(service, "/v1/sales/top-products", by="units", limit=5, **asked))["rows"]
    by_gross = (await ask(service, "/v1/sales/top-products", by="gross", limit=5, **asked))["rows"]
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


async def reported(service: Service) -> dict[str, Any]:
    """The same, and more, through every other route that can express it."""

    async def rows(report: str, **asked: Any) -> list[dict[str, Any]]:
        answer = await ask(service, REPORTS[report].path, **ALL, **asked)
        return list(answer["rows"])

    async def total(metric: str, **asked: Any) -> Any:
        (row,) = await rows(metric, grain="total", **asked)
        return row[metric]

    countries = await rows("gross", grain="total", by="country")
    countries.sort(key=lambda row: -Decimal(row["gross"]))
    day = {"from": "2010-12-01", "to": "2011-09-30"}
    records = (await ask(service, REPORTS["sales_records"].path, **day))["rows"]
    monthly = (await ask(service, REPORTS["sales_records_monthly"].path, **day))["rows"]
    by_units = await ask(service, REPORTS["best_selling"].path, **day, ranking="units", limit=5)
    by_gross = await rows("gross", grain="total", by="product")
    by_gross.sort(key=lambda row: (-Decimal(row["gross"]), row["product"]))
    return {
        "gross": await total("gross"),
        "refunds": await total("refunds"),
        "net_of_refunds": await total("net"),
        "bad_debt_adjustments_negative_price_lines": await total("adjustments"),
        "positive_revenue": money.text(sum(money.parse(row["gross"]) for row in records)),
        "trading_days": sum(row["orders"] > 0 for row in records),
        "positive_revenue_by_month": {row["month"]: row["gross"] for row in monthly},
        "top5_countries_by_positive_revenue": [
            [row["country"], row["gross"]] for row in countries[:5]
        ],
        "top5_products_by_positive_units": [
            [row["product"], row["units"]] for row in by_units["rows"]
        ],
        "top5_products_by_positive_revenue": [
            [row["product"], row["gross"]] for row in by_gross[:5]
        ],
    }


async def exported(service: Service) -> dict[str, Any]:
    """The same from files."""
    async with service.client() as client:
        told = await client.get("/v1/exports/gross.csv", params={"grain": "month", **ALL})
        assert told.status_code == 200, told.text
        book = await client.get("/v1/exports/sales/2011/2.xlsx", timeout=120)
        assert book.status_code == 200, book.text
    rows = list(csv.DictReader(io.StringIO(told.text.removeprefix("\ufeff"))))
    days = openpyxl.load_workbook(io.BytesIO(book.content), read_only=True)["Days"]
    head, *cells = days.iter_rows(values_only=True)
    gross = sum(Decimal(str(row[head.index("gross")])) for row in cells)
    months = {row["month"]: row["gross"] for row in rows}
    assert gross == Decimal(months["2011-02"])
    return {"positive_revenue_by_month": months}


LIVE = (
    Asking("gross", {"grain": "month", "by": "country"}),
    Asking("orders", {"grain": "total", "by": "country"}),
    Asking("units", {"grain": "month", "product": ["23166", "84077"]}),
    Asking("new_customers", {"grain": "month"}),
    Asking("average_order_value", {"grain": "quarter"}),
)


async def all_told(service: Service) -> None:
    """Until what was told over the websocket is what HTTP answers."""
    async with asyncio.timeout(60), service.client() as client:
        for one in LIVE:
            while one.held.rows != await one.told(client):
                await asyncio.sleep(0.1)


def expected(facts: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in like}


async def test_ten_months_are_exact_whoever_dies_and_a_second_replay_changes_nothing(
    settings: Settings, data: Path, facts: dict[str, Any], tmp_path: Path
) -> None:
    async with running(settings, workers=2) as service:
        async with followed(service.api, LIVE):
            replay = replaying(service, data)
            for _ in range(3):
                await _applied_more(service)
                service.workers[-1].kill()
                service.workers[-1].wait()
                service.start_worker()
            assert "370,931" in await replayed(replay)
            await all_told(service)
        for told in (figures, reported, exported):
            found = await told(service)
            assert found == expected(facts, found)
        everything = await ask(service, "/v1/sales/revenue", grain="hour", by="product", **ALL)
        # Of the months between, whose figures others stand before and behind.
        some = part(data / f"{NAME}.csv.gz", tmp_path / "some.csv.gz", *AGAIN)
        await replayed(replaying(service, some))
        again = await ask(service, "/v1/sales/revenue", grain="hour", by="product", **ALL)
    assert again["rows"] == everything["rows"]
    before, after = (
        sum(answer["complete_to"]["next_offsets"]["orders"]) for answer in (everything, again)
    )
    assert after - before > 3_000


async def _applied_more(service: Service) -> None:
    """Until something more than before is in the figures."""
    before = await _applied(service)
    async with asyncio.timeout(90):
        while await _applied(service) <= before:
            await asyncio.sleep(0.1)


async def _applied(service: Service) -> int:
    found = await ask(service, "/v1/sales/revenue", grain="total", **ALL)
    return sum(sum(offsets) for offsets in found["complete_to"]["next_offsets"].values())
