"""The orders of a shop's customers: what each has bought, now and as of any moment.

Of one customer the first and the last order, how many there were, and what they were worth are kept
as they come, in whole seconds and ten-thousandths: whatever order they come in, exactly the same.
The orders themselves are kept, too, as rows, so that it can be told what was known at a moment that
has passed: a shop that imports its past closes its weeks when all of it is there. The oldest rows
are folded into their customers once there are too many.

An order that was cancelled, or given back whole, is none. What one is worth counts in its
customer's own currency, that of the first order that was heard of.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from ml_online import arrays
from ml_online.buying import Buyers

MOST_CUSTOMERS = 200_000
"""Of one shop: beyond them, those who ordered longest ago are forgotten."""
MOST_ROWS = 1_000_000
"""Orders of one shop that are kept one by one."""
MOST_WORTH = 10**15
"""Of one order, in ten-thousandths: what is more counts as this."""

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

WEEK = 7 * 86_400
GONE = -1  # as the customer of a row: there is none any more
_MOST_TOTAL = 1 << 62  # ten-thousandths: thousands of orders of the largest worth
_IDS = 5_000  # in one row of the state
_SLACK = 8
_NEVER = 1 << 62
_COLUMNS = (
    *("first", "last", "orders", "valued", "value", "currency"),
    *("folded", "folded_last", "folded_valued", "folded_value"),
)
_ROWS = ("row_customer", "row_at", "row_value")


class Known(NamedTuple):
    """What is known of some customers at a moment. `mean` is that of the orders that were worth
    anything, in units of their currency; `silent` are weeks since the last."""

    who: IntArray
    buyers: Buyers
    valued: Array
    mean: Array
    currency: IntArray

    @property
    def silent(self) -> Array:
        return self.buyers.age - self.buyers.t_x

    def some(self, which: Any) -> "Known":
        """Only these of them."""
        buyers = Buyers(*(column[which] for column in self.buyers))
        return Known(
            self.who[which], buyers, self.valued[which], self.mean[which], self.currency[which]
        )


class CustomerOrders:
    """Of one shop. Customers have numbers, which change only when some are forgotten."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.currencies: list[str] = []
        self._numbers: dict[str, int] = {}
        self._hashes = array("Q")
        self._of = {name: array("q") for name in (*_COLUMNS, *_ROWS)}
        self._folded_rows = 0
        self.latest = 0  # when the latest order was made, in seconds

    # What comes.

    def add(self, customer: str, at: int, value: int, currency: str) -> int:
        """An order, worth MOST_WORTH at most; the number by which it can be changed."""
        number = self._number(customer, currency)
        of = self._of
        if self.currencies[of["currency"][number]] != currency:
            value = 0
        of["row_customer"].append(number)
        of["row_at"].append(at)
        of["row_value"].append(value)
        of["orders"][number] += 1
        of["first"][number] = min(of["first"][number], at)
        of["last"][number] = max(of["last"][number], at)
        self._worth(number, value, 1)
        self.latest = max(self.latest, at)
        return self._folded_rows + len(of["row_at"]) - 1

    def _number(self, customer: str, currency: str) -> int:
        number = self._numbers.get(customer)
        if number is None:
            number = self._numbers[customer] = len(self.ids)
            self.ids.append(customer)
            self._hashes.append(xxhash.xxh3_64_intdigest(customer.encode()))
            if currency not in self.currencies:
                self.currencies.append(currency)
            for name in _COLUMNS:
                self._of[name].append(0)
            self._of["first"][number], self._of["last"][number] = _NEVER, -_NEVER
            self._of["folded_last"][number] = -_NEVER
            self._of["currency"][number] = self.currencies.index(currency)
        return number

    def _worth(self, number: int, value: int, sign: int) -> None:
        if value > 0:
            self._of["valued"][number] += sign
            total = self._of["value"][number] + sign * value
            # Less than nothing is left where more than fits was added.
            self._of["value"][number] = min(max(total, 0), _MOST_TOTAL)

    def revalue(self, order: int, value: int) -> None:
        """What an order is worth by now. Of one that was folded it is not known any more."""
        row = order - self._folded_rows
        if row < 0 or (number := self._of["row_customer"][row]) == GONE:
            return
        before = self._of["row_value"][row]
        if before > 0:  # else it is in another currency, or was a gift
            self._worth(number, before, -1)
            self._worth(number, value, 1)
            self._of["row_value"][row] = max(value, 0)

    def remove(self, order: int) -> None:
        """It is none any more. What was folded stays."""
        row = order - self._folded_rows
        if row < 0 or (number := self._of["row_customer"][row]) == GONE:
            return
        of = self._of
        self._worth(number, of["row_value"][row], -1)
        of["orders"][number] -= 1
        of["row_customer"][row] = GONE
        at = of["row_at"][row]
        if at in (of["first"][number], of["last"][number]):
            self._find_ends(number)

    def _find_ends(self, number: int) -> None:
        own = _view(self._of["row_customer"]) == number
        times = _view(self._of["row_at"])[own]
        of = self._of
        last = max(int(times.max(initial=-_NEVER)), of["folded_last"][number])
        if not of["folded"][number]:
            of["first"][number] = int(times.min(initial=_NEVER))
        of["last"][number] = last

    # What is asked.

    def __len__(self) -> int:
        return len(self.ids)

    def number_of(self, customer: str) -> int | None:
        """None of whom there is no order."""
        number = self._numbers.get(customer)
        return number if number is not None and self._of["orders"][number] else None

    def now(self, at: int, who: Sequence[int] | None = None) -> Known:
        """All customers who have an order, or these, by all that was heard."""
        numbers: IntArray
        if who is None:
            numbers = np.flatnonzero(_view(self._of["orders"]) > 0)
        else:
            numbers = np.array(who, dtype=np.int64)
        orders, valued, value, last = (
            np.array([self._of[name][number] for number in who], dtype=np.int64)
            if who is not None
            else _view(self._of[name])[numbers]
            for name in ("orders", "valued", "value", "last")
        )
        return self._known(numbers, at, orders, valued, value, last)

    def as_of(self, at: int) -> Known:
        """All customers who had an order before that moment, by the orders before it."""
        rows, times, values = (_view(self._of[name]) for name in _ROWS)
        some = (times < at) & (rows != GONE)
        count = len(self.ids)
        rows, times, values = rows[some], times[some], values[some]
        worth = np.maximum(values, 0)
        folded = _view(self._of["folded"])
        orders = folded + np.bincount(rows, minlength=count)
        valued = _view(self._of["folded_valued"]) + np.bincount(rows[worth > 0], minlength=count)
        # As floats: exact for whatever anybody spends, and none that is larger wraps around.
        value = _view(self._of["folded_value"]) + np.bincount(rows, weights=worth, minlength=count)
        last = np.minimum(_view(self._of["folded_last"]), at)
        np.maximum.at(last, rows, times)
        numbers = np.flatnonzero((orders > 0) & (_view(self._of["first"]) < at))
        return self._known(
            numbers, at, orders[numbers], valued[numbers], value[numbers], last[numbers]
        )

    def _known(
        self,
        who: IntArray,
        at: int,
        orders: IntArray,
        valued: IntArray,
        value: IntArray | Array,
        last: IntArray,
    ) -> Known:
        first = _view(self._of["first"])[who]
        buyers = Buyers(
            (orders - 1).astype(np.float64),
            np.maximum(last - first, 0) / WEEK,
            np.maximum(at - first, 0) / WEEK,
        )
        mean = value / np.maximum(valued, 1) / 10_000
        return Known(
            who, buyers, valued.astype(np.float64), mean, _view(self._of["currency"])[who].copy()
        )

    def between(self, who: IntArray, after: int, until: int) -> tuple[IntArray, Array]:
        """How many orders each made from one moment until before another, and their worth; of
        whoever was forgotten, -1."""
        rows, times, values = (_view(self._of[name]) for name in _ROWS)
        some = (times >= after) & (times < until) & (rows != GONE)
        count = len(self.ids)
        orders = np.bincount(rows[some], minlength=count)
        worth = np.bincount(rows[some], weights=values[some], minlength=count) / 10_000
        there = who != GONE
        return (
            np.where(there, orders[who], -1) if count else np.full(len(who), -1),
            np.where(there, worth[who], 0.0) if count else np.zeros(len(who)),
        )

    def sample(self, who: IntArray, most: int, salt: int) -> IntArray:
        """Which of these customers, as places in the array: so many at most, by lot. The lot is
        theirs and the salt's alone."""
        if len(who) <= most:
            return np.arange(len(who))
        lots = np.frombuffer(self._hashes, dtype=np.uint64)[who] ^ np.uint64(salt)
        lots = _mixed(lots)
        return np.sort(np.argpartition(lots, most)[:most])

    # What is forgotten.

    def crowded(self) -> bool:
        """Whether it is time to forget."""
        return (
            len(self.ids) > MOST_CUSTOMERS + MOST_CUSTOMERS // _SLACK
            or len(self._of["row_at"]) > MOST_ROWS + MOST_ROWS // _SLACK
        )

    def forget(self) -> IntArray:
        """Makes room. The new number of each customer, GONE of those who were forgotten."""
        self._fold(len(self._of["row_at"]) - MOST_ROWS)
        last = _view(self._of["last"])
        kept = np.sort(np.argsort(-last, kind="stable")[:MOST_CUSTOMERS])
        new = np.full(len(last), GONE, dtype=np.int64)
        new[kept] = np.arange(len(kept))
        rows = _view(self._of["row_customer"])
        moved = np.where(rows == GONE, GONE, new[rows])
        del rows, last
        self._of["row_customer"] = array("q", moved.tobytes())
        for name in _COLUMNS:
            self._of[name] = array("q", _view(self._of[name])[kept].tobytes())
        self._hashes = array("Q", np.frombuffer(self._hashes, np.uint64)[kept].tobytes())
        self.ids = [self.ids[number] for number in kept.tolist()]
        self._numbers = {customer: number for number, customer in enumerate(self.ids)}
        return new

    def _fold(self, count: int) -> None:
        """Takes the rows that came first into what is known of their customers."""
        if count <= 0:
            return
        of = self._of
        for number, at, value in zip(*(of[name][:count] for name in _ROWS), strict=True):
            if number != GONE:
                of["folded"][number] += 1
                of["folded_last"][number] = max(of["folded_last"][number], at)
                of["folded_valued"][number] += value > 0
                of["folded_value"][number] = min(of["folded_value"][number] + value, _MOST_TOTAL)
        for name in _ROWS:
            of[name] = of[name][count:]
        self._folded_rows += count

    # What is kept.

    def state(self) -> Iterator[list[Any]]:
        for begin in range(0, len(self.ids), _IDS):
            yield ["ids", self.ids[begin : begin + _IDS]]
        yield ["rest", self.currencies, self._folded_rows, self.latest]
        for name, column in self._of.items():
            yield ["column", name, arrays.dump(_view(column))]

    def restore(self, what: str, *said: Any) -> None:
        """One row of the state."""
        if what == "ids":
            for customer in said[0]:
                self._numbers[customer] = len(self.ids)
                self.ids.append(customer)
                self._hashes.append(xxhash.xxh3_64_intdigest(customer.encode()))
        elif what == "rest":
            currencies, self._folded_rows, self.latest = said
            self.currencies = list(currencies)
        else:
            name, column = said
            self._of[name] = array("q", arrays.load(column).tobytes())


def _view(column: "array[int]") -> IntArray:
    """The column itself, as numpy has it. Nothing can be added as long as somebody holds it."""
    return np.frombuffer(column, dtype=np.int64)


def _mixed(lots: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of each depends on all of its bits: the end of SplitMix64."""
    lots = (lots ^ (lots >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    lots = (lots ^ (lots >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return lots ^ (lots >> np.uint64(31))
