"""Captured events: read back to the byte, into the shop that they are played into."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from streams import codec
from streams.captured import CAPTURED_TOPICS, parse, read, topics_named
from streams.codec import Refused
from streams.csv_file import Unreadable
from streams.events import SHOP, Event
from streams.past import Tally

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def value(**changes: Any) -> bytes:
    event = {
        "id": "e-1",
        "type": "OrderShipped",
        "shop": "main",
        "subject": "o-1",
        "time": AT.isoformat(),
        "received_at": AT.isoformat(),
        "data": {"order_id": "o-1"},
    }
    return json.dumps(event | changes).encode()


def read_lines(file: Path, *lines: bytes, shop: str = "main") -> tuple[list[Event], Tally]:
    file.write_bytes(b"\n".join(lines))
    past = read(file, shop)
    return [entry.event for entry in past.entries], past.tally


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def test_an_event_comes_back_as_it_was_in_the_order_of_the_file(file: Path) -> None:
    late = value(id="e-0", time="2020-01-01T00:00:00Z")
    found, tally = read_lines(file, value(), b"", late)
    assert found == [codec.decode_envelope(value()), codec.decode_envelope(late)]
    assert (tally.lines, tally.events_by_kind) == (2, {"OrderShipped": 2})


def test_line_breaks_within_an_event_are_kept_for_its_fingerprint(file: Path) -> None:
    pretty = value().replace(b'{"order_id"', b'{\n "order_id"')
    [event], _ = read_lines(file, json.dumps(pretty.decode()).encode())
    assert codec.fingerprint(event) == codec.fingerprint(codec.decode_envelope(pretty))
    assert codec.fingerprint(event) != codec.fingerprint(codec.decode_envelope(value()))


def test_played_into_another_shop_an_event_keeps_its_id_and_leaves_what_was_sealed() -> None:
    sealed = value(sealed="c2VhbGVk", person="p-1")
    same, other = parse(sealed, "main"), parse(sealed, "copy")
    assert (same.shop, same.sealed) == ("main", "c2VhbGVk")
    assert (other.shop, other.id, other.person, other.sealed) == ("copy", "e-1", "p-1", None)


def test_what_a_command_decided_is_played_as_news_that_no_state_is_made_of() -> None:
    """It has the fingerprint that it had, so that where it came from it still counts once."""
    decided = value(source=SHOP)
    for shop in "main", "copy":
        event = parse(decided, shop)
        assert event.source != SHOP
        assert codec.fingerprint(event) == codec.fingerprint(codec.decode_envelope(decided))
    assert parse(value(source="till-7"), "copy").source == "till-7"


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"{", ""),
        (b'"unfinished', ""),
        (b"[]", ""),
        (b"\xff", ""),
        (value(type="NeverHappened"), "type"),
        (value(version=99), "version"),
        (value(data={"order_id": "o-1", "colour": "red"}), "data.colour"),
        (value(time="2026-03-01T12:06:00Z"), "time"),
        (value(type="DayClosed", data={"date": "2026-01-01"}), "type"),
    ],
)
def test_what_is_no_event_to_be_played_is_rejected(file: Path, line: bytes, field: str) -> None:
    found, tally = read_lines(file, value(), line)
    assert len(found) == 1
    [rejected] = tally.rejected
    assert (rejected.line, rejected.field) == (2, field)
    assert rejected.reason
    with pytest.raises(Refused):
        parse(line, "main")


def test_a_broken_gzip_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl.gz"
    file.write_bytes(gzip.compress(value() * 1000)[:60])
    with pytest.raises(Unreadable, match="not a whole gzip file"):
        [*read(file, "main").entries]


def test_topics_are_those_there_are() -> None:
    assert topics_named(["orders", "carts"]) == ["orders", "carts"]
    assert "days" not in CAPTURED_TOPICS
    with pytest.raises(ValueError, match="unknown topic 'cats'; there are interactions"):
        topics_named(["cats"])
