"""Whole data sets through `tillstream import`, and what is killed on the way."""

import asyncio
import csv
import gzip
import io
import re
import subprocess
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import httpx2

from projections.postgres import connect
from tests.e2e.service import Service, doing, run_cli
from tests.e2e.test_imports import ended, total
from tests.e2e.test_replay import figures
from tests.integration.test_metrics_oracle import QUESTIONS, fill, hold
from tests.retail import NAME, counted, lines_of, part


async def imported(service: Service, *arguments: str) -> str:
    """What the command said, once it has ended well."""
    process: subprocess.Popen[bytes] = run_cli(
        "import", *arguments, environment=service.environment, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(400):
        _, said = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0, said.decode()
    return said.decode()


async def test_online_retail_is_exact(
    service: Service, data: Path, tmp_path: Path, tag: str
) -> None:
    """Of some weeks, across a month's end, with what was written off in them."""
    weeks = date(2011, 7, 25), date(2011, 8, 21)
    file = part(data / f"{NAME}.csv.gz", tmp_path / "retail.csv.gz", *weeks)
    shop = f"retail-{tag}"
    said = await imported(service, str(file), "--shop", shop, "--currency", "GBP", "--yes")
    lines = list(lines_of(file))
    free = sum(Decimal(line["UnitPrice"]) == 0 for line in lines)
    assert free > 50
    assert f"{len(lines) - free:,}" in said  # those without a price are set aside
    assert f"{free:,}" in said
    found, by_hand = await figures(service, shop=shop), counted(file)
    assert found == by_hand
    assert Decimal(found["bad_debt_adjustments_negative_price_lines"]) < 0


OLIST_SOLD = ("delivered", "shipped", "invoiced", "processing", "approved")


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


async def test_olists_linked_files_are_one_import(service: Service, data: Path, tag: str) -> None:
    folder = data / "olist"
    shop = f"olist-{tag}"
    said = await imported(service, str(folder), "--shop", shop, "--currency", "BRL", "--yes")
    orders = {row["order_id"]: row for row in rows_of(folder / "olist_orders_dataset.csv.gz")}
    sold = {one for one, row in orders.items() if row["order_status"] in OLIST_SOLD}
    items = [
        row for row in rows_of(folder / "olist_order_items_dataset.csv.gz")
        if row["order_id"] in sold
    ]  # fmt: skip
    amount = sum((Decimal(row["price"]) for row in items), Decimal())
    async with service.client() as client:
        assert (await total(client, "orders", shop))["orders"] == len(
            {row["order_id"] for row in items}
        )
        row = await total(client, "gross", shop)
        assert (row["currency"], Decimal(row["gross"])) == ("BRL", amount)
        asked = {"shop": shop, "grain": "total", "by": "category"}
        found = (await client.get("/v1/metrics/units", params=asked)).json()["rows"]
        products = {
            row["product_id"]: row["product_category_name"]
            for row in rows_of(folder / "olist_products_dataset.csv.gz")
        }
        toys = sum(products.get(row["product_id"]) == "brinquedos" for row in items)
        (told,) = [row["units"] for row in found if row["category"] == "brinquedos"]
        assert told == toys
    assert "is looked up by" in said
    await held_against_plain_sql(service, shop)
    again = await imported(service, str(folder), "--shop", shop, "--currency", "BRL", "--yes")
    assert "0 events" in again


async def held_against_plain_sql(service: Service, shop: str) -> None:
    """Asks a choice of everything, and the events on the log by the oracle's SQL."""
    settings = service.settings
    oracle = f"{settings.schema_name}_oracle"
    dsn = settings.servers.postgres
    pool = await connect(dsn, settings.schema_name, before=oracle, seconds=None)
    try:
        await pool.execute(f'CREATE SCHEMA "{oracle}"')
        await fill(pool, settings, settings.partitions, shop)
        questions = [("month", ("category",)), ("total", ("product",)), ("quarter", ())]
        assert await hold(pool, "UTC", [*questions, *Random(3).sample(QUESTIONS, 6)], shop) > 5_000
    finally:
        await pool.execute(f'DROP SCHEMA "{oracle}" CASCADE')
        pool.terminate()


async def test_a_preview_changes_nothing_and_what_is_asked_ends_it(
    service: Service, tmp_path: Path, tag: str
) -> None:
    folder = service.settings.home / "imports"
    before = kept(folder)
    path = tmp_path / f"{tag}.csv"
    path.write_text("order,date,product,price\n" + "o,01/02/2024,mug,9.90\n" * 5)
    process = run_cli("import", str(path), environment=service.environment, stderr=subprocess.PIPE)
    _, said = await asyncio.to_thread(process.communicate)
    assert process.returncode == 1
    assert "the day or the month first" in said.decode()
    shown = await imported(service, str(path), "--map", "date=time:d/m/y", "--preview")
    assert "2024-02-01" in shown
    assert kept(folder) == before


def kept(folder: Path) -> set[Path]:
    """The imports whose files are still there."""
    return {one for one in folder.glob("*") if (one / "file-0").exists()}


async def test_what_it_says_to_ask_next_is_answered(
    service: Service, tmp_path: Path, tag: str
) -> None:
    path = tmp_path / f"next-{tag}.csv"
    path.write_text("order,date,product,quantity,price\n" + "o,2024-01-02,mug,2,9.90\n" * 5)
    said = await imported(service, str(path), "--yes")
    asked = re.findall(r"curl 'http[^']*(/v1/[^']+)'", said)
    assert len(asked) == 2
    async with service.client() as client:
        for url in asked:
            answer = await client.get(url)
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["rows"]) == 1, answer.text


async def test_what_is_no_table_is_refused_and_not_kept(service: Service, tag: str) -> None:
    folder = service.settings.home / "imports"
    before = set(folder.glob("*"))
    async with service.client() as client:
        asked = {"name": f"{tag}.csv"}
        answer = await client.post("/v1/imports", params=asked, content=b"%PDF-1.7 " * 99)
        assert answer.status_code == 422, answer.text
        assert "a PDF" in answer.json()["detail"]
        assert set(folder.glob("*")) <= before
        draft = await client.post(
            "/v1/imports", params={**asked, "preview": True, "wait": 30}, content=many(tag)
        )
        at = f"/v1/imports/{draft.json()['import_id']}"
        wrong = await client.put(f"{at}/mapping", json={"encoding": "klingon"})
        assert wrong.status_code == 422, wrong.text
        assert wrong.json()["errors"][0]["field"] == "encoding"
        assert (await client.get(at)).json()["state"] == "draft"
        assert (await client.post(f"{at}/cancel")).status_code == 202


ROWS = 20_000


def many(tag: str) -> bytes:
    out = io.StringIO()
    out.write("order,date,product,quantity,price\n")
    for number in range(ROWS):
        out.write(f"{tag}-{number},2024-03-{number % 28 + 1:02},p{number % 50},1,2.00\n")
    return out.getvalue().encode()


async def sent(client: httpx2.AsyncClient, content: bytes, name: str) -> dict[str, Any]:
    """An import, of which nothing is waited for."""
    answer = await client.post("/v1/imports", params={"name": name, "wait": 0}, content=content)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_what_is_killed_goes_on_and_counts_each_row_once(service: Service, tag: str) -> None:
    async with service.client() as client:
        first = await sent(client, many(tag), f"killed-{tag}.csv")
        at = f"/v1/imports/{first['import_id']}"
        async with asyncio.timeout(120):
            while not (found := (await client.get(at)).json())["progress"].get("added"):
                assert found["state"] not in ("failed", "draft"), found
                await asyncio.sleep(0.02)
        for process in doing(service):
            process.kill()
        done = await ended(client, first["import_id"])
        assert done["state"] == "done", done
        counts = done["progress"]
        assert (counts["added"], counts["known"], counts["events"]) == (ROWS, 0, ROWS)
        assert (await total(client, "orders", first["shop"]))["orders"] == ROWS


async def test_what_is_cancelled_ends_and_its_file_goes(service: Service, tag: str) -> None:
    async with service.client() as client:
        first = await sent(client, many(tag), f"cancelled-{tag}.csv")
        at = f"/v1/imports/{first['import_id']}"
        assert (await client.post(f"{at}/cancel")).status_code == 202
        assert (await ended(client, first["import_id"]))["state"] == "cancelled"
        folder = service.settings.home / "imports" / first["import_id"]
        async with asyncio.timeout(60):
            while folder.exists():
                await asyncio.sleep(0.1)
