"""Other pasts through the log: REES46, Retailrocket, and our own log played into another shop."""

import asyncio
import csv
import gzip
import subprocess
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path

from tests.e2e.service import Service, run_cli
from tests.e2e.test_ingest import order
from tests.e2e.test_sales import ask, send


async def told(service: Service, *arguments: str) -> str:
    process = run_cli(*arguments, environment=service.environment, stderr=subprocess.PIPE)
    async with asyncio.timeout(120):
        _, said = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0, said.decode()
    return str(said.decode())


def lines(file: Path) -> list[dict[str, str]]:
    with gzip.open(file, "rt", newline="") as opened:
        return [*csv.DictReader(opened)]


async def test_the_purchases_of_rees46_are_exact_and_a_second_replay_changes_nothing(
    service: Service, data: Path, tag: str
) -> None:
    file = data / "rees46_2019-10-01_head.csv.gz"
    replay = ("replay", "--format", "rees46", "--shop", tag, str(file))
    assert "17,434 all lines" in " ".join((await told(service, *replay)).split())
    bought = [line for line in lines(file) if line["event_type"] == "purchase"]
    orders = {(line["user_session"], line["event_time"]) for line in bought}
    by_category: dict[str, Decimal] = defaultdict(Decimal)
    for line in bought:
        by_category[line["category_code"] or line["category_id"]] += Decimal(line["price"])
    for _ in range(2):
        (total,) = (await ask(service, "/v1/sales/revenue", grain="total", shop=tag))["rows"]
        assert Decimal(total["gross"]) == sum(Decimal(line["price"]) for line in bought)
        assert (total["orders"], total["units"]) == (len(orders), len(bought))
        categories = await ask(service, "/v1/sales/revenue", grain="total", by="category", shop=tag)
        assert {row["category"]: Decimal(row["gross"]) for row in categories["rows"]} == by_category
        await told(service, *replay)


async def test_the_transactions_of_retailrocket_count_and_no_money_is_made_up(
    service: Service, data: Path, tag: str
) -> None:
    file = data / "retailrocket_sample_5169.csv.gz"
    replay = ("replay", "--format", "retailrocket", "--shop", tag, str(file))
    assert "5,169 all lines" in " ".join((await told(service, *replay)).split())
    bought = [line for line in lines(file) if line["event"] == "2"]
    units = Counter(line["itemid"] for line in bought)
    (total,) = (await ask(service, "/v1/sales/revenue", grain="total", shop=tag))["rows"]
    assert (total["currency"], total["gross"], total["units"]) == ("XXX", "0.00", len(bought))
    assert total["orders"] == len({line["transactionid"] for line in bought})
    top = await ask(service, "/v1/sales/top-products", limit=1000, shop=tag)
    assert {row["product"]: row["units"] for row in top["rows"]} == units


async def test_our_own_log_is_played_into_another_shop(
    service: Service, tag: str, tmp_path: Path
) -> None:
    sold = [{**order(f"{tag}-{n}"), "time": f"2003-05-0{n}T12:00:00Z"} for n in range(1, 6)]
    wanted = {"from": "2003-05-01", "to": "2003-05-05"}
    positions = await send(service, *sold)
    before = await ask(service, "/v1/sales/revenue", min_position=positions, **wanted)
    file = str(tmp_path / "log.jsonl.gz")
    await told(service, "capture", file, "--topics", "orders", "--shop", "main")
    for shop in (tag, tag, "main"):
        await told(service, "replay", "--format", "tillstream", file, "--shop", shop)
        after = await ask(service, "/v1/sales/revenue", shop=shop, **wanted)
        assert after["rows"] == before["rows"]


async def test_a_file_of_another_format_is_told_and_nothing_is_sent(
    service: Service, tmp_path: Path
) -> None:
    file = tmp_path / "other.csv"
    file.write_text("a,b\n1,2\n")
    for name in ("rees46", "retailrocket"):
        process = run_cli(
            *("replay", "--format", name, str(file)),
            environment=service.environment,
            stderr=subprocess.PIPE,
        )
        _, said = await asyncio.to_thread(process.communicate)
        assert process.returncode == 1
        assert "the header has no" in (words := " ".join(said.decode().split()))
        assert "Nothing was sent" in words
    unknown = run_cli(
        *("replay", "--format", "csv", str(file)),
        environment=service.environment,
        stderr=subprocess.PIPE,
    )
    _, said = await asyncio.to_thread(unknown.communicate)
    assert unknown.returncode == 1
    assert "there are online-retail, rees46, retailrocket, tillstream" in " ".join(
        said.decode().split()
    )
