"""What is learned of customers: from orders and closed weeks, in whatever order they are read."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from random import Random

import msgspec
import numpy as np
import pytest

from ml_online import followed_orders
from ml_online.customer_forecast import Customers
from ml_online.customer_orders import MOST_WORTH
from ml_online.customer_segments import SEGMENTS, at_risk, reasons, segments
from streams import codec
from streams.events import (
    Data,
    DayClosed,
    Event,
    Line,
    OrderCancelled,
    OrderCompleted,
    OrderPlaced,
    OrderRefunded,
    OrderUpdated,
)
from streams.money import LARGEST, Money
from tests.learning import MONDAY, day_event, facts, order_event

WEEKS = 14


def at(day: float) -> datetime:
    """So many days after the first Monday."""
    return datetime.combine(MONDAY, time(), UTC) + timedelta(days=day)


def history(customers: int = 40, days: int = 7 * WEEKS) -> list[Event]:
    """Orders of customers of whom half order every week or two and half stop after the second;
    and the close of each day after its orders."""
    random = Random(2)
    orders = []
    for n in range(customers):
        day = random.uniform(0, 10)
        for count in range(200):
            if day >= days or (n % 2 and count >= 2):
                break
            products = ["p"] * random.randint(1, 4)
            orders.append(order_event(n * 1000 + count, products, at=at(day), person=f"c{n}"))
            day += random.expovariate(1 / 9)
    closes = [day_event(n, {"": 1}) for n in range(days)]
    return sorted([*orders, *closes], key=lambda event: event.time)


def taught(events: Iterable[Event]) -> Customers:
    learner = Customers()
    for fact in facts(events):
        learner.learn(fact)
    return learner


@pytest.fixture(scope="module")
def known() -> Customers:
    """Who has learned the history. Nobody may change it."""
    return taught(history())


def saved(learner: Customers) -> bytes:
    return msgspec.json.encode(list(learner.state()))


def test_it_is_learned_who_stays_and_who_is_gone(known: Customers) -> None:
    told = known.customers("main", 28)
    chance = dict(zip((known.name_of("main", n) for n in told.who), told.chance, strict=True))
    stays = [chance[f"c{n}"] for n in range(0, 40, 2)]
    gone = [chance[f"c{n}"] for n in range(1, 40, 2)]
    assert np.median(stays) > 0.8
    assert np.median(gone) < 0.2
    scores = known.scores("main", date.min, date.max)
    assert sorted(scores) == [4, 8]
    assert scores[4].auc is not None
    assert scores[4].auc > 0.75
    # Of weeks 1 to 13 those that ended four weeks before the last are known.
    assert scores[4].chances.chances == 40 * (WEEKS - 4) - _not_there_in_the_first_week(known)


def _not_there_in_the_first_week(known: Customers) -> int:
    firsts = [known.customer("main", f"c{n}", 1) for n in range(40)]
    return sum(one is not None and one.first_days <= 7 * (WEEKS - 1) for one in firsts)


def test_an_answer_about_one_is_that_about_all(known: Customers) -> None:
    told = known.customers("main", 28)
    for place, number in enumerate(told.who[:10]):
        one = known.customer("main", known.name_of("main", int(number)), 28)
        assert one is not None
        assert one.chance == pytest.approx(told.chance[place], rel=1e-12)
        assert one.expected_orders == pytest.approx(told.expected[place], rel=1e-12)
        assert one.expected_value == pytest.approx(told.value[place], rel=1e-12)
        low, middle, high = one.order_quantiles
        assert low <= middle <= high
        assert [low, high] == known.intervals("main", 28)[place].tolist()
        assert one.value_quantiles[0] <= one.value_quantiles[2]


def test_longer_is_never_less(known: Customers) -> None:
    for number in range(0, 40, 3):
        found = [known.customer("main", f"c{number}", days) for days in (1, 7, 28, 90, 365, 3650)]
        chances = [one.chance for one in found if one]
        expected = [one.expected_orders for one in found if one]
        assert len(chances) == 6
        assert expected == sorted(expected)
        assert all(0 < chance < 1 for chance in chances)


def test_an_order_counts_at_once(known: Customers) -> None:
    learner = taught(history())
    before = learner.customer("main", "c1", 28)
    [fact] = facts([order_event(99_999, ["p"], at=at(7 * WEEKS + 1), person="c1")])
    learner.learn(fact)
    after = learner.customer("main", "c1", 28)
    assert before
    assert after
    assert (after.orders, after.silent_days) == (before.orders + 1, 0.0)
    assert after.chance > before.chance
    assert learner.as_of("main") == at(7 * WEEKS + 1)
    learner.learn(fact)  # again
    assert learner.customer("main", "c1", 28) == after


def test_weeks_are_the_same_however_far_ahead_orders_were_read() -> None:
    """An import tells of all orders, and then the days are closed."""
    events = history()
    live = taught(events)
    imported = taught(sorted(events, key=lambda event: "Day" in event.type))
    assert imported.lessons("main") is not None
    for days in (28, 90):
        one, other = live.customers("main", days), imported.customers("main", days)
        order = np.argsort([live.name_of("main", n) for n in one.who])
        again = np.argsort([imported.name_of("main", n) for n in other.who])
        assert one.chance[order].tolist() == pytest.approx(other.chance[again].tolist())


def test_a_week_waits_for_the_orders_that_its_close_has_seen() -> None:
    events = history(days=35)
    orders = [event for event in events if "Day" not in event.type]
    learner = Customers()
    told = facts(orders)
    seen = {"orders:0": len(told), "carts:0": 9}
    for fact in facts(_with_positions(events, seen)):
        learner.learn(fact)
    assert learner.learned_through("main") is None
    for fact in told:
        learner.learn(fact)
    assert learner.learned_through("main") == MONDAY + timedelta(days=6)


def test_weeks_that_have_waited_are_closed_one_by_one(known: Customers) -> None:
    """Wherever it is killed meanwhile, and with the same that is learned in the end. What is heard
    of another shop moves them on as well, the earliest first."""
    events = history()
    orders = [event for event in events if "Day" not in event.type]
    learner = Customers()
    for fact in facts([*_with_positions(events, {"orders:0": len(orders)}), *orders]):
        learner.learn(fact)
    weeks = [learner.learned_through("main")]
    for number in range(WEEKS - 1):
        state, learner = saved(learner), Customers()
        learner.restore(msgspec.json.decode(state))
        fact, *_ = facts([day_event(7 * WEEKS + number, {"": 1}, shop="other")])
        learner.learn(fact)
        weeks.append(learner.learned_through("main"))
    assert weeks == [MONDAY + timedelta(days=7 * number + 6) for number in range(WEEKS)]
    live, late = known.customers("main", 28), learner.customers("main", 28)
    names = [
        [one.name_of("main", n) for n in told.who] for one, told in ((known, live), (learner, late))
    ]
    assert dict(zip(names[0], live.chance, strict=True)) == pytest.approx(
        dict(zip(names[1], late.chance, strict=True))
    )
    assert known.scores("main", date.min, date.max) == learner.scores("main", date.min, date.max)


def _with_positions(events: Sequence[Event], positions: dict[str, int]) -> list[Event]:
    return [
        msgspec.structs.replace(
            event,
            data=codec.raw(DayClosed(date=event.subject, positions=positions, figures=[])),
        )
        for event in events
        if "Day" in event.type
    ]


def test_it_is_killed_and_goes_on_the_same(known: Customers) -> None:
    random, learner = Random(3), Customers()
    for fact in facts(history()):
        if random.random() < 0.03:
            state, learner = saved(learner), Customers()
            learner.restore(msgspec.json.decode(state))
            assert saved(learner) == state
        learner.learn(fact)
    assert saved(learner) == saved(known)


def test_shops_do_not_know_of_each_other(known: Customers) -> None:
    learner = taught(history())
    for fact in facts([order_event(1, ["p"], person="c0", shop="other", at=at(3))]):
        learner.learn(fact)
    assert learner.customer("main", "c0", 28) == known.customer("main", "c0", 28)
    one = learner.customer("other", "c0", 28)
    assert one is not None
    assert one.orders == 1


def test_late_and_far_off_times_break_nothing() -> None:
    learner = taught(history(days=30))
    far = [
        order_event(70_000, ["p"], at=datetime(1970, 1, 2, tzinfo=UTC), person="c0"),
        order_event(70_001, ["p"], at=at(3), person="late"),
        order_event(70_002, ["p"], at=datetime(2999, 12, 31, tzinfo=UTC), person="c2"),
    ]
    for fact in facts([*far, *(day_event(n, {"": 1}) for n in range(30, 65))]):
        learner.learn(fact)
    told = learner.customers("main", 90)
    assert np.isfinite(told.chance).all()
    assert np.isfinite(told.value).all()
    for name in ("c0", "c2", "late"):
        one = learner.customer("main", name, 90)
        assert one is not None
        assert 0 < one.chance < 1


# What becomes of orders.


def _event(data: Data, number: int, person: str | None = None) -> Event:
    name = type(data).__name__
    return Event(
        id=f"{name}-{number}",
        type=name,
        shop="main",
        subject="o1",
        time=at(number),
        received_at=at(number),
        data=codec.raw(data),
        person=person,
    )


def _sold(euros: int = 10, order: str = "o1") -> OrderCompleted:
    return OrderCompleted(
        order_id=order,
        currency="EUR",
        products=[Line(product_id="p", price=Money(euros * 10_000))],
    )


FIRST = _event(_sold(20, "o0"), 0, "ada")
SOLD = _event(_sold(10), 1, "ada")
PLACED = _event(OrderPlaced(order_id="o1", products=_sold().products), 0, "ada")
ANONYMOUS = _event(_sold(10), 1)
CANCELLED = _event(OrderCancelled(order_id="o1"), 2)
PART = _event(OrderRefunded(order_id="o1", refund_id="r1", total=Money(40_000)), 3)
AGAIN = _event(OrderRefunded(order_id="o1", refund_id="r1", total=Money(40_000)), 4)
WHOLE = _event(OrderRefunded(order_id="o1", refund_id="r2"), 5)


@pytest.mark.parametrize(
    ("events", "orders", "mean"),
    [
        ([FIRST, SOLD], 2, 15),
        ([FIRST, SOLD, SOLD], 2, 15),
        ([FIRST, PLACED, ANONYMOUS], 2, 15),
        ([FIRST, ANONYMOUS], 1, 20),
        ([FIRST, SOLD, CANCELLED], 1, 20),
        ([FIRST, CANCELLED, SOLD], 1, 20),
        ([FIRST, SOLD, PART], 2, 13),
        ([FIRST, PART, SOLD, AGAIN], 2, 13),
        ([FIRST, SOLD, PART, WHOLE], 1, 20),
        ([SOLD, WHOLE, FIRST], 1, 20),
    ],
)
def test_cancelled_and_given_back(events: Sequence[Event], orders: int, mean: float) -> None:
    learner = taught(events)
    one = learner.customer("main", "ada", 90)
    assert one is not None
    assert one.orders == orders
    # Before a week was learned, an order is worth what theirs were.
    told = learner.customers("main", 90)
    assert told.value[0] / told.expected[0] == pytest.approx(mean)


def test_who_has_no_order_left_is_unknown() -> None:
    learner = taught([SOLD, CANCELLED])
    assert learner.customer("main", "ada", 90) is None
    assert len(learner.customers("main", 90).who) == 0


def test_who_was_erased_is_no_customer() -> None:
    ghost = "erased-00ff"
    placed = _event(OrderPlaced(order_id="o1", products=_sold().products), 0, ghost)
    sold = _event(_sold(5, "o2"), 2, ghost)
    before = _event(OrderPlaced(order_id="o2", products=_sold().products), 0, "bob")
    learner = taught([FIRST, placed, ANONYMOUS, before, sold])
    assert learner.customer("main", ghost, 90) is None
    assert len(learner.customers("main", 90).who) == 1  # nor is bob, who is erased now
    assert b"erased" not in saved(learner)


def test_more_than_any_order_is_worth_breaks_nothing() -> None:
    line = Line(product_id="p", price=Money(LARGEST), quantity=10_000_000)
    huge = OrderCompleted(order_id="o1", currency="EUR", products=[line] * 9)
    more = OrderUpdated(order_id="o1", currency="EUR", products=[line] * 99)
    back = OrderRefunded(order_id="o1", refund_id="r", products=[line])
    learner = taught([FIRST, *(_event(data, n, "ada") for n, data in enumerate((huge, more), 1))])
    told = learner.customers("main", 90)
    assert told.value[0] / told.expected[0] == pytest.approx((MOST_WORTH / 10_000 + 20) / 2)
    learner = taught([FIRST, _event(huge, 1, "ada"), _event(back, 2)])
    assert msgspec.json.decode(saved(learner))
    one = learner.customer("main", "ada", 90)
    assert one is not None
    assert one.orders == 1


def test_orders_are_followed_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed_orders, "FOLLOWED", 2)
    more = [_event(_sold(5, f"x{n}"), 10 + n, "bob") for n in range(3)]
    one = taught([FIRST, SOLD, *more, CANCELLED]).customer("main", "ada", 90)
    assert one is not None
    assert one.orders == 2


# Segments.


def test_segments_have_their_reasons(known: Customers) -> None:
    told = known.customers("main", 28)
    places = segments(told, 28)
    assert len(places) == 40
    named = {SEGMENTS[place] for place in places}
    assert {"most_valuable", "steady"} <= named
    assert named & {"lost", "at_risk"}
    for place in range(40):
        found = reasons(told, place, 3.0)
        assert found[-1].reason == "large_orders"
        silent, gap = told.silent[place], told.buyers.t_x[place] / max(told.buyers.x[place], 1)
        late = any(one.reason == "silent_longer_than_usual" for one in found)
        assert late == (told.buyers.x[place] > 0 and silent > gap)


def test_those_at_risk_come_by_what_would_be_lost(known: Customers) -> None:
    told = known.customers("main", 28)
    found = at_risk(told, 0.5)
    lost = ((1 - told.chance) * told.at_stake)[found]
    assert len(found)
    assert (np.diff(lost) <= 0).all()
    assert (told.chance[found] <= 0.5).all()
    assert (told.buyers.x[found] > 0).all()
    assert len(at_risk(told, 0.0)) == int((told.buyers.x > 0).sum())
