"""Online Retail files: every line becomes part of an event or is rejected, whatever it holds."""

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import codec
from streams.csv_file import Rejected, Unreadable
from streams.events import VOCABULARY, Event
from streams.online_retail import COLUMNS, Kind, Retail, read

UTC_ZONE = ZoneInfo("UTC")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
USUAL = {
    "InvoiceNo": "536365",
    "StockCode": "85123A",
    "Description": "WHITE LANTERN ",
    "Quantity": "6",
    "InvoiceDate": "2010-12-01 08:26:00",
    "UnitPrice": "2.55",
    "CustomerID": "17850.0",
    "Country": "United Kingdom",
}


def row(**changes: str) -> list[str]:
    return list((USUAL | changes).values())


def text(*rows: Sequence[str], header: Sequence[str] = tuple(COLUMNS)) -> str:
    written = io.StringIO()
    csv.writer(written).writerows([header, *rows])
    return written.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "retail.csv"


def read_rows(file: Path, *rows: Sequence[str]) -> Retail:
    file.write_text(text(*rows), newline="")
    return read_file(file)


def read_file(file: Path) -> Retail:
    return read(file, UTC_ZONE, "main", NOW)


def events(retail: Retail) -> list[Event]:
    return [entry.event for entry in retail.entries]


def told(event: Event) -> Any:
    return msgspec.json.decode(event.data)


def ids(retail: Retail) -> list[str]:
    return [event.id for event in events(retail)]


# What the lines become.


def test_an_invoice_is_one_order_with_its_lines(file: Path) -> None:
    retail = read_rows(file, row(), row(StockCode="71053", UnitPrice="3.39", Quantity="1"))
    [entry] = retail.entries
    event = entry.event
    assert (event.type, event.subject, event.shop) == ("OrderCompleted", "536365", "main")
    assert event.time == datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
    assert (event.received_at, event.person, entry.lines) == (NOW, "17850", 2)
    assert told(event) == {
        "order_id": "536365",
        "currency": "GBP",
        "country": "United Kingdom",
        "products": [
            {"product_id": "85123A", "name": "WHITE LANTERN", "price": "2.55", "quantity": 6},
            {"product_id": "71053", "name": "WHITE LANTERN", "price": "3.39"},
        ],
    }
    assert retail.summary.gross == Decimal("18.69")


def test_an_invoice_is_put_together_from_all_over_the_file(file: Path) -> None:
    retail = read_rows(
        file, row(InvoiceNo="1"), row(InvoiceNo="2"), row(InvoiceNo="1", StockCode="71053")
    )
    assert [(e.event.subject, e.lines) for e in retail.entries] == [("1", 2), ("2", 1)]


def test_an_invoice_with_two_times_has_the_first(file: Path) -> None:
    late, early = "2010-12-01 08:27:00", "2010-12-01 08:26:00"
    retail = read_rows(file, row(InvoiceDate=late), row(InvoiceDate=early))
    assert events(retail)[0].time == datetime(2010, 12, 1, 8, 26, tzinfo=UTC)


def test_lines_that_repeat_exactly_all_count(file: Path) -> None:
    retail = read_rows(file, row(), row(), row())
    assert len(told(events(retail)[0])["products"]) == 3
    assert retail.summary.gross == Decimal("45.90")


def test_stock_corrections_that_repeat_exactly_are_events_of_their_own(file: Path) -> None:
    found = row(UnitPrice="0", CustomerID="")
    retail = read_rows(file, found, found)
    assert len(set(ids(retail))) == 2


def test_bad_debts_that_repeat_exactly_are_events_of_their_own(file: Path) -> None:
    debt = row(InvoiceNo="A563186", Quantity="1", UnitPrice="-11062.06")
    retail = read_rows(file, debt, debt)
    assert len(set(ids(retail))) == 2
    assert retail.summary.adjustments == Decimal("-22124.12")


def test_a_c_invoice_is_a_refund_of_its_own(file: Path) -> None:
    retail = read_rows(file, row(InvoiceNo="C536379", Quantity="-2"))
    [event] = events(retail)
    assert (event.type, event.subject) == ("OrderRefunded", "C536379")
    assert told(event) == {
        "order_id": "C536379",
        "refund_id": "C536379",
        "currency": "GBP",
        "country": "United Kingdom",
        "products": [
            {"product_id": "85123A", "name": "WHITE LANTERN", "price": "2.55", "quantity": 2}
        ],
    }
    assert (retail.summary.refunds, retail.summary.net) == (Decimal("5.10"), Decimal("-5.10"))


def test_a_negative_price_adjusts_the_books(file: Path) -> None:
    [event] = events(
        read_rows(
            file,
            row(
                InvoiceNo="A563186",
                StockCode="B",
                Description="Adjust bad debt",
                Quantity="1",
                UnitPrice="-11062.06",
                CustomerID="",
            ),
        )
    )
    assert (event.type, event.subject, event.person) == ("SalesAdjusted", "A563186", None)
    assert told(event) == {
        "order_id": "A563186",
        "amount": "-11062.06",
        "currency": "GBP",
        "country": "United Kingdom",
        "reason": "Adjust bad debt",
    }


def test_the_one_positive_bad_debt_is_a_sale(file: Path) -> None:
    retail = read_rows(file, row(InvoiceNo="A563185", StockCode="B", UnitPrice="11062.06"))
    assert events(retail)[0].type == "OrderCompleted"


@pytest.mark.parametrize(
    ("quantity", "customer", "description", "change", "reason"),
    [
        ("5", "", "", 5, "stock found"),
        ("5", "", "amazon", 5, "stock found: amazon"),
        ("-5", "", "damaged", -5, "written off: damaged"),
        ("5", "12647.0", "MINT SCALES", -5, "given away: MINT SCALES"),
    ],
)
def test_a_line_without_a_price_corrects_the_stock(
    file: Path, quantity: str, customer: str, description: str, change: int, reason: str
) -> None:
    found = row(Quantity=quantity, UnitPrice="0.0", CustomerID=customer, Description=description)
    [event] = events(read_rows(file, found))
    assert (event.type, event.subject, event.correlation_id) == (
        "StockAdjusted",
        "85123A",
        "536365",
    )
    assert told(event) == {"product_id": "85123A", "quantity": change, "reason": reason}


def test_a_line_without_a_price_leaves_the_rest_of_its_invoice_a_sale(file: Path) -> None:
    retail = read_rows(file, row(), row(StockCode="71053", UnitPrice="0"))
    assert Counter(event.type for event in events(retail)) == {
        "OrderCompleted": 1,
        "StockAdjusted": 1,
    }


def test_events_come_in_order_of_their_time(file: Path) -> None:
    days = ("03", "01", "02")
    retail = read_rows(
        file, *(row(InvoiceNo=day, InvoiceDate=f"2010-12-{day} 09:00:00") for day in days)
    )
    assert [event.subject for event in events(retail)] == ["01", "02", "03"]


def test_times_are_those_of_the_shops_clocks(file: Path) -> None:
    file.write_text(text(row(InvoiceDate="2011-07-01 00:30:00")), newline="")
    [entry] = read(file, ZoneInfo("Europe/London"), "main", NOW).entries
    assert entry.event.time == datetime(2011, 6, 30, 23, 30, tzinfo=UTC)
    assert entry.event.time.utcoffset() == timedelta(0)


# Ids.

SOME = (
    row(),
    row(InvoiceNo="C1", Quantity="-1"),
    row(InvoiceNo="A1", UnitPrice="-1"),
    row(UnitPrice="0", CustomerID=""),
    row(UnitPrice="0", CustomerID=""),
)


def test_the_same_file_gives_the_same_ids_and_fingerprints_whenever_it_is_read(file: Path) -> None:
    first = read_rows(file, *SOME)
    again = read(file, UTC_ZONE, "main", NOW + timedelta(days=1))
    assert ids(first) == ids(again)
    assert [codec.fingerprint(e) for e in events(first)] == [
        codec.fingerprint(e) for e in events(again)
    ]


def test_ids_do_not_depend_on_the_zone(file: Path) -> None:
    first = read_rows(file, *SOME)
    abroad = read(file, ZoneInfo("Asia/Tokyo"), "main", NOW)
    assert sorted(ids(first)) == sorted(ids(abroad))


def test_a_part_of_the_file_gives_the_ids_of_the_whole(file: Path) -> None:
    whole = read_rows(file, *SOME)
    part = read_rows(file, *SOME[1:4])
    assert set(ids(part)) < set(ids(whole))


# What is rejected.


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"Quantity": "some"}, "Quantity", "a whole number"),
        ({"Quantity": ""}, "Quantity", "a whole number"),
        ({"Quantity": "1.5"}, "Quantity", "a whole number"),
        ({"Quantity": "10000001"}, "Quantity", "at most ten millions"),
        ({"Quantity": "0"}, "Quantity", "a quantity of zero"),
        ({"Quantity": "-1"}, "Quantity", "a negative quantity outside a cancellation"),
        ({"InvoiceNo": "C1"}, "Quantity", "a positive quantity in a cancellation"),
        (
            {"InvoiceNo": "C1", "Quantity": "-1", "UnitPrice": "-1"},
            "UnitPrice",
            "a negative price in a cancellation",
        ),
        ({"UnitPrice": "free"}, "UnitPrice", "an amount"),
        ({"UnitPrice": "2.55555"}, "UnitPrice", "at most 4 decimal places, found '2.55555'"),
        ({"UnitPrice": "NaN"}, "UnitPrice", "an amount"),
        ({"UnitPrice": "-999999999999", "Quantity": "9"}, "UnitPrice", "too large"),
        ({"InvoiceDate": "12/1/2010 8:26"}, "InvoiceDate", "a time such as"),
        ({"InvoiceDate": "2010-12-01 08:26:00Z"}, "InvoiceDate", "a time such as"),
        ({"InvoiceDate": "2010-02-30 08:26:00"}, "InvoiceDate", "a time such as"),
        ({"InvoiceDate": "2026-03-01 12:05:01"}, "InvoiceDate", "until now"),
        ({"InvoiceDate": "1969-12-31 23:59:59"}, "InvoiceDate", "from 1970"),
        ({"StockCode": ""}, "StockCode", "1 to 128 characters"),
        ({"InvoiceNo": ""}, "InvoiceNo", "1 to 128 characters"),
        ({"Description": "x" * 513}, "Description", "at most 512 characters"),
        ({"Country": "x" * 65}, "Country", "at most 64 characters"),
    ],
)
def test_a_line_that_makes_no_sense_is_rejected_with_its_reason(
    file: Path, changes: dict[str, str], field: str, reason: str
) -> None:
    retail = read_rows(file, row(), row(**changes))
    assert len(retail.entries) == 1
    [rejected] = retail.summary.rejected
    assert (rejected.line, rejected.field) == (3, field)
    assert reason in rejected.reason
    assert retail.summary.lines_by_kind[Kind.OTHER] == 1


@pytest.mark.parametrize("wrong", [row()[:-1], [*row(), "more"], ["only"]])
def test_a_line_with_another_number_of_fields_is_rejected(file: Path, wrong: list[str]) -> None:
    retail = read_rows(file, row(), wrong)
    assert retail.summary.rejected == [Rejected(3, "", "not as many fields as the header names")]


def test_a_rejected_line_is_named_by_its_number_in_the_file(file: Path) -> None:
    retail = read_rows(file, row(Description="two\nlines"), row(Quantity="?"))
    assert [rejected.line for rejected in retail.summary.rejected] == [4]


def test_an_invoice_too_large_for_one_event_is_rejected_line_by_line(file: Path) -> None:
    long = row(InvoiceNo="long", Description="x" * 500)
    retail = read_rows(file, *[long] * 2_000, row())
    assert retail.summary.lines_by_kind[Kind.OTHER] == 2_000
    assert retail.summary.gross == Decimal("15.30")


NASTY = {
    "InvoiceNo": ("1", "2", "C3", "A4", "", "C", "x" * 129, "ÿ\u2028"),
    "StockCode": ("1", "2", "", " ", "x" * 128),
    "Description": ("", " ", "a", 'q"u,o\nte', "x" * 512, "x" * 513),
    "Quantity": ("1", "-1", "0", "", "1e3", "10000000", "-10000000", "10000001", "x"),
    "InvoiceDate": ("2010-12-01 08:26:00", "2026-03-01 12:04:59", "0001-01-01 00:00:00", ""),
    "UnitPrice": ("0", "-0", "2.55", "-1", "0.001", "1e-9", "999999999999.9999", "1e400", "x"),
    "CustomerID": ("", "17850.0", ".0", "x" * 129),
    "Country": ("", "EIRE", "x" * 65),
}
nasty_rows = st.lists(st.tuples(*(st.sampled_from(values) for values in NASTY.values())))


@given(rows=nasty_rows, zone=st.sampled_from(("UTC", "Pacific/Kiritimati", "America/New_York")))
def test_every_line_is_accounted_for_and_every_event_is_valid(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]], zone: str
) -> None:
    file = tmp_path_factory.mktemp("nasty") / "retail.csv"
    file.write_text(text(*rows), newline="")
    entries, summary = read(file, ZoneInfo(zone), "main", NOW)
    assert summary.lines == len(rows) == sum(summary.lines_by_kind.values())
    assert sum(entry.lines for entry in entries) + len(summary.rejected) == len(rows)
    assert len({entry.event.id for entry in entries}) == len(entries)
    for event, _ in entries:
        again = codec.decode_envelope(codec.encode(event))
        codec.decode_data(again, VOCABULARY[event.type].topic)


# Files.


def test_a_compressed_file_is_the_same_file(file: Path) -> None:
    plain = read_rows(file, *SOME)
    packed = file.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert read_file(packed) == plain


def test_columns_may_stand_in_any_order_beside_others_and_after_a_byte_order_mark(
    file: Path,
) -> None:
    header, fields = [*reversed([*COLUMNS]), "Till"], [*reversed(row()), "7"]
    file.write_text("\ufeff" + text(fields, header=header), newline="", encoding="utf-8")
    assert ids(read_file(file)) == ids(read_rows(file, row()))


def test_blank_lines_are_no_lines(file: Path) -> None:
    file.write_text(text(row()) + "\r\n\r\n", newline="")
    assert read_file(file).summary.lines == 1


def test_a_file_with_nothing_but_its_header_holds_nothing(file: Path) -> None:
    retail = read_rows(file)
    assert not retail.entries
    assert (retail.summary.lines, retail.summary.gross) == (0, Decimal(0))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "line 1: the header has no InvoiceNo, StockCode"),
        (b"a,b\r\n1,2\r\n", "line 1: the header has no InvoiceNo"),
        (
            text(row(), row(Description="POUND \xa3")).encode("latin-1"),
            "line 3, Description: not UTF-8 (byte 0xa3)",
        ),
        (text(row()).encode() + b"1,2\0,3\r\n", "line 3: a NUL character"),
        (text(row()).encode() + b'1,"2,3\r\n4,5', "unexpected end of data"),
    ],
)
def test_another_kind_of_file_is_refused_with_the_place_and_the_reason(
    file: Path, content: bytes, reason: str
) -> None:
    file.write_bytes(content)
    with pytest.raises(Unreadable) as refused:
        read_file(file)
    assert str(refused.value).startswith("retail.csv, ")
    assert reason in str(refused.value)


@pytest.mark.parametrize("cut", [0, 1])
def test_a_broken_gzip_file_is_refused(tmp_path: Path, cut: int) -> None:
    whole = gzip.compress(text(*[row()] * 1_000).encode())
    file = tmp_path / "retail.csv.gz"
    file.write_bytes(whole[: len(whole) // 2] if cut else b"InvoiceNo,StockCode")
    with pytest.raises(Unreadable, match="not a whole gzip file"):
        read_file(file)


def test_a_missing_file_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "nothing.csv")


# Ten months of a real shop.


@pytest.fixture(scope="module")
def facts(data: Path) -> Any:
    return json.loads((data / "online_retail_2010-12_2011-09.facts.json").read_text())


@pytest.fixture(scope="module")
def retail(data: Path) -> Retail:
    return read_file(data / "online_retail_2010-12_2011-09.csv.gz")


Sold = tuple[Event, str, dict[str, Any], Decimal]


@pytest.fixture(scope="module")
def sold(retail: Retail) -> list[Sold]:
    """Each line of each order: its event, country, fields, and amount."""
    return [
        (event, data["country"], line, Decimal(line["price"]) * line.get("quantity", 1))
        for event in events(retail)
        if event.type == "OrderCompleted"
        for data in [told(event)]
        for line in data["products"]
    ]


def test_every_line_of_the_real_file_is_accounted_for(retail: Retail, facts: Any) -> None:
    summary = retail.summary
    assert summary.lines == facts["rows"]
    assert summary.lines_by_kind == facts["lines_by_kind"]
    assert summary.rejected == []
    assert sum(entry.lines for entry in retail.entries) == facts["rows"]
    assert len(set(ids(retail))) == len(retail.entries)
    assert (
        len({event.correlation_id or event.subject for event in events(retail)})
        == (facts["invoices"])
    )


def test_the_summary_of_the_real_file_is_exact(retail: Retail, facts: Any) -> None:
    summary = retail.summary
    assert summary.gross == Decimal(facts["gross"])
    assert summary.refunds == Decimal(facts["refunds"])
    assert summary.net == Decimal(facts["net_of_refunds"])
    assert summary.adjustments == Decimal(facts["bad_debt_adjustments_negative_price_lines"])
    assert summary.net + summary.adjustments == Decimal(facts["net_sum_quantity_times_price"])


def totals(amounts: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    """Each key's sum, the largest first."""
    found: dict[str, Decimal] = {}
    for key, amount in amounts:
        found[key] = found.get(key, Decimal(0)) + amount
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def exact(told: Iterable[tuple[str, str | int]]) -> list[tuple[str, Decimal]]:
    """Amounts as the facts file tells them."""
    return [(key, Decimal(amount)) for key, amount in told]


def test_the_events_of_the_real_file_add_up_by_month(sold: list[Sold], facts: Any) -> None:
    by_month = totals((f"{event.time:%Y-%m}", amount) for event, _, _, amount in sold)
    assert by_month == dict(exact(facts["positive_revenue_by_month"].items()))


def test_the_events_of_the_real_file_add_up_by_country(sold: list[Sold], facts: Any) -> None:
    by_country = totals((country, amount) for _, country, _, amount in sold)
    assert [*by_country.items()][:5] == exact(facts["top5_countries_by_positive_revenue"])


def test_the_events_of_the_real_file_add_up_by_product(sold: list[Sold], facts: Any) -> None:
    revenue = totals((line["product_id"], amount) for _, _, line, amount in sold)
    assert [*revenue.items()][:5] == exact(facts["top5_products_by_positive_revenue"])
    units = totals((line["product_id"], Decimal(line.get("quantity", 1))) for _, _, line, _ in sold)
    assert [*units.items()][:5] == exact(facts["top5_products_by_positive_units"])


def test_the_refunds_of_the_real_file_add_up(retail: Retail, facts: Any) -> None:
    refunded = sum(
        Decimal(line["price"]) * line.get("quantity", 1)
        for event in events(retail)
        if event.type == "OrderRefunded"
        for line in told(event)["products"]
    )
    assert refunded == Decimal(facts["refunds"])


def test_every_event_of_the_real_file_fits_into_a_record_and_is_valid(retail: Retail) -> None:
    for event in events(retail):
        assert len(codec.encode(event)) < 256 * 1024
        codec.decode_data(event, VOCABULARY[event.type].topic)


def test_the_customers_of_the_real_file_are_known_by_their_numbers(
    retail: Retail, facts: Any
) -> None:
    persons = {event.person for event in events(retail) if event.person}
    assert len(persons) == facts["identified_customers"]
    assert all(person.isdecimal() for person in persons)
