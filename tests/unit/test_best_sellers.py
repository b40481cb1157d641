"""`best_sellers`: what postings add to its rows."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from projections import best_sellers
from projections.clock import ShopClock
from projections.orders import Posting, PostingLine
from projections.read_model import Setting

AT = datetime(2026, 3, 1, 22, 40, tzinfo=UTC)
DAY = date(2026, 3, 1)


def setting(zone: str = "UTC") -> Setting:
    return Setting(ShopClock(ZoneInfo(zone)), AT)


def rows(*postings: Posting, zone: str = "UTC") -> dict[tuple[Any, ...], dict[str, int]]:
    """The rows by (shop, day, product, currency), without the measures that are zero."""
    return {
        row[:4]: {
            measure: amount
            for measure, amount in zip(best_sellers.MEASURES, row[5:], strict=True)
            if amount
        }
        for row in best_sellers.fold(postings, {}, setting(zone)).rows
    }


SALE = Posting(
    "main",
    AT,
    "EUR",
    "DE",
    1,
    [
        PostingLine("p1", "c", "One", gross=40_000, units=2),
        PostingLine("p1", "c", "Uno", gross=10_000, discounts=1_000, units=1),
        PostingLine("p2", "c", "", gross=500, units=5),
    ],
)


def test_a_product_sold_on_two_lines_of_an_order_is_in_one_order() -> None:
    assert rows(SALE) == {
        ("main", DAY, "p1", "EUR"): {"gross": 50_000, "discounts": 1_000, "orders": 1, "units": 3},
        ("main", DAY, "p2", "EUR"): {"gross": 500, "orders": 1, "units": 5},
    }
    assert rows(SALE, SALE)["main", DAY, "p1", "EUR"]["orders"] == 2


def test_of_two_names_the_greater_is_kept() -> None:
    names = [row[4] for row in best_sellers.fold([SALE], {}, setting()).rows]
    assert names == ["Uno", ""]


def test_what_is_taken_back_is_taken_back_in_every_measure() -> None:
    taken = rows(replace(SALE, sign=-1))
    assert taken == {
        key: {measure: -amount for measure, amount in row.items()}
        for key, row in rows(SALE).items()
    }
    assert rows(SALE, replace(SALE, sign=-1)) == {}


def test_a_refund_is_no_order() -> None:
    back = PostingLine("p1", "c", "One", refunds=20_000, refunded_units=1)
    refund = Posting("main", AT, "EUR", "DE", 0, [back])
    assert rows(refund) == {
        ("main", DAY, "p1", "EUR"): {"refunds": 20_000, "refunded_units": 1},
    }


def test_money_of_no_product_is_no_best_seller() -> None:
    unknown = PostingLine("", "", "", refunds=20_000)
    assert rows(Posting("main", AT, "EUR", "DE", 0, [unknown])) == {}


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("UTC", DAY),
        ("Europe/Berlin", DAY),
        ("Asia/Kolkata", date(2026, 3, 2)),
        ("America/New_York", DAY),
    ],
)
def test_the_days_are_those_of_the_shops_calendar(zone: str, day: date) -> None:
    assert {key[1] for key in rows(SALE, zone=zone)} == {day}


def test_rows_come_in_the_order_of_their_keys() -> None:
    postings = [
        replace(SALE, shop=f"s{n % 3}", at=AT.replace(day=n % 5 + 1), currency=currency)
        for n in range(30)
        for currency in ("GBP", "EUR")
    ]
    keys = [row[:4] for row in best_sellers.fold(postings, {}, setting()).rows]
    assert keys == sorted(set(keys))
