"""Tables written in any dialect are read back exactly; broken ones are refused with a reason."""

import csv
import gzip
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import openpyxl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.imports.mapping import Correction, Invalid
from app.imports.orders import Made, events_of
from app.imports.prepare import Prepared, prepare, rows_of
from app.imports.reading import Aside, Bad, Fault, Reader, Sold
from app.imports.spill import Parts
from app.imports.tables import Unreadable
from streams import codec, money
from streams.events import OrderCompleted, OrderRefunded

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MOST = 10_000_000
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def prepared(path: Path, **said: Any) -> Prepared:
    return prepare(
        [(path, path.name)],
        Correction(**said),
        {},
        currency="EUR",
        timezone="UTC",
        most_bytes=MOST,
        now=NOW,
    )


def read(path: Path, found: Prepared) -> tuple[Made, list[Fault], list[str]]:
    """All events of a file, the faults of its rows, and what was set aside."""
    reader = Reader(found.mapping, NOW, b"key")
    rows: list[Sold] = []
    faults: list[Fault] = []
    aside: list[str] = []
    for record in rows_of([(path, path.name)], found.shapes):
        try:
            rows.append(reader.read(record))
        except Bad as bad:
            faults += bad.faults
        except Aside as why:
            aside.append(str(why))
    return events_of(rows, "main", NOW), faults, aside


class Sale(msgspec.Struct, frozen=True):
    """What a row is to say."""

    order: str
    at: datetime
    product: str
    name: str
    quantity: int
    price: Decimal


_WORDS = st.text(st.characters(codec="cp1252", exclude_categories=["C", "Z"]), min_size=1).map(
    lambda text: f"a{text[:20]}"
)
SALES = st.lists(
    st.builds(
        Sale,
        order=st.integers(1, 30).map(lambda number: f"o{number}"),
        at=st.datetimes(datetime(2001, 1, 1), datetime(2025, 12, 31)).map(  # noqa: DTZ001
            lambda at: at.replace(microsecond=0)
        ),
        product=st.sampled_from(["p-1", "p-2", "p;3", 'p"4', "p|5,6"]),
        name=_WORDS,
        quantity=st.integers(1, 2000),
        price=st.integers(1, 10**9).map(lambda cents: Decimal(cents) / 100),
    ),
    min_size=15,
    max_size=40,
)
HEADERS = {
    "English": ("Order ID", "Order Date", "Product ID", "Product Name", "Quantity", "Unit Price"),
    "German": ("Bestellnummer", "Bestelldatum", "Artikelnummer", "Bezeichnung", "Menge", "Preis"),
    "Portuguese": ("Pedido", "Data", "Código produto", "Descrição", "Quantidade", "Preço unitário"),
    "Spanish": ("Pedido", "Fecha", "ID producto", "Descripción", "Cantidad", "Precio"),
    "French": ("Commande", "Date commande", "Code produit", "Désignation", "Quantité", "Prix"),
}
DATES = {"y-m-d": "%Y-%m-%d", "d/m/y": "%d/%m/%Y", "m/d/y": "%m/%d/%Y", "d.m.y": "%d.%m.%Y"}


class Dialect(msgspec.Struct, frozen=True):
    """How a table is written down."""

    language: str
    delimiter: str
    encoding: str
    decimal: str
    grouped: bool
    sign: str
    date: str
    quoting: int
    end: str
    above: int
    packed: bool


DIALECTS = st.builds(
    Dialect,
    language=st.sampled_from(sorted(HEADERS)),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    decimal=st.sampled_from(".,"),
    grouped=st.booleans(),
    sign=st.sampled_from(["", "€", "£"]),
    date=st.sampled_from(sorted(DATES)),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    above=st.integers(0, 3),
    packed=st.booleans(),
)


def price_as(price: Decimal, dialect: Dialect) -> str:
    text = f"{price:,.2f}" if dialect.grouped else f"{price:.2f}"
    if dialect.decimal == ",":
        text = text.translate({ord(","): ".", ord("."): ","})
    return f"{dialect.sign}{text}"


def written(sales: Sequence[Sale], dialect: Dialect) -> bytes:
    out = io.StringIO()
    for number in range(dialect.above):
        out.write(f"Report {number}{dialect.end}")
    table = csv.writer(
        out, delimiter=dialect.delimiter, quoting=dialect.quoting, lineterminator=dialect.end  # type: ignore[arg-type]
    )  # fmt: skip
    table.writerow(HEADERS[dialect.language])
    for one in sales:
        at = one.at.strftime(f"{DATES[dialect.date]} %H:%M:%S")
        price = price_as(one.price, dialect)
        table.writerow([one.order, at, one.product, one.name, one.quantity, price])
    content = out.getvalue().encode(dialect.encoding, "strict")
    return gzip.compress(content) if dialect.packed else content


def expected(sales: Sequence[Sale]) -> dict[str, list[tuple[Any, ...]]]:
    orders: dict[str, list[Sale]] = {}
    for one in sales:
        orders.setdefault(one.order, []).append(one)
    return {
        order: [(one.product, one.name, one.quantity, one.price)
                for one in sorted(told, key=lambda one: one.at)]
        for order, told in orders.items()
    }  # fmt: skip


def told(made: Made) -> dict[str, list[tuple[Any, ...]]]:
    found = {}
    for entry in made.entries:
        data = codec.decode_fields(entry.event.type, entry.event.data)
        assert isinstance(data, OrderCompleted)
        found[data.order_id] = [
            (line.product_id, line.name, line.quantity, Decimal(money.text(line.price)))
            for line in data.products
        ]
    return found


@QUICK
@given(sales=SALES, dialect=DIALECTS)
def test_a_table_in_any_dialect_is_read_back_exactly(
    sales: list[Sale], dialect: Dialect, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("round") / "sales.csv"
    path.write_bytes(written(sales, dialect))
    found = prepared(path)
    asked = {one.field for one in found.asked if one.blocking}
    days = {one.at.day for one in sales}
    if dialect.date != "y-m-d" and max(days) <= 12:
        assert any(field.startswith("columns.") for field in asked)
        return
    # Eight bits may be asked about, and a column of names that are numbers is none.
    assert asked <= {"encoding"}, found.asked
    made, faults, aside = read(path, found)
    assert (faults, aside) == ([], [])
    assert told(made) == expected(sales)
    times = {entry.event.subject: entry.event.time for entry in made.entries}
    for order in times:
        first = min(one.at for one in sales if one.order == order)
        assert times[order] == first.replace(tzinfo=UTC)
    again, _, _ = read(path, found)
    assert [one.event.id for one in again.entries] == [one.event.id for one in made.entries]


@QUICK
@given(content=st.binary(max_size=3000) | st.text(max_size=2000).map(str.encode))
@example(content=b"PK\x03\x04" + b"\0" * 60)
@example(content=b"\x1f\x8b" + b"\0" * 60)
@example(content=b"\xd0\xcf\x11\xe0" + b"\0" * 600)
@example(content=b'a,b\n"' + b"x\n" * 500)
@example(content=b"\xff\xfe")
def test_any_bytes_are_a_table_or_refused_with_a_reason(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "any.csv"
    path.write_bytes(content)
    found, refused = None, ""
    try:
        found = prepared(path)
    except (Unreadable, Invalid) as error:
        refused = str(error)
    assert found or refused
    if found and not found.blocked:
        _, faults, _ = read(path, found)
        assert all(one.reason for one in faults)


GOOD = b"order id,date,product,quantity,price\n" + b"".join(
    b"o%d,2024-01-%02d,mug,2,9.90\n" % (number, number % 28 + 1) for number in range(60)
)


@QUICK
@given(cuts=st.lists(st.tuples(st.integers(40, len(GOOD) - 1), st.binary(max_size=4)), max_size=6))
def test_a_broken_copy_gives_every_row_or_its_reason(
    cuts: list[tuple[int, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(GOOD)
    for at, put in cuts:
        content[at : at + len(put)] = put
    path = tmp_path_factory.mktemp("broken") / "broken.csv"
    path.write_bytes(bytes(content))
    found, refused = None, ""
    try:
        found = prepared(path)
    except Unreadable as error:
        refused = str(error)
    assert found or refused
    if not found or found.blocked:
        return
    made, faults, aside = read(path, found)
    assert all(one.line > 1 and one.reason for one in faults)
    assert sum(entry.lines for entry in made.entries) + len(aside) <= 61
    if not cuts:
        assert sum(entry.lines for entry in made.entries) == 60


def table(tmp_path: Path, text: str, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_quote_that_nobody_closes_costs_its_own_line_alone(tmp_path: Path) -> None:
    text = GOOD.decode().replace("o7,2024-01-08,mug", 'o7,2024-01-08,"mug')
    path = table(tmp_path, text)
    made, faults, _ = read(path, prepared(path))
    assert [(one.line, one.reason) for one in faults] == [(9, "a quote that is not closed")]
    assert len(made.entries) == 59


def test_every_fault_of_a_row_is_named_and_its_neighbours_go_in(tmp_path: Path) -> None:
    text = GOOD.decode().replace("o7,2024-01-08,mug,2,9.90", "o7,2024-02-31,,two,9.9.0")
    path = table(tmp_path, text)
    made, faults, _ = read(path, prepared(path))
    assert {(one.line, one.column, one.value) for one in faults} == {
        (9, "date", "2024-02-31"),
        (9, "product", ""),
        (9, "quantity", "two"),
        (9, "price", "9.9.0"),
    }
    assert len(made.entries) == 59


def test_empty_rows_totals_and_repeated_headers_are_no_sales(tmp_path: Path) -> None:
    text = GOOD.decode() + ",,,,\n\norder id,date,product,quantity,price\nTotal,,,120,1188.00\n"
    path = table(tmp_path, text)
    made, faults, aside = read(path, prepared(path))
    assert faults == []
    assert aside == ["an empty row", "the header again", "a line of totals"]
    assert len(made.entries) == 60


def test_day_and_month_are_asked_for_where_every_date_fits_both(tmp_path: Path) -> None:
    rows = "".join(f"o{n},0{n % 9 + 1}/0{n % 7 + 1}/2024,mug,1,9.90\n" for n in range(40))
    path = table(tmp_path, f"order,date,product,quantity,price\n{rows}")
    (asked,) = [one for one in prepared(path).asked if one.blocking]
    assert asked.field == "columns.date"
    assert set(asked.options) == {"time:d/m/y", "time:m/d/y"}
    found = prepared(path, columns={"date": "time:m/d/y"})
    assert not found.blocked
    made, faults, _ = read(path, found)
    assert faults == []
    assert {entry.event.time.month for entry in made.entries} == set(range(1, 10))


def test_a_day_late_in_a_long_file_still_decides(tmp_path: Path) -> None:
    rows = "".join(f"o{n},01/0{n % 7 + 1}/2024,mug,1,9.90\n" for n in range(6_000))
    path = table(tmp_path, f"order,date,product,quantity,price\n{rows}o,25/01/2024,mug,1,9.90\n")
    found = prepared(path)
    assert not found.blocked
    assert {one.format for one in found.mapping.columns if one.target == "time"} == {"d/m/y"}


def test_decimals_are_asked_for_where_every_amount_fits_both(tmp_path: Path) -> None:
    rows = "".join(f"o{n},2024-01-01,mug,1,1.{n + 100}\n" for n in range(40))
    path = table(tmp_path, f"order,date,product,quantity,price\n{rows}")
    assert [one.field for one in prepared(path).asked if one.blocking] == ["decimal"]
    found = prepared(path, decimal=",")
    assert not found.blocked
    made, _, _ = read(path, found)
    first = codec.decode_fields("OrderCompleted", made.entries[0].event.data)
    assert isinstance(first, OrderCompleted)
    assert min(line.price for line in first.products) >= 1_100 * money.UNIT


def test_decimals_that_are_all_zero_are_decimals(tmp_path: Path) -> None:
    rows = "".join(f"o{n},2024-01-01,mug,1,2.00\n" for n in range(40))
    path = table(tmp_path, f"order,date,product,quantity,price\n{rows}")
    assert not prepared(path).blocked


def test_what_is_given_back_is_a_refund_of_its_order(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "order,date,product,quantity,price,email\n"
        "o1,2024-01-01,mug,3,9.90,ada@example.com\n"
        "o1,2024-01-05,mug,-1,9.90,ada@example.com\n"
        "C77,2024-01-06,pen,-2,1.00,bob@example.com\n",
    )
    made, faults, _ = read(path, prepared(path))
    assert faults == []
    kinds = [(entry.event.type, entry.event.subject) for entry in made.entries]
    assert kinds == [("OrderCompleted", "o1"), ("OrderRefunded", "o1"), ("OrderRefunded", "C77")]
    refund = codec.decode_fields("OrderRefunded", made.entries[1].event.data)
    assert isinstance(refund, OrderRefunded)
    assert [(line.product_id, line.quantity) for line in refund.products] == [("mug", 1)]
    people = {entry.event.person for entry in made.entries}
    assert len(people) == 2
    assert all(person and person.startswith("c-") for person in people)
    assert b"example.com" not in b"".join(codec.encode(one.event) for one in made.entries)


def test_a_total_that_its_quantity_does_not_divide_stays_exact(tmp_path: Path) -> None:
    rows = "".join(f"2024-01-{n + 1:02},mug,3,10.00\n" for n in range(20))
    path = table(tmp_path, f"date,product,quantity,total\n{rows}")
    made, _, _ = read(path, prepared(path))
    for entry in made.entries:
        data = codec.decode_fields("OrderCompleted", entry.event.data)
        assert isinstance(data, OrderCompleted)
        assert sum(line.price * line.quantity for line in data.products) == 10 * money.UNIT
        assert sum(line.quantity for line in data.products) == 3


def test_states_say_what_counts(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "order,date,product,quantity,price,status\n"
        "o1,2024-01-01,mug,1,9.90,Delivered\n"
        "o2,2024-01-02,mug,1,9.90,Canceled\n"
        "o3,2024-01-03,mug,1,9.90,Refunded\n"
        "o4,2024-01-04,mug,1,9.90,Pending\n",
    )
    made, faults, _ = read(path, prepared(path))
    assert faults == []
    assert sorted((entry.event.subject, entry.event.type) for entry in made.entries) == [
        ("o1", "OrderCompleted"),
        ("o2", "OrderCancelled"),
        ("o2", "OrderPlaced"),
        ("o3", "OrderCompleted"),
        ("o3", "OrderRefunded"),
        ("o4", "OrderPlaced"),
    ]


def test_a_discount_in_percent_is_taken_off_each_row(tmp_path: Path) -> None:
    rows = "".join(f"o{n},2024-01-01,mug,2,10.00,15%\n" for n in range(20))
    path = table(tmp_path, f"order,date,product,quantity,price,discount\n{rows}")
    made, _, _ = read(path, prepared(path))
    data = codec.decode_fields("OrderCompleted", made.entries[0].event.data)
    assert isinstance(data, OrderCompleted)
    assert data.discount == 3 * money.UNIT


def test_a_spreadsheet_is_read_as_it_is_typed(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["Sales of the year"])
    sheet.append(["Order ID", "Date", "Product", "Quantity", "Price"])
    first = datetime(2024, 3, 1, 10, 30)  # noqa: DTZ001
    for number in range(30):
        sheet.append([1000 + number, first + timedelta(days=number), "=1+1" if number else "mug",
                      number + 1, 9.9])  # fmt: skip
    more = book.create_sheet("Notes")
    more.append(["nothing", "of"])
    more.append(["any", "use"])
    path = tmp_path / "book.xlsx"
    book.save(path)
    found = prepared(path)
    assert not found.blocked, found.asked
    assert any("'Notes'" in one.reason for one in found.asked)
    made, faults, _ = read(path, found)
    # A formula has no value before a spreadsheet has computed it: such a row names nothing.
    assert {one.column for one in faults} == {"Product"}
    event = made.entries[0].event
    assert (event.subject, event.time) == ("1000", first.replace(tzinfo=UTC))
    data = codec.decode_fields("OrderCompleted", event.data)
    assert isinstance(data, OrderCompleted)
    assert data.products[0].price == 99_000


def test_what_is_small_and_becomes_huge_is_refused(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for _ in range(2_000):
        sheet.append(["mug"] * 20)
    path = tmp_path / "bomb.xlsx"
    book.save(path)
    with pytest.raises(Unreadable, match="unpacked"):
        prepare([(path, "bomb.xlsx")], Correction(), {}, currency="EUR", timezone="UTC",
                most_bytes=100_000, now=NOW)  # fmt: skip
    packed = tmp_path / "bomb.csv.gz"
    packed.write_bytes(gzip.compress(b"a,b\n" * 500_000))
    with pytest.raises(Unreadable, match="unpacked"):
        prepare([(packed, "bomb.csv.gz")], Correction(), {}, currency="EUR", timezone="UTC",
                most_bytes=100_000, now=NOW)  # fmt: skip


def test_files_that_belong_together_are_one_table(tmp_path: Path) -> None:
    items = "".join(f"o{n},p{n % 5},2,9.90\n" for n in range(50))
    orders = "".join(f"o{n},k{n % 7},2024-01-{n % 28 + 1:02}\n" for n in range(50))
    products = "".join(f"p{n},Mug {n},kitchen\n" for n in range(5))
    files = [
        table(tmp_path, f"order_id,product_id,quantity,price\n{items}", "items.csv"),
        table(tmp_path, f"order_id,customer_id,order_date\n{orders}", "orders.csv"),
        table(tmp_path, f"product_id,product_name,category\n{products}", "products.csv"),
    ]
    named = [(path, path.name) for path in files]
    found = prepare(named, Correction(), {}, currency="EUR", timezone="UTC", most_bytes=MOST,
                    now=NOW)  # fmt: skip
    assert not found.blocked, found.asked
    reader = Reader(found.mapping, NOW, b"key")
    rows = [reader.read(record) for record in rows_of(named, found.shapes)]
    assert len(rows) == 50
    assert {row.category for row in rows} == {"kitchen"}
    assert len({row.customer for row in rows}) == 7
    assert {row.name for row in rows} == {f"Mug {n}" for n in range(5)}


def test_parts_on_disk_hold_what_was_put_into_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.imports.spill._HELD_ROWS", 50)
    path = table(tmp_path, GOOD.decode() + GOOD.decode().partition("\n")[2])
    found = prepared(path)
    reader = Reader(found.mapping, NOW, b"key")
    rows = [reader.read(record) for record in rows_of([(path, path.name)], found.shapes)]
    parts = Parts(tmp_path / "parts", 200_000_000)
    for row in rows:
        parts.add(row)
    each = list(parts.rows())
    parts.close()
    assert len(each) == 6
    assert sorted((row for part in each for row in part), key=lambda row: row.line) == rows
    orders = [{row.order for row in part} for part in each]
    assert sum(map(len, orders)) == len(set.union(*orders))
    assert list((tmp_path / "parts").iterdir()) == []
