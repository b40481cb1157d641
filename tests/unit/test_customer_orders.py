"""What is kept of customers' orders, against all orders counted one by one."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_online import customer_orders
from ml_online.customer_orders import GONE, MOST_WORTH, WEEK, CustomerOrders, Known

NAMES = ("ada", "bob", "cyd")


class Step(NamedTuple):
    """One order, and what becomes of it: nothing, another worth, or none."""

    customer: str
    at: int
    value: int
    then: int | None
    gone: bool


STEPS = st.lists(
    st.builds(
        Step,
        customer=st.sampled_from(NAMES),
        at=st.integers(0, 40).map(lambda n: n * WEEK // 4),
        value=st.integers(0, 9),
        then=st.none() | st.integers(0, 9),
        gone=st.booleans(),
    ),
    max_size=30,
)


def told(steps: Sequence[Step]) -> CustomerOrders:
    orders = CustomerOrders()
    numbers = [orders.add(one.customer, one.at, one.value, "EUR") for one in steps]
    for number, one in zip(numbers, steps, strict=True):
        if one.then is not None:
            orders.revalue(number, one.then)
        if one.gone:
            orders.remove(number)
    return orders


def counted(steps: Sequence[Step], at: int) -> Mapping[str, tuple[float, ...]]:
    """x, t_x, age, how many were worth something, and their mean."""
    found = {}
    for name in NAMES:
        own = [one for one in steps if one.customer == name and not one.gone and one.at < at]
        if own:
            times = [one.at for one in own]
            worth = [one.value if one.then is None or not one.value else one.then for one in own]
            some = [value / 10_000 for value in worth if value > 0]
            mean = sum(some) / len(some) if some else 0.0
            first = min(times)
            spans = ((max(times) - first) / WEEK, (at - first) / WEEK)
            found[name] = (len(own) - 1.0, *spans, float(len(some)), mean)
    return found


def said(orders: CustomerOrders, known: Known) -> Mapping[str, Any]:
    columns = (*known.buyers, known.valued, known.mean)
    return {
        orders.ids[number]: pytest.approx(tuple(float(column[place]) for column in columns))
        for place, number in enumerate(known.who)
    }


@given(STEPS, st.integers(1, 45))
def test_statistics_are_those_of_all_orders_one_by_one(steps: list[Step], week: int) -> None:
    orders, at = told(steps), week * WEEK // 4
    assert counted(steps, at) == said(orders, orders.as_of(at))
    end = 100 * WEEK
    assert counted(steps, end) == said(orders, orders.now(end))
    for name in counted(steps, end):
        number = orders.number_of(name)
        assert number is not None
        alone = orders.now(end, [number])
        assert {name: counted(steps, end)[name]} == said(orders, alone)


@given(STEPS, st.randoms(use_true_random=False))
def test_the_order_in_which_they_come_does_not_matter(steps: list[Step], random: Any) -> None:
    shuffled = random.sample(steps, len(steps))
    end = 100 * WEEK
    assert counted(shuffled, end) == said(told(steps), told(steps).now(end))


@given(STEPS)
def test_a_state_is_all_of_it(steps: list[Step]) -> None:
    orders, again = told(steps), CustomerOrders()
    for row in msgspec.json.decode(msgspec.json.encode(list(orders.state()))):
        again.restore(*row)
    assert list(again.state()) == list(orders.state())
    for one in (orders, again):
        one.remove(one.add("ada", 7, 3, "EUR"))
        one.add("dan", 9, 3, "USD")
    assert list(again.state()) == list(orders.state())


@given(STEPS, st.integers(0, 30), st.integers(0, 30))
def test_orders_between_two_moments(steps: list[Step], after: int, until: int) -> None:
    orders = told(steps)
    known = orders.now(100 * WEEK)
    began, ended = after * WEEK // 4, until * WEEK // 4
    came, _ = orders.between(np.append(known.who, GONE), began, ended)
    names = [orders.ids[number] for number in known.who]
    kept = [one for one in steps if not one.gone and began <= one.at < ended]
    assert came.tolist() == [sum(one.customer == name for one in kept) for name in names] + [-1]


def test_what_is_folded_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customer_orders, "MOST_ROWS", 8)
    orders, whole = CustomerOrders(), CustomerOrders()
    for n in range(40):
        for one in (orders, whole):
            one.add(f"c{n % 4}", n * WEEK, 10_000, "EUR")
        if orders.crowded():
            orders.forget()
    assert said(whole, whole.now(50 * WEEK)) == {
        name: value.expected for name, value in said(orders, orders.now(50 * WEEK)).items()
    }
    late = said(orders, orders.as_of(38 * WEEK))
    assert {name: one.expected for name, one in late.items()} == said(whole, whole.as_of(38 * WEEK))


def test_those_who_ordered_longest_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customer_orders, "MOST_CUSTOMERS", 16)
    orders = CustomerOrders()
    for n in range(19):
        orders.add(f"c{n}", 1000 - n, 10_000, "EUR")
    assert orders.crowded()
    numbers = orders.forget()
    assert numbers.tolist() == [*range(16), GONE, GONE, GONE]
    assert orders.number_of("c18") is None
    assert orders.ids[int(numbers[15])] == "c15"
    orders.add("c18", 2000, 10_000, "EUR")
    assert len(orders) == 17


def test_no_sum_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one spends in many orders of the largest worth there is, be they folded or not."""
    monkeypatch.setattr(customer_orders, "MOST_ROWS", 100)
    orders, most = CustomerOrders(), MOST_WORTH / 10_000
    for week in range(10_000):
        number = orders.add("ada", week * WEEK, MOST_WORTH, "EUR")
        if orders.crowded():
            orders.forget()
    now, then = orders.now(10_000 * WEEK), orders.as_of(10_000 * WEEK)
    assert 0.4 * most < now.mean[0] <= most
    assert 0.4 * most < then.mean[0] <= most
    orders.revalue(number, 1)
    orders.remove(number)
    assert 0.4 * most < orders.now(10_000 * WEEK).mean[0] <= most


def test_another_currency_is_an_order_of_no_worth() -> None:
    orders = CustomerOrders()
    orders.add("ada", 0, 10_000, "EUR")
    orders.revalue(orders.add("ada", WEEK, 70_000, "JPY"), 50_000)
    known = orders.now(2 * WEEK)
    assert (known.buyers.x[0], known.valued[0], known.mean[0]) == (1.0, 1.0, 1.0)


def test_lots_are_the_customers_own() -> None:
    one, other = CustomerOrders(), CustomerOrders()
    names = [f"c{n}" for n in range(50)]
    for orders, told_in in ((one, names), (other, names[::-1])):
        for name in told_in:
            orders.add(name, 0, 1, "EUR")
    drawn = [
        {orders.ids[place] for place in orders.sample(np.arange(50), 10, 7)}
        for orders in (one, other)
    ]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 10
    assert drawn[0] != {one.ids[place] for place in one.sample(np.arange(50), 10, 8)}
