"""The checker of chaos runs: what it must notice, and its recount beside the books of the tests."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice

import pytest

from loadtests.chaos.history import Operation, Outcome, _body, body, promises
from loadtests.chaos.records import Fate, Judge, Judged, Record
from loadtests.chaos.recount import recount, shared
from loadtests.chaos.served import Tally, compare_names
from loadtests.chaos.traffic import MUCH, poison, traffic
from streams import codec
from streams.batch import Partition
from streams.dedupe import Window
from streams.events import Event
from streams.records import decode_part
from streams.topics import key_of, partition_of
from tests import sales
from tests.simulated import SimulatedLog

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
PARTITIONS = 3


def sent(count: int, seed: int = 3) -> list[Event]:
    """Events of a run as the API would write them to the log."""
    events = []
    for told in islice(traffic("t", "main", seed, NOW, MUCH), count):
        data = told["data"]
        at = told.get("time") or NOW.isoformat()
        more = {"subject": data["order_id"], "received_at": NOW.isoformat(), "time": at}
        events.append(codec.decode_envelope(json.dumps(told | more).encode()))
    return events


def logged(events: list[Event]) -> SimulatedLog:
    log = SimulatedLog(PARTITIONS)
    for event in events:
        key = key_of(event)
        log.append(partition_of(key, PARTITIONS), key, codec.encode(event))
    for raw in islice(poison("t", "main", 1, NOW, PARTITIONS), 69):
        log.append(*raw)
    return log


def raw(log: SimulatedLog, number: int) -> list[Record]:
    return [Record(number, n, *record) for n, record in enumerate(log.records[number])]


@pytest.mark.parametrize("window", [5, 50, 100_000])
def test_the_judge_and_the_reader_agree_on_every_record(window: int) -> None:
    log, judge = logged(sent(1_500)), Judge(PARTITIONS, window)
    fates: list[Fate] = []
    for number in range(PARTITIONS):
        partition, read = Partition("orders", number), raw(log, number)
        part = decode_part(partition, log.stretch(number, 0, len(read)), Window(window), PARTITIONS)
        judged = judge.judge(read)
        assert [fact.offset for fact in part.facts] == offsets(judged, Fate.COUNTS)
        assert list(part.repeated) == offsets(judged, Fate.REPEATED)
        assert [one.offset for one in part.quarantined] == offsets(judged, Fate.QUARANTINED)
        fates += [one.fate for one in judged]
    assert min(fates.count(fate) for fate in Fate) > 2


def offsets(judged: list[Judged], fate: Fate) -> list[int]:
    return [one.record.offset for one in judged if one.fate is fate]


def test_two_recounts_that_know_nothing_of_each_other_agree() -> None:
    events = list({event.id: event for event in sent(2_000)}.values())
    log, judge = logged(events), Judge(PARTITIONS, 100_000)
    judged = [one for number in range(PARTITIONS) for one in judge.judge(raw(log, number))]
    books = recount(
        e for _, fate, e in judged if fate is Fate.COUNTS and e and "poison" not in e["id"]
    )
    revenue, best = sales.recount(events)
    assert len(revenue) > 300
    assert revenue == {
        (shop, dimension, int(hour.timestamp()), key, currency): units(measures)
        for (shop, dimension, hour, key, currency), measures in books.revenue.items()
    }
    assert best == {
        key: found
        for key, measures in books.best_sellers.items()
        if (found := units({n: v for n, v in measures.items() if n != "adjustments"}))
    }


def units(measures: dict[str, Decimal]) -> dict[str, int]:
    money = ("gross", "discounts", "refunds", "adjustments")
    return {name: int(v * 10_000) if name in money else int(v) for name, v in measures.items()}


def test_what_is_shared_out_adds_up() -> None:
    amount, weights = Decimal("1.0000"), [Decimal(1), Decimal(1), Decimal(1)]
    assert shared(amount, weights) == [Decimal("0.3334"), Decimal("0.3333"), Decimal("0.3333")]


def test_an_acknowledged_event_that_is_not_there_is_missing() -> None:
    log, judge = logged(sent(20)), Judge(PARTITIONS, 100)
    judged = [one for number in range(PARTITIONS) for one in judge.judge(raw(log, number))]
    there = next(one for one in judged if one.event and one.fate is Fate.COUNTS)
    assert there.event is not None
    ids, at = [there.event["id"]], f"orders:{there.record.partition}:{there.record.offset}"
    written = [(one.event["shop"], one.event["id"]) for one in judged if one.event]
    kept = Operation("main", ids, Outcome.OK, [at])
    broken = Operation("main", ["another"], Outcome.OK, [at])
    unknown = Operation("main", ["maybe"], Outcome.UNKNOWN)
    found = promises([kept, broken, unknown], judged, written)
    assert found.missing == [f"main another at {at}"]
    assert found.uncalled == []
    assert found.outcomes == {Outcome.OK: 2, Outcome.UNKNOWN: 1}
    refused = Operation("main", ids, Outcome.FAILED)
    said = Operation("main", ids, Outcome.OK, [at], [_body(there.event)])
    other = Operation("main", ids, Outcome.OK, [at], [body("OrderPaid", {"order_id": "o"}, None)])
    assert promises([said], judged, written).missing == []
    assert promises([other], judged, written).missing == [f"main at {at} as it was said"]
    others = [name for name in written if name[1] not in ids]
    assert promises([refused, kept], judged, others).uncalled == []
    assert promises([refused], judged, others).uncalled == [f"main {ids[0]}"]


def test_what_is_said_in_another_way_is_the_same() -> None:
    sent = {"order_id": "o", "products": [{"price": 7.5, "quantity": 1}], "total": "1.0"}
    kept = {"total": 1, "order_id": "o", "products": [{"price": "7.5000"}], "currency": "EUR"}
    assert body("OrderPlaced", sent, NOW) == body("OrderPlaced", kept, NOW)
    assert body("OrderPlaced", sent, NOW) != body("OrderPlaced", sent, None)
    assert body("OrderPlaced", sent, NOW) != body("OrderPlaced", {**sent, "total": "1.1"}, NOW)


def test_a_figure_that_is_missing_too_many_or_other_is_a_difference() -> None:
    tally = Tally()
    tally.compare("here", {"a": {"x": 1}, "b": 2}, {"b": 3, "c": 4})
    assert tally.figures == 3
    assert sorted(one.what for one in tally.differences) == ["a", "b", "c"]


def test_a_product_is_to_bear_one_of_its_names() -> None:
    log, judge = logged(sent(200)), Judge(PARTITIONS, 100_000)
    judged = judge.judge(raw(log, 0))
    books = recount(e for _, fate, e in judged if fate is Fate.COUNTS and e)
    (shop, product), names = next((key, names) for key, names in books.names.items() if all(names))
    tally = Tally()
    compare_names(tally, "here", books, {(shop, product): min(names)})
    assert (tally.figures, tally.differences) == (1, [])
    for wrong in (None, "", "another", "product-00"):
        compare_names(tally, "here", books, {(shop, product): wrong})
    compare_names(tally, "here", books, {(shop, "nobody's"): "another"})
    assert len(tally.differences) == 5
