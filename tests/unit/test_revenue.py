"""`revenue`: what postings add to its rows."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from projections import revenue
from projections.clock import ShopClock
from projections.orders import Posting, PostingLine
from projections.read_model import Setting

AT = datetime(2026, 3, 1, 22, 40, tzinfo=UTC)
HOUR = int(datetime(2026, 3, 1, 22, tzinfo=UTC).timestamp())


def setting(zone: str = "UTC") -> Setting:
    return Setting(ShopClock(ZoneInfo(zone)), AT)


def rows(*postings: Posting, zone: str = "UTC") -> dict[tuple[Any, ...], dict[str, int]]:
    """The rows by (shop, dimension, hour, key, currency), without the measures that are zero."""
    folded = revenue.fold(postings, {}, setting(zone)).rows
    return {
        row[:5]: {
            measure: amount
            for measure, amount in zip(revenue.MEASURES, row[5:], strict=True)
            if amount
        }
        for row in folded
    }


SALE = Posting(
    "main",
    AT,
    "EUR",
    "DE",
    1,
    [
        PostingLine("p1", "c", "One", gross=40_000, units=2),
        PostingLine("p1", "c", "One", gross=10_000, discounts=1_000, units=1),
        PostingLine("p2", "c", "Two", gross=500, units=5),
    ],
)


def test_a_sale_is_added_along_every_dimension_and_counts_once_in_each_row() -> None:
    whole = {"gross": 50_500, "discounts": 1_000, "orders": 1, "units": 8}
    assert rows(SALE) == {
        ("main", "total", HOUR, "", "EUR"): whole,
        ("main", "country", HOUR, "DE", "EUR"): whole,
        ("main", "category", HOUR, "c", "EUR"): whole,
        ("main", "product", HOUR, "p1", "EUR"): {
            "gross": 50_000,
            "discounts": 1_000,
            "orders": 1,
            "units": 3,
        },
        ("main", "product", HOUR, "p2", "EUR"): {"gross": 500, "orders": 1, "units": 5},
    }


def test_two_sales_of_an_hour_are_one_row_and_of_two_hours_two() -> None:
    later = replace(SALE, at=AT + timedelta(minutes=20))
    totals = {key[2]: row["orders"] for key, row in rows(SALE, SALE, later).items() if not key[3]}
    assert totals == {HOUR: 2, HOUR + 3600: 1}


def test_what_is_taken_back_and_put_again_leaves_no_row() -> None:
    assert rows(SALE, replace(SALE, sign=-1)) == {}


def test_what_is_taken_back_is_taken_back_in_every_measure() -> None:
    added, taken = rows(SALE), rows(replace(SALE, sign=-1))
    assert taken == {
        key: {measure: -amount for measure, amount in row.items()} for key, row in added.items()
    }


def test_a_refund_is_no_order_and_has_units_of_its_own() -> None:
    back = PostingLine("p1", "c", "One", refunds=20_000, refunded_units=1)
    refund = Posting("main", AT, "EUR", "DE", 0, [back])
    assert rows(refund)["main", "total", HOUR, "", "EUR"] == {
        "refunds": 20_000,
        "refunded_units": 1,
    }
    assert rows(SALE, refund)["main", "product", HOUR, "p1", "EUR"] == {
        "gross": 50_000,
        "discounts": 1_000,
        "refunds": 20_000,
        "orders": 1,
        "units": 3,
        "refunded_units": 1,
    }


def test_an_adjustment_has_no_product_and_is_not_lost() -> None:
    adjusted = Posting("main", AT, "GBP", "", 0, [PostingLine("", "", "", adjustments=-7)])
    assert rows(adjusted) == {
        ("main", dimension, HOUR, "", "GBP"): {"adjustments": -7}
        for dimension in revenue.DIMENSIONS
    }


def test_shops_and_currencies_are_apart() -> None:
    others = replace(SALE, shop="other"), replace(SALE, currency="GBP")
    totals = {(key[0], key[4]) for key in rows(SALE, *others) if key[1] == "total"}
    assert totals == {("main", "EUR"), ("other", "EUR"), ("main", "GBP")}


@pytest.mark.parametrize(
    ("zone", "hour"),
    [("UTC", HOUR), ("Asia/Kolkata", HOUR + 1800), ("Asia/Kathmandu", HOUR + 900)],
)
def test_the_hours_are_those_of_the_shops_clock(zone: str, hour: int) -> None:
    assert {key[2] for key in rows(SALE, zone=zone)} == {hour}


def test_rows_come_in_the_order_of_their_keys() -> None:
    postings = [
        replace(SALE, shop=f"s{n % 3}", at=AT + timedelta(hours=n % 5), currency=currency)
        for n in range(30)
        for currency in ("GBP", "EUR")
    ]
    keys = [row[:5] for row in revenue.fold(postings, {}, setting()).rows]
    assert keys == sorted(set(keys))
