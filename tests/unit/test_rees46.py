"""REES46 files: read as they come, every line part of an event or rejected, whatever it holds."""

import csv
import gzip
import io
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import codec
from streams.csv_file import Rejected, Unreadable
from streams.events import VOCABULARY, Event
from streams.past import Tally
from streams.rees46 import COLUMNS, read

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
USUAL = {
    "event_time": "2019-10-01 00:02:14 UTC",
    "event_type": "view",
    "product_id": "1004856",
    "category_id": "2053013555631882655",
    "category_code": "electronics.smartphone",
    "brand": "samsung",
    "price": "130.76",
    "user_id": "543272936",
    "user_session": "8187d148",
}
LATER = {"event_time": "2019-10-01 00:02:15 UTC"}


def row(**changes: str) -> list[str]:
    return list((USUAL | changes).values())


def text(*rows: Sequence[str], header: Sequence[str] = tuple(COLUMNS)) -> str:
    written = io.StringIO()
    csv.writer(written).writerows([header, *rows])
    return written.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "2019-Oct.csv"


def read_file(file: Path) -> tuple[list[Event], Tally]:
    past = read(file, "main", NOW, "EUR")
    return [entry.event for entry in past.entries], past.tally


def read_rows(file: Path, *rows: Sequence[str]) -> tuple[list[Event], Tally]:
    file.write_text(text(*rows), newline="")
    return read_file(file)


def told(event: Event) -> Any:
    return msgspec.json.decode(event.data)


def test_a_view_is_about_its_visitor(file: Path) -> None:
    [event], tally = read_rows(file, row())
    assert (event.type, event.subject, event.person) == ("ProductViewed", "543272936", "543272936")
    assert event.time == datetime(2019, 10, 1, 0, 2, 14, tzinfo=UTC)
    assert (event.shop, event.received_at, event.source) == ("main", NOW, "rees46")
    assert told(event) == {
        "product_id": "1004856",
        "category": "electronics.smartphone",
        "brand": "samsung",
        "price": "130.76",
        "currency": "EUR",
    }
    assert (tally.lines, tally.events) == (1, 1)


@pytest.mark.parametrize(
    ("act", "event_type"), [("cart", "ProductAdded"), ("remove_from_cart", "ProductRemoved")]
)
def test_a_cart_is_its_sessions(file: Path, act: str, event_type: str) -> None:
    [event], _ = read_rows(file, row(event_type=act))
    assert (event.type, event.subject, told(event)["cart_id"]) == (
        event_type,
        "8187d148",
        "8187d148",
    )


def test_without_a_session_the_visitor_stands_for_it(file: Path) -> None:
    [added, sale], _ = read_rows(
        file, row(event_type="cart", user_session=""), row(event_type="purchase", user_session="")
    )
    assert added.subject == "543272936"
    assert sale.subject == "543272936-1569888134"


def test_what_is_not_known_is_not_told(file: Path) -> None:
    [event], _ = read_rows(file, row(category_code="", brand="", price="0.00"))
    assert told(event) == {
        "product_id": "1004856",
        "category": "2053013555631882655",
        "currency": "EUR",
    }


def test_what_a_session_purchases_within_a_second_is_one_order(file: Path) -> None:
    found, tally = read_rows(
        file,
        row(event_type="purchase"),
        row(event_type="purchase", user_session="other"),
        row(),
        row(event_type="purchase", product_id="2", price="0.01"),
        row(event_type="purchase", **LATER),
    )
    assert [(event.type, event.subject) for event in found] == [
        ("ProductViewed", "543272936"),
        ("OrderCompleted", "8187d148-1569888134"),
        ("OrderCompleted", "other-1569888134"),
        ("OrderCompleted", "8187d148-1569888135"),
    ]
    assert [line["product_id"] for line in told(found[1])["products"]] == ["1004856", "2"]
    assert tally.lines_by_kind == {"view": 1, "purchase": 4}
    assert tally.events_by_kind == {"view": 1, "purchase": 3}
    assert tally.amounts["purchase"] == 3 * 1_307_600 + 100


def test_lines_that_repeat_exactly_are_events_of_their_own(file: Path) -> None:
    found, _ = read_rows(file, row(), row(), row(**LATER))
    assert len({event.id for event in found}) == 3


def test_the_same_file_gives_the_same_ids_and_fingerprints(file: Path) -> None:
    rows = [row(), row(), row(event_type="purchase"), row(**LATER)]
    first, _ = read_rows(file, *rows)
    again = [entry.event for entry in read(file, "main", NOW + timedelta(days=1), "EUR").entries]
    assert [event.id for event in first] == [event.id for event in again]
    assert [*map(codec.fingerprint, first)] == [*map(codec.fingerprint, again)]


def test_nothing_is_read_before_it_is_taken(file: Path) -> None:
    past = read(file, "main", NOW, "EUR")
    file.write_text(text(row(), row(**LATER)), newline="")
    entries = iter(past.entries)
    next(entries)
    assert past.tally.lines == 1


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"event_time": "1.10.2019"}, "event_time", "a time such as"),
        ({"event_time": ""}, "event_time", "a time such as"),
        ({"event_time": "2026-03-01 12:05:01 UTC"}, "event_time", "until now"),
        ({"event_time": "1969-12-31 23:59:59 UTC"}, "event_time", "from 1970"),
        ({"event_time": "2019-10-01 00:02:13 UTC"}, "event_time", "earlier than a line before"),
        ({"event_type": "wish"}, "event_type", "view, cart, remove_from_cart or purchase"),
        ({"product_id": ""}, "product_id", "1 to 128"),
        ({"category_id": "x" * 129}, "category_id", "at most 128"),
        ({"brand": "x" * 513}, "brand", "at most 512"),
        ({"price": "-1"}, "price", "zero or more"),
        ({"price": "free"}, "price", "found 'free'"),
        ({"price": "1.23456"}, "price", "at most 4 decimal places"),
        ({"event_type": "purchase", "price": "0.00"}, "price", "a purchase without a price"),
        ({"user_id": ""}, "user_id", "1 to 128"),
        ({"user_session": "x" * 101}, "user_session", "at most 100"),
    ],
)
def test_a_line_that_makes_no_sense_is_rejected_with_its_reason(
    file: Path, changes: dict[str, str], field: str, reason: str
) -> None:
    found, tally = read_rows(file, row(), row(**changes))
    assert len(found) == 1
    [rejected] = tally.rejected
    assert (rejected.line, rejected.field) == (3, field)
    assert reason in rejected.reason


@pytest.mark.parametrize("wrong", [row()[:-1], [*row(), "more"], ["only"]])
def test_a_line_with_another_number_of_fields_is_rejected(file: Path, wrong: list[str]) -> None:
    _, tally = read_rows(file, row(), wrong)
    assert tally.rejected == [Rejected(3, "", "not as many fields as the header names")]


NASTY = {
    "event_time": ("2019-10-01 00:02:14 UTC", "2019-10-01 00:02:15 UTC", "", "0001-01-01 00:00:00"),
    "event_type": ("view", "cart", "remove_from_cart", "purchase", ""),
    "product_id": ("1", "", " ", "x" * 128),
    "category_id": ("", "2"),
    "category_code": ("", "a.b", 'q"u,o\nte'),
    "brand": ("", "ÿ\u2028"),
    "price": ("0.00", "1e-9", "999999999999.9999", "1e400", "2.5"),
    "user_id": ("", "1"),
    "user_session": ("", "a", "b"),
}


@given(rows=st.lists(st.tuples(*(st.sampled_from(values) for values in NASTY.values()))))
def test_every_line_is_accounted_for_and_every_event_is_valid(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]]
) -> None:
    file = tmp_path_factory.mktemp("nasty") / "events.csv"
    file.write_text(text(*rows), newline="")
    past = read(file, "main", NOW, "EUR")
    entries = [*past.entries]
    assert past.tally.lines == len(rows)
    assert sum(entry.lines for entry in entries) + len(past.tally.rejected) == len(rows)
    assert len({entry.event.id for entry in entries}) == len(entries) == past.tally.events
    times = [entry.event.time for entry in entries]
    assert times == sorted(times)
    for event, _ in entries:
        again = codec.decode_envelope(codec.encode(event))
        codec.decode_data(again, VOCABULARY[event.type].topic)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a,b\r\n1,2\r\n", "line 1: the header has no event_time"),
        (text(row(), row(brand="\xa3")).encode("latin-1"), "line 3, brand: not UTF-8"),
    ],
)
def test_another_kind_of_file_is_refused_with_the_place_and_the_reason(
    file: Path, content: bytes, reason: str
) -> None:
    file.write_bytes(content)
    with pytest.raises(Unreadable, match=reason):
        read_file(file)


def test_the_real_file_adds_up(data: Path) -> None:
    name = data / "rees46_2019-10-01_head.csv.gz"
    found, tally = read_file(name)
    with gzip.open(name, "rt", newline="") as lines:
        rows = [*csv.DictReader(lines)]
    acts = Counter(line["event_type"] for line in rows)
    assert tally.lines == len(rows) == 17_434
    assert (tally.rejected, tally.lines_by_kind) == ([], acts)
    sold = [line for e in found if e.type == "OrderCompleted" for line in told(e)["products"]]
    bought = [line for line in rows if line["event_type"] == "purchase"]
    assert Counter((line["product_id"], Decimal(line["price"])) for line in sold) == Counter(
        (line["product_id"], Decimal(line["price"])) for line in bought
    )
    assert len({event.id for event in found}) == len(found)
