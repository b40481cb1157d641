"""Files of the figures, as they are downloaded: each equal to what the API answers."""

import asyncio
import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pytest

from app.exports import making, of_report
from app.exports.cells import value
from app.exports.task import MEDIA_TYPES, OfReport, Seen, Task
from app.reports.asking import asked_of
from app.reports.report import Column
from app.reports.table import REPORTS
from projections.clock import ShopClock
from projections.postgres import connect_alone
from tests.e2e.service import Service
from tests.e2e.test_live_reports import ASKED
from tests.e2e.test_sales import ask, send

Cells = list[tuple[Any, ...]]


def sale(tag: str, number: int, at: str, **changed: Any) -> dict[str, Any]:
    lines = [
        {
            "product_id": f"=1+{tag}",
            "name": "=1+1",
            "category": tag,
            "price": "19.90",
            "tax": "3.18",
        },
        {"product_id": f"{tag}-pen", "category": f"{tag}-desk", "price": "0.005", "quantity": 3},
    ]
    data = {"order_id": f"{tag}-{number}", "currency": "EUR", "country": "DE", "products": lines}
    return {"type": "OrderCompleted", "time": at, "data": data | changed}


async def sold(service: Service, tag: str, month: str) -> str:
    return await send(
        service,
        sale(tag, 1, f"{month}-01T00:10:00Z"),
        sale(tag, 2, f"{month}-14T10:00:00Z", country="FR", discount="1.90"),
        sale(tag, 3, f"{month}-28T23:59:59Z", currency="GBP"),
    )


async def download(service: Service, path: str, **asked: Any) -> tuple[bytes, Mapping[str, str]]:
    async with service.client() as client:
        found = await client.get(path, params=asked, timeout=120)
    assert found.status_code == 200, found.text
    assert int(found.headers["content-length"]) == len(found.content)
    return found.content, found.headers


async def told(service: Service, report: str, **asked: Any) -> Mapping[str, Any]:
    async with service.client() as client:
        found = await client.get(f"/v1/metrics/{report}", params=asked)
    assert found.status_code == 200, found.text
    answer: Mapping[str, Any] = found.json()
    return answer


def sheet(content: bytes, name: str) -> Cells:
    found = openpyxl.load_workbook(io.BytesIO(content))[name]
    assert all(cell.data_type != "f" for line in found.iter_rows() for cell in line)
    return [tuple(cell.value for cell in line) for line in found.iter_rows()]


def plain(found: Any) -> Any:
    """A cell, as `value` has it."""
    if isinstance(found, datetime):
        return found.date()
    return Decimal(str(found)) if isinstance(found, int | float) else found


def values(answer: Mapping[str, Any]) -> list[list[Any]]:
    columns = [Column(**column) for column in answer["columns"]]
    return [[value(row[c.name], c.kind) for c in columns] for row in answer["rows"]]


async def test_every_format_is_what_the_api_answers(
    service: Service, tag: str, tmp_path: Path
) -> None:
    seen = await sold(service, tag, "2021-03")
    asked = {"from": "2021-03-01", "to": "2021-03-31", "by": "product,country", "category": [tag]}
    answer = await told(service, "net", min_position=seen, wait=30, **asked)
    names = [column["name"] for column in answer["columns"]]
    assert len(answer["rows"]) == 3

    content, headers = await download(service, "/v1/exports/net.csv", **asked)
    assert headers["content-type"] == "text/csv; charset=utf-8"
    lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert lines[0] == names
    assert lines[1][1] == f"'=1+{tag}"
    assert [[one.removeprefix("'") for one in line] for line in lines[1:]] == [
        [row[name] for name in names] for row in answer["rows"]
    ]

    content, headers = await download(service, "/v1/exports/net.xlsx", **asked)
    name = f"main-net-2021-03-01-2021-03-31-product-country-{tag}.xlsx"
    assert headers["content-disposition"] == f'attachment; filename="{name}"'
    data = sheet(content, "Data")
    assert list(data[0]) == names
    assert [[plain(one) for one in line] for line in data[1:]] == values(answer)
    summary: dict[str, Any] = dict(line[:2] for line in sheet(content, "Summary") if line[0])
    assert summary["Asked: from"] == "2021-03-01"
    assert datetime.fromisoformat(str(summary["Complete to"])).tzinfo
    (euros, pounds) = (await told(service, "net", **{**asked, "by": [], "grain": "total"}))["rows"]
    assert [summary["EUR"], summary["GBP"]] == [float(euros["net"]), float(pounds["net"])]

    content, _ = await download(service, "/v1/exports/net.parquet", **asked)
    file = tmp_path / "net.parquet"
    file.write_bytes(content)
    with duckdb.connect(":memory:") as database:
        found = database.execute(f"SELECT * FROM read_parquet('{file}')")
        assert [told[0] for told in found.description or ()] == names
        assert [list(line) for line in found.fetchall()] == values(answer)


async def test_a_months_workbook_is_what_the_metrics_say(service: Service, tag: str) -> None:
    seen = await sold(service, tag, "2022-05")
    asked = {"from": "2022-05-01", "to": "2022-05-31"}
    content, headers = await download(
        service, "/v1/exports/sales/2022/5.xlsx", min_position=seen, wait=30
    )
    assert headers["content-disposition"] == 'attachment; filename="main-sales-2022-05.xlsx"'
    book = openpyxl.load_workbook(io.BytesIO(content))
    names = ["Summary", "Days", "Products", "Countries", "Categories", "Tax", "Order lines"]
    assert book.sheetnames[:7] == names
    assert len(book["Summary"]._charts) >= 4  # type: ignore[attr-defined]
    for name, by, measures in (
        ("Days", "day", ("gross", "discounts", "refunds", "net", "adjustments", "orders")),
        ("Products", "product", ("net", "tax", "units", "orders", "refunded_units")),
        ("Countries", "country", ("gross", "net", "orders")),
        ("Categories", "category", ("net", "units")),
        ("Tax", "country", ("tax", "net", "orders")),
    ):
        head, *lines = sheet(content, name)
        grain = {"grain": "day"} if by == "day" else {"grain": "total", "by": by}
        for measure in measures:
            rows = (await told(service, measure, **asked, **grain))["rows"]
            wanted = {(row[by], row["currency"]): Decimal(row[measure]) for row in rows}
            found = keyed(head, lines, by, measure)
            # A sheet has the rows of all measures; where it has nothing, the metric has no row.
            assert {key: one for key, one in found.items() if one or key in wanted} == wanted, name
    head, *lines = sheet(content, "Order lines")
    of_tag = [dict(zip(head, line, strict=True)) for line in lines if tag in str(line)]
    assert len(of_tag) == 6
    assert sum(Decimal(str(line["net"])) for line in of_tag) == Decimal("57.845")
    evil = next(line for line in sheet(content, "Products") if line[0] == f"=1+{tag}")
    assert evil[1] == "=1+1"


def keyed(
    head: Sequence[Any], lines: Cells, by: str, measure: str
) -> dict[tuple[str, str], Decimal]:
    at = {name: number for number, name in enumerate(head)}
    return {
        (key_of(line[at[by]]), line[at["currency"]]): Decimal(str(line[at[measure]]))
        for line in lines
    }


def key_of(found: Any) -> str:
    return found.date().isoformat() if isinstance(found, datetime) else str(found)


@pytest.mark.parametrize(
    ("path", "query", "status", "field"),
    [
        ("/v1/exports/weather.csv", {}, 404, None),
        ("/v1/exports/net.pdf", {}, 422, "format"),
        ("/v1/exports/net.csv", {"contry": "DE"}, 422, "contry"),
        ("/v1/exports/net.csv", {"grain": "fortnight"}, 422, "grain"),
        ("/v1/exports/net.csv", {"grain": ["day", "month"]}, 422, "grain"),
        ("/v1/exports/net.csv", {"from": "2026-03-02", "to": "2026-03-01"}, 422, "to"),
        ("/v1/exports/sales/2026/13.xlsx", {}, 422, "month"),
        ("/v1/exports/sales/2026/3.xlsx", {"country": "DE"}, 422, "country"),
        ("/v1/exports/net.csv", {"min_position": "orders:0:999999", "wait": 0.01}, 504, None),
    ],
)
async def test_what_cannot_be_exported_is_told_why(
    service: Service, path: str, query: dict[str, Any], status: int, field: str | None
) -> None:
    async with service.client() as client:
        answer = await client.get(path, params=query)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    if field:
        assert answer.json()["errors"][0]["field"] == field


async def test_more_than_a_few_at_once_are_asked_to_come_again(service: Service) -> None:
    async with service.client() as client:
        asking = [client.get("/v1/exports/net.csv") for _ in range(making.MOST_AT_ONCE + 4)]
        found = await asyncio.gather(*asking)
        codes = [answer.status_code for answer in found]
        assert set(codes) == {200, 503}
        assert codes.count(200) >= making.MOST_AT_ONCE
        refused = next(answer for answer in found if answer.status_code == 503)
        assert refused.json()["code"] == "too_many_exports"
        assert int(refused.headers["retry-after"]) > 0
        assert (await client.get("/v1/exports/net.csv")).status_code == 200


async def test_every_report_has_all_its_columns_in_every_format(
    service: Service, tag: str, tmp_path: Path
) -> None:
    """Made here, for the sake of time: a process for each would be minutes."""
    position = await sold(service, tag, "2023-01")
    for route in ("/v1/metrics/gross", "/v1/reports/funnel"):  # of a group each
        await ask(service, route, min_position=position, wait=20)  # nothing moves from here on
    settings = service.settings
    clock = ShopClock(settings.timezone)
    connection = await connect_alone(settings.servers.postgres, settings.schema_name)
    seen = Seen("", "", "", datetime.now(UTC), timedelta(hours=1), None)
    try:
        for name, report in REPORTS.items():
            several = {
                one: [told] if isinstance(told, str) else told
                for one, told in ASKED.get(name, {}).items()
            }
            asked = asked_of(report, several)
            columns = [column.name for column in report.columns(asked)]
            assert set(report.key(asked)) <= set(columns), name
            # What earlier tests have sent may still be on its way into other rows.
            async with connection.transaction(isolation="repeatable_read"):
                for format in MEDIA_TYPES:  # noqa: A001
                    path = tmp_path / f"{name}.{format}"
                    of = OfReport(name, asked.model_dump_json(by_alias=True), format)
                    task = Task(of, "main", clock.zone.key, seen, str(path))
                    await of_report.write(path, connection, task, clock)
            with (tmp_path / f"{name}.csv").open(encoding="utf-8-sig", newline="") as file:
                lines = list(csv.reader(file))
            assert lines[0] == columns
            head, *cells = sheet((tmp_path / f"{name}.xlsx").read_bytes(), "Data")
            assert len(cells) == len(lines) - 1, name
            assert [str(one).partition(" (")[0] for one in head] == columns
    finally:
        await connection.close()
