"""Files of a hundred thousand rows: whole, and made in bounded memory."""

import csv
import io
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from app.exports.making import File, Making
from app.exports.task import Format, OfMonth, OfReport, Seen, Task
from app.settings import Servers, Settings
from projections.postgres import connect_alone, migrate
from tests.conftest import settings_for

ROWS = 100_000
MOST_KILOBYTES = 280_000

Connection = asyncpg.Connection

_MANY = """
    INSERT INTO sales_lines (
        shop, hour, currency, country, channel, customer, order_id, category, product, variant,
        gross, discounts, refunds, adjustments, tax, orders, units, refunded_units
    )
    SELECT 'main', timestamptz '2026-03-01T00:00:00Z' + (n % 2160) * interval '1 hour', 'EUR', 'DE',
        'web', 'c-' || n, 'o-' || n, 'k', '=p-' || n % 1000, '', 1.2345, 0, 0, 0, 0.19, 1, 1, 0
    FROM generate_series(1, $1::int) AS n
"""


class Many(NamedTuple):
    """A transaction that sees so many lines of sales."""

    settings: Settings
    connection: Connection


@pytest.fixture(scope="module")
async def many(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Many]:
    settings = settings_for(servers, tmp_path_factory.mktemp("many"))
    await migrate(servers.postgres, settings.schema_name)
    connection = await connect_alone(servers.postgres, settings.schema_name)
    try:
        await connection.execute(_MANY, ROWS)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield Many(settings, connection)
    finally:
        await connection.close()


async def made(many: Many, of: OfReport | OfMonth) -> File:
    settings = many.settings
    snapshot = await many.connection.fetchval("SELECT pg_export_snapshot()")
    path, postgres = f'"{settings.schema_name}"', settings.servers.postgres
    seen = Seen(postgres, path, snapshot, datetime.now(UTC), timedelta(0), None)
    zone = ZoneInfo("Europe/Berlin").key
    file = await Making().make(lambda path: Task(of, "main", zone, seen, path))
    sys.stdout.write(f"{of}: {file.rows} rows, {file.size} bytes, {file.most_kilobytes} kB held\n")
    return file


@pytest.mark.parametrize("format", ["csv", "parquet", "xlsx"])
async def test_a_report_of_many_rows(many: Many, format: Format) -> None:  # noqa: A002
    asked = '{"grain": "total", "by": ["customer"]}'
    file = await made(many, OfReport("units", asked, format))
    assert file.rows == ROWS
    assert file.most_kilobytes < MOST_KILOBYTES
    with file.content as content:
        found = content.read()
    assert len(found) == file.size
    if format == "csv":
        told = list(csv.reader(io.StringIO(found.decode("utf-8-sig"), newline="")))
        assert len(told) == ROWS + 1
        assert sum(int(line[2]) for line in told[1:]) == ROWS


async def test_a_month_of_many_lines(many: Many) -> None:
    """Of a quarter's."""
    file = await made(many, OfMonth(2026, 3))
    file.content.close()
    assert file.rows > ROWS // 4
    assert file.most_kilobytes < MOST_KILOBYTES
