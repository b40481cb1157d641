"""Files of orders by customer and day, as what customers did until a split and what they did then.

Whatever one customer has on one day is one order, as is usual where no order has a name: its value
is the day's sum. A day that comes to less than nothing is one of returns, and no order.
"""

from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np

from loadtests.evaluate import sheet
from loadtests.evaluate.sheet import BadTable, told
from ml_online.buying import Array, Buyers
from ml_online.customer_orders import IntArray

_MOST_DAYS = 20_000


class Columns(NamedTuple):
    """The columns of a file by what they are."""

    customer: str
    date: str
    value: str


class Purchases(NamedTuple):
    """Orders in the order of their days, ordinals; customers by number."""

    ids: list[str]
    customer: IntArray
    day: IntArray
    value: Array
    nobodys: int
    """Rows of which it is not said whose they are."""
    returns: int
    """Days of customers that came to less than nothing."""


class Holdout(NamedTuple):
    """What came after the split, by customers who had ordered by then: `who` are their numbers."""

    who: IntArray
    buyers: Buyers
    orders_before: Array
    mean_before: Array
    orders: Array
    value: Array


def read(path: Path, columns: Columns, *, date_format: str = "", decimal: str = "") -> Purchases:
    """Reads a CSV (perhaps gzipped) or Parquet file. Raises BadTable."""
    if len(set(columns)) < len(columns):
        raise BadTable("--customer, --date and --value are three columns, each another one")
    with duckdb.connect(":memory:") as database:
        database.execute("SET TimeZone = 'UTC'")
        sheet.load(database, path, columns)
        sheet.make_days(database, columns.date, date_format)
        sheet.make_numbers(database, columns.value, "amount", decimal)
        whose = f"trim({told(columns.customer)}::VARCHAR)"
        database.execute(
            f"CREATE TABLE bought AS SELECT coalesce({whose}, '') AS customer, day,"  # noqa: S608
            " sum(coalesce(amount, 0)) AS value, count(*) AS lines FROM sheet GROUP BY ALL"
        )
        found = database.execute(
            "SELECT customer, day, value FROM bought WHERE customer <> '' AND value >= 0"
            " ORDER BY day, customer"
        ).fetchnumpy()
        nobodys, returns = database.execute(
            "SELECT coalesce(sum(lines) FILTER (WHERE customer = ''), 0),"
            " count(*) FILTER (WHERE customer <> '' AND value < 0) FROM bought"
        ).fetchone() or (0, 0)
    if not len(found["day"]) and returns:
        raise BadTable(f"the column {columns.value!r} is less than 0 in every order")
    if not len(found["day"]):
        raise BadTable(
            f"the column {columns.customer!r} is empty in every row: name the one that says whose"
            " an order is"
        )
    ids, customer = np.unique(np.asarray(found["customer"], dtype=str), return_inverse=True)
    day = np.asarray(found["day"], dtype=np.int64)
    if day[-1] - day[0] > _MOST_DAYS:
        raise BadTable(
            f"the column {columns.date!r} goes from {date.fromordinal(int(day[0]))} to"
            f" {date.fromordinal(int(day[-1]))}: is one of the dates wrong?"
        )
    value = np.asarray(found["value"], dtype=np.float64)
    return Purchases(
        ids.tolist(), customer.astype(np.int64), day, value, int(nobodys), int(returns)
    )


def split_of(text: str, purchases: Purchases) -> int:
    """The last day that is learned from, as an ordinal. Raises BadTable."""
    try:
        split = date.fromisoformat(text).toordinal()
    except ValueError:
        raise BadTable(f"--split {text!r}: it is a day such as 1997-09-30") from None
    first, last = int(purchases.day[0]), int(purchases.day[-1])
    if not first <= split < last:
        raise BadTable(
            f"--split {text}: the orders are from {date.fromordinal(first)} to"
            f" {date.fromordinal(last)}, and some are needed before it and after it"
        )
    return split


def holdout_of(purchases: Purchases, split: int, horizon: int) -> Holdout:
    """What is known at the end of the split's day, and the days after it that are judged."""
    count = len(purchases.ids)
    before = purchases.day <= split
    after = (purchases.day > split) & (purchases.day <= split + horizon)
    orders = np.bincount(purchases.customer[before], minlength=count)
    first = np.full(count, split)
    np.minimum.at(first, purchases.customer[before], purchases.day[before])
    last = np.zeros(count, dtype=np.int64)
    np.maximum.at(last, purchases.customer[before], purchases.day[before])
    worth = purchases.value > 0
    valued = np.bincount(purchases.customer[before & worth], minlength=count)
    value = np.bincount(purchases.customer[before], purchases.value[before], minlength=count)
    who = np.flatnonzero(orders)
    return Holdout(
        who,
        Buyers(
            (orders[who] - 1).astype(np.float64),
            (last - first)[who] / 7,
            (split - first)[who] / 7,
        ),
        orders[who].astype(np.float64),
        value[who] / np.maximum(valued[who], 1),
        np.bincount(purchases.customer[after], minlength=count)[who].astype(np.float64),
        np.bincount(purchases.customer[after], purchases.value[after], minlength=count)[who].astype(
            np.float64
        ),
    )


def day_name(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()


def judged_days(purchases: Purchases, split: int, horizon: int) -> int:
    """How many days of the horizon the file has."""
    last = date.fromordinal(int(purchases.day[-1]))
    return min(horizon, (last - date.fromordinal(split)) // timedelta(days=1))
