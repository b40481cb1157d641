"""Retailrocket files: every line part of an event or rejected, and no price made up."""

import csv
import gzip
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
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
from streams.retailrocket import COLUMNS, read

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
USUAL = {
    "timestamp": "2015-05-22 11:11:29.255",
    "visitorid": "21610",
    "event": "0",
    "itemid": "107535",
    "transactionid": "",
}
BOUGHT = {"event": "2", "transactionid": "11202"}


def row(**changes: str) -> list[str]:
    return list((USUAL | changes).values())


def text(*rows: Sequence[str], header: Sequence[str] = tuple(COLUMNS)) -> str:
    written = io.StringIO()
    csv.writer(written).writerows([header, *rows])
    return written.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.csv"


def read_file(file: Path) -> tuple[list[Event], Tally]:
    past = read(file, "main", NOW)
    return [entry.event for entry in past.entries], past.tally


def read_rows(file: Path, *rows: Sequence[str]) -> tuple[list[Event], Tally]:
    file.write_text(text(*rows), newline="")
    return read_file(file)


def told(event: Event) -> Any:
    return msgspec.json.decode(event.data)


def test_views_and_carts_are_their_visitors(file: Path) -> None:
    [viewed, added], _ = read_rows(file, row(), row(event="addtocart"))
    assert (viewed.type, viewed.subject, viewed.person) == ("ProductViewed", "21610", "21610")
    assert viewed.time == datetime(2015, 5, 22, 11, 11, 29, 255_000, tzinfo=UTC)
    assert told(viewed) == {"product_id": "107535"}
    assert (added.type, added.subject) == ("ProductAdded", "21610")
    assert told(added) == {"cart_id": "21610", "product_id": "107535"}


def test_a_transaction_is_one_order_from_all_over_the_file_at_its_first_time(file: Path) -> None:
    found, tally = read_rows(
        file,
        row(**BOUGHT, timestamp="2015-05-22 11:11:30.008"),
        row(timestamp="2015-05-23 00:00:00.000"),
        row(**BOUGHT, itemid="44986"),
    )
    assert [event.type for event in found] == ["OrderCompleted", "ProductViewed"]
    assert (found[0].subject, found[0].time.second) == ("11202", 29)
    assert told(found[0]) == {
        "order_id": "11202",
        "currency": "XXX",
        "products": [
            {"product_id": "44986", "price": "0.00"},
            {"product_id": "107535", "price": "0.00"},
        ],
    }
    assert tally.lines_by_kind == {"transaction": 2, "view": 1}


def test_times_may_be_milliseconds_and_events_words_as_published(file: Path) -> None:
    found, _ = read_rows(file, row(), row(timestamp="1432293089255", event="view"))
    assert found[0].time == found[1].time
    assert found[0].data == found[1].data
    assert found[0].id != found[1].id


def test_the_same_file_gives_the_same_ids_and_fingerprints_in_any_order(file: Path) -> None:
    rows = [row(), row(), row(**BOUGHT), row(event="1")]
    first, _ = read_rows(file, *rows)
    again, _ = read_rows(file, *reversed(rows))
    later = [entry.event for entry in read(file, "main", NOW + timedelta(days=1)).entries]
    assert {e.id: codec.fingerprint(e) for e in first} == {
        e.id: codec.fingerprint(e) for e in again
    }
    assert [(e.id, codec.fingerprint(e)) for e in again] == [
        (e.id, codec.fingerprint(e)) for e in later
    ]
    assert len({event.id for event in first}) == 4


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"timestamp": "yesterday"}, "timestamp", "milliseconds since 1970"),
        ({"timestamp": "9" * 30}, "timestamp", "milliseconds since 1970"),
        ({"timestamp": "2026-03-01 12:05:01"}, "timestamp", "until now"),
        ({"timestamp": "1969-12-31 23:59:59"}, "timestamp", "from 1970"),
        ({"visitorid": ""}, "visitorid", "1 to 128"),
        ({"event": "3"}, "event", "view, addtocart or transaction"),
        ({"event": ""}, "event", "view, addtocart or transaction"),
        ({"itemid": ""}, "itemid", "1 to 128"),
        ({"event": "2"}, "transactionid", "a transaction without its id"),
        ({"transactionid": "7"}, "transactionid", "no transaction has one"),
        (BOUGHT | {"visitorid": "8"}, "transactionid", "another visitor's, 21610, on line 2"),
        (BOUGHT | {"transactionid": "x" * 129}, "transactionid", "at most 128"),
    ],
)
def test_a_line_that_makes_no_sense_is_rejected_with_its_reason(
    file: Path, changes: dict[str, str], field: str, reason: str
) -> None:
    found, tally = read_rows(file, row(**BOUGHT), row(**changes))
    assert len(found) == 1
    [rejected] = tally.rejected
    assert (rejected.line, rejected.field) == (3, field)
    assert reason in rejected.reason


@pytest.mark.parametrize("wrong", [row()[:-1], [*row(), "more"], ["only"]])
def test_a_line_with_another_number_of_fields_is_rejected(file: Path, wrong: list[str]) -> None:
    _, tally = read_rows(file, row(), wrong)
    assert tally.rejected == [Rejected(3, "", "not as many fields as the header names")]


def test_another_kind_of_file_is_refused_with_the_place_and_the_reason(file: Path) -> None:
    file.write_bytes(b"a,b\r\n1,2\r\n")
    with pytest.raises(Unreadable, match=r"events\.csv, line 1: the header has no timestamp"):
        read_file(file)


NASTY = {
    "timestamp": ("2015-05-22 11:11:29.255", "1432293089255", "", "-1", "0"),
    "visitorid": ("1", "2", ""),
    "event": ("0", "1", "2", "view", "9"),
    "itemid": ("1", "", "ÿ\u2028"),
    "transactionid": ("", "1", "2"),
}


@given(rows=st.lists(st.tuples(*(st.sampled_from(values) for values in NASTY.values()))))
def test_every_line_is_accounted_for_and_every_event_is_valid(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]]
) -> None:
    file = tmp_path_factory.mktemp("nasty") / "events.csv"
    file.write_text(text(*rows), newline="")
    past = read(file, "main", NOW)
    entries = [*past.entries]
    assert past.tally.lines == len(rows)
    assert sum(entry.lines for entry in entries) + len(past.tally.rejected) == len(rows)
    assert len({entry.event.id for entry in entries}) == len(entries) == past.tally.events
    times = [entry.event.time for entry in entries]
    assert times == sorted(times)
    for event, _ in entries:
        again = codec.decode_envelope(codec.encode(event))
        codec.decode_data(again, VOCABULARY[event.type].topic)


def test_the_real_file_adds_up(data: Path) -> None:
    name = data / "retailrocket_sample_5169.csv.gz"
    found, tally = read_file(name)
    with gzip.open(name, "rt", newline="") as lines:
        rows = [*csv.DictReader(lines)]
    assert tally.rejected == []
    assert tally.lines == len(rows) == 5_169
    bought: dict[str, Counter[str]] = defaultdict(Counter)
    for line in rows:
        if line["event"] == "2":
            bought[line["transactionid"]][line["itemid"]] += 1
    sold = {
        event.subject: Counter(line["product_id"] for line in told(event)["products"])
        for event in found
        if event.type == "OrderCompleted"
    }
    assert sold == bought
    acts = Counter(event.type for event in found)
    assert (acts["ProductViewed"], acts["ProductAdded"]) == (4_732, 377)
