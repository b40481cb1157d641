"""Reports as files, read again: every value is what it was, and no text becomes a formula."""

import csv
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import openpyxl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openpyxl.utils.escape import unescape

from app.exports import csv_file, parquet_file, workbook
from app.exports.cells import harmless, is_exact, sums, value
from app.exports.charts import charts
from app.exports.task import Said
from app.exports.workbook import Book, Summed
from app.reports.asking import asked_of
from app.reports.report import Column
from app.reports.table import REPORTS

BERLIN = ZoneInfo("Europe/Berlin")
COLUMNS = (
    Column("product"),
    Column("day", "day"),
    Column("month", "month"),
    Column("at", "time"),
    Column("net", "money"),
    Column("rate", "share"),
    Column("mean", "number"),
    Column("orders", "count"),
)
EVIL = (
    *(
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "'=1",
        "''",
        "{=1+1}",
        "=HYPERLINK(1)",
    ),
    *(
        "0001",
        "1e5",
        "1,5",
        "TRUE",
        "#N/A",
        "https://example.com",
        "_x0041_",
        "a;b,c\"d'e\nf",
        " x ",
    ),
    *("ünï", "日本", "\U0001f6d2", "NULL", "null", "\\N", ""),
)


def row(product: str, **changed: Any) -> dict[str, Any]:
    found = {
        "product": product,
        "day": "2026-03-29",
        "month": "2026-03",
        "at": "2026-03-29T03:00:00+02:00",
        "net": "-1234.5678",
        "rate": "0.25",
        "mean": "1.333333",
        "orders": 3,
    }
    return found | changed


ROWS = [
    *(row(text) for text in EVIL),
    row("nothing", day=None, month=None, at=None, net=None, rate=None, mean=None, orders=None),
    row("large", net="123456789012345.6789", orders=10**17, mean="0.123456789012"),
    row("night", at="2026-10-25T02:30:00+01:00"),
]


def read_csv(path: Path) -> list[list[str]]:
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def as_it_was(field: str) -> str:
    return field.removeprefix("'") if field.startswith("'") else field


def test_a_csv_is_read_back_exactly(tmp_path: Path) -> None:
    csv_file.write(tmp_path / "made.csv", COLUMNS, ROWS)
    names, *lines = read_csv(tmp_path / "made.csv")
    assert names == [column.name for column in COLUMNS]
    for line, told in zip(lines, ROWS, strict=True):
        wanted = ["" if told[name] is None else str(told[name]) for name in names]
        assert [as_it_was(line[0]), *line[1:]] == wanted
        assert not line[0].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@given(st.text())
@example("=1+1")
@example(" =1+1")
def test_what_was_made_harmless_is_found_again(text: str) -> None:
    assert not harmless(text).lstrip().startswith(("=", "+", "-", "@"))
    assert not harmless(text).startswith(("\t", "\r", "\n"))
    assert as_it_was(harmless(text)) == text


def test_parquet_has_every_value_and_its_type(tmp_path: Path) -> None:
    path = tmp_path / "made"
    parquet_file.write(path, COLUMNS, ROWS)
    with duckdb.connect(":memory:") as database:
        database.execute("SET TimeZone = 'UTC'")
        found = database.execute(f"SELECT * FROM read_parquet('{path}')").fetchall()
        types = database.execute(f"DESCRIBE SELECT * FROM read_parquet('{path}')").fetchall()
    assert [told[1] for told in types] == [
        *("VARCHAR", "DATE", "DATE", "TIMESTAMP WITH TIME ZONE"),
        *("DECIMAL(38,4)", "DECIMAL(38,4)", "DECIMAL(38,12)", "BIGINT"),
    ]
    wanted = [tuple(value(told[column.name], column.kind) for column in COLUMNS) for told in ROWS]
    assert [tuple(one) for one in found] == wanted


def test_no_rows_are_a_file_too(tmp_path: Path) -> None:
    parquet_file.write(tmp_path / "made", COLUMNS, [])
    csv_file.write(tmp_path / "made.csv", COLUMNS, [])
    with duckdb.connect(":memory:") as database:
        query = f"SELECT * FROM read_parquet('{tmp_path / 'made'}')"
        assert database.execute(query).fetchall() == []
    assert len(read_csv(tmp_path / "made.csv")) == 1


def written(
    path: Path,
    columns: Sequence[Column],
    rows: Sequence[Mapping[str, Any]],
    key: Sequence[str] = (),
) -> openpyxl.Workbook:
    """A workbook of these rows, opened again."""
    book = Book(path, BERLIN)
    table = book.table("Data", columns)
    for told in rows:
        table.add(value(told[column.name], column.kind) for column in columns)
    table.end()
    totals = [Summed("Sums", *sums(columns, ("net", "orders"), rows))]
    said = Said("=1+1", (("Shop", "=1+1"),))
    book.summary(said, totals, charts(columns, key, rows))
    book.close()
    return openpyxl.load_workbook(path)


def test_a_workbook_has_every_value_in_a_cell_of_its_type(tmp_path: Path) -> None:
    sheet = written(tmp_path / "made.xlsx", COLUMNS, ROWS)["Data"]
    names, *lines = sheet.iter_rows()
    assert names[3].value == "at (Europe/Berlin)"
    for cells, told in zip(lines, ROWS, strict=True):
        assert all(cell.data_type != "f" for cell in cells)
        assert unescape(str(cells[0].value or "")) == told["product"]
        for cell, column in zip(cells[1:], COLUMNS[1:], strict=True):
            wanted = value(told[column.name], column.kind)
            if isinstance(wanted, datetime):
                assert cell.value == wanted.astimezone(BERLIN).replace(tzinfo=None)
            elif isinstance(wanted, date):
                assert isinstance(cell.value, datetime)
                assert cell.value.date() == wanted
            elif isinstance(wanted, int | Decimal):
                assert Decimal(str(cell.value)) == wanted
                assert (cell.data_type == "n") == is_exact(wanted)
            else:
                assert cell.value is None


def test_no_sheet_has_a_formula_whatever_its_text_says(tmp_path: Path) -> None:
    written(tmp_path / "made.xlsx", COLUMNS, ROWS)
    with zipfile.ZipFile(tmp_path / "made.xlsx") as archive:
        sheets = [name for name in archive.namelist() if name.startswith("xl/worksheets/sheet")]
        assert sheets
        for name in sheets:
            content = archive.read(name)
            assert b"<f>" not in content
            assert b"<f " not in content
            assert b"hyperlink" not in content


def test_averages_and_ranks_are_not_added_up() -> None:
    report = REPORTS["top_customers"]
    columns = report.columns(asked_of(report, {}))
    best = {column.name: "2.50" if column.kind == "money" else 3 for column in columns}
    rows = [best | {"currency": currency} for currency in ("EUR", "EUR", "USD")]
    shown, added = sums(columns, report.sums, rows)
    assert {"average_order_value", "rank"}.isdisjoint(column.name for column in shown)
    assert [(one["currency"], one["net"], one["orders"]) for one in added] == [
        ("EUR", Decimal("5.00"), 6),
        ("USD", Decimal("2.50"), 3),
    ]


def test_what_does_not_fit_a_sheet_goes_on_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "MOST_ROWS", 11)
    columns = (Column("n", "count"),)
    book = written(tmp_path / "made.xlsx", columns, [{"n": number} for number in range(25)])
    assert book.sheetnames == ["Summary", "Data", "Data 2", "Data 3"]
    found = [cell.value for sheet in book.worksheets[1:] for (cell,) in list(sheet.iter_rows())[1:]]
    assert found == list(range(25))


def days(currency: str, **by: str) -> list[dict[str, Any]]:
    first = date(2026, 3, 1)
    return [
        {
            "day": (first + timedelta(days=n)).isoformat(),
            **by,
            "currency": currency,
            "net": f"{n}.50",
        }
        for n in range(5)
    ]


def test_charts_show_each_currency_by_itself(tmp_path: Path) -> None:
    columns = (Column("day", "day"), Column("country"), Column("currency"), Column("net", "money"))
    rows = [*days("EUR", country="DE"), *days("EUR", country="FR"), *days("GBP", country="GB")]
    euros, pounds = charts(columns, ("day", "country", "currency"), rows)
    assert (euros.title, list(euros.lines)) == ("net EUR", ["DE", "FR"])
    assert (pounds.title, pounds.over_time, len(pounds.labels)) == ("net GBP", True, 5)
    book = written(tmp_path / "made.xlsx", columns, rows, ("day", "country", "currency"))
    assert len(book["Summary"]._charts) == 2  # type: ignore[attr-defined]
    told = {line[0].value: line[1].value for line in book["Summary"].iter_rows()}
    assert (told["EUR"], told["GBP"]) == (25, 12.5)


def test_without_a_period_the_largest_are_shown() -> None:
    columns = (Column("product"), Column("currency"), Column("units", "count"))
    rows = [{"product": f"p{n}", "currency": "EUR", "units": n} for n in range(40)]
    (chart,) = charts(columns, ("product", "currency"), rows)
    assert not chart.over_time
    assert list(chart.labels[:2]) == ["p39", "p38"]
    assert charts(columns, ("product", "currency"), rows[:1]) == []


def test_times_are_those_of_the_shop() -> None:
    before, after = (
        value(told, "time") for told in ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00")
    )
    assert isinstance(before, datetime)
    assert isinstance(after, datetime)
    assert after - before == timedelta(hours=1)
    assert before.astimezone(UTC).hour == 0
