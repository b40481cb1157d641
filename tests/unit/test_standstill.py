"""When a reader counts as stuck."""

from app.watchdog import Standstill
from streams.batch import Partition

ONE, TWO = Partition("orders", 1), Partition("orders", 2)


def test_who_waits_for_work_is_never_stuck() -> None:
    standstill = Standstill(10)
    assert [standstill.look({}, float(now)) for now in range(100)] == [[]] * 100


def test_who_moves_however_slowly_is_not_stuck() -> None:
    standstill = Standstill(10)
    assert [standstill.look({ONE: now // 8}, float(now)) for now in range(100)] == [[]] * 100


def test_a_partition_that_stands_still_is_named_though_another_moves() -> None:
    standstill = Standstill(10)
    for now in range(10):
        assert standstill.look({ONE: now, TWO: 7}, float(now)) == []
    assert standstill.look({ONE: 10, TWO: 7}, 10.0) == [TWO]


def test_what_was_not_seen_does_not_count() -> None:
    """Kafka or Postgres was away, or the partition was another's meanwhile."""
    standstill = Standstill(10)
    assert standstill.look({ONE: 7}, 0.0) == []
    assert standstill.look({}, 5.0) == []
    assert standstill.look({ONE: 7}, 11.0) == []
    assert standstill.look({ONE: 7}, 20.0) == []
    assert standstill.look({ONE: 7}, 21.0) == [ONE]
