"""Reports on stock and demand, against a count by hand from the events."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest

from app.reports.report import TooManyRows
from app.reports.table import REPORTS
from app.settings import Servers
from tests.integration.reported import DAY, NOW, ZONES, Shop, number, opened


@pytest.fixture(scope="module", params=ZONES)
async def shop(
    request: pytest.FixtureRequest, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    async with opened(request.param, servers, tmp_path_factory.mktemp("reports")) as found:
        yield found


async def test_stock_is_what_its_events_come_to(shop: Shop) -> None:
    levels, thresholds = shop.levels(), shop.thresholds()
    found = await shop.ask("stock_on_hand")
    assert {
        (row["variant"], row["on_hand"], row["reserved"], row["threshold"]) for row in found
    } == {
        (variant, level["on_hand"], level["reserved"], thresholds.get(variant))
        for variant, level in levels.items()
    }
    available = {v: level["on_hand"] - level["reserved"] for v, level in levels.items()}
    assert {row["variant"]: row["available"] for row in found} == available
    for default in (None, 30):
        low = sorted(
            (units, variant)
            for variant, units in available.items()
            if (most := (thresholds.get(variant) or default)) is not None and units <= most
        )
        asked = {} if default is None else {"threshold": default}
        rows = await shop.ask("low_stock", **asked)
        assert [(row["available"], row["variant"]) for row in rows] == low
        assert low
    some = await shop.ask("stock_on_hand", product=["p2"], limit=1)
    assert [(row["product"], row["variant"]) for row in some] == [("p2", "p2-a")]


@pytest.mark.parametrize("by", ["product", "variant"])
async def test_cover_sell_through_and_slow_sellers_weigh_stock_and_sales(
    shop: Shop, by: str
) -> None:
    names = {"product": "product_id", "variant": "variant"}
    units, levels = shop.units(names[by]), shop.levels(names[by])
    today = shop.day(NOW)
    for row in (rows := await shop.ask("days_of_cover", by=by)):
        level = levels[row[by]]
        available = level["on_hand"] - level["reserved"]
        sold = sum(
            n for (key, day), n in units.items() if key == row[by] and 0 < (today - day).days <= 28
        )
        days = Fraction(max(0, available) * 28, sold) if sold else None
        assert (row["available"], row["units"], row["days"]) == (available, sold, number(days))
    assert {row[by] for row in rows} == levels.keys()

    first, last = date(2026, 2, 1), date(2026, 3, 29)
    asked = {"by": by, "from": first, "to": last}
    sales: dict[str, int] = Counter()
    for (key, day), n in units.items():
        sales[key] += n if first <= day <= last else 0
    shares = await shop.ask("sell_through", **asked)
    assert {row[by] for row in shares} == {*levels, *(key for key, n in sales.items() if n)}
    for row in shares:
        sold, there = sales.get(row[by], 0), max(0, levels[row[by]]["on_hand"])
        share = Fraction(sold, sold + there) if sold + there else None
        assert (row["units"], row["on_hand"]) == (sold, there)
        assert row["sell_through"] == number(share)
    slow = await shop.ask("slow_selling", **asked, limit=3)
    every = {*levels, *sales}
    expected = sorted(every, key=lambda k: (sales.get(k, 0), -max(0, levels[k]["on_hand"]), k))
    assert [row[by] for row in slow] == expected[:3]
    assert [row["units"] for row in slow] == [sales.get(key, 0) for key in expected[:3]]


@pytest.mark.parametrize("country", [[], ["DE"], ["DE", "FR"]])
async def test_best_sellers_are_ranked_within_their_currency(
    shop: Shop, country: list[str]
) -> None:
    first, last = date(2026, 1, 20), date(2026, 3, 29)
    units: dict[str, dict[str, int]] = defaultdict(Counter)
    gross: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for one in shop.of("OrderCompleted"):
        told = not country or one["data"]["country"] in country
        if told and first <= shop.day(one["at"]) <= last:
            for line in one["data"]["products"]:
                currency = one["data"]["currency"]
                units[currency][line["product_id"]] += line["quantity"]
                amount = Decimal(line["price"]) * line["quantity"]
                gross[currency][line["product_id"]] += amount
    asked = {"from": first, "to": last, "limit": 2, "country": country}
    for ranking, ranked in (("units", units), ("gross", gross)):
        found = await shop.ask("best_selling", ranking=ranking, **asked)
        assert [(row["rank"], row["currency"], row["product"]) for row in found] == [
            (rank, currency, product)
            for currency in sorted(ranked)
            for rank, product in enumerate(
                sorted(ranked[currency], key=lambda p: (-ranked[currency][p], p))[:2],
                1,
            )
        ]
        for row in found:
            assert row["units"] == units[row["currency"]][row["product"]]
            assert Decimal(row["gross"]) == gross[row["currency"]][row["product"]]


@pytest.mark.parametrize("by", ["total", "product", "category", "country"])
async def test_demand_is_by_full_days_from_the_first_sale_on(shop: Shop, by: str) -> None:
    names = {"product": "product_id", "total": "none"}
    units = shop.units(names.get(by, by))
    yesterday = shop.day(NOW) - DAY
    for first, last in (
        (date(2026, 2, 10), yesterday),
        (date(2025, 12, 24), date(2026, 4, 30)),
        (date(2026, 3, 30), date(2026, 3, 30)),
    ):
        asked = {"by": by, "from": first, "to": last}
        daily = await shop.ask("demand", **asked)
        trends = {row.get(by): row for row in await shop.ask("demand_trend", **asked)}
        seasons = await shop.ask("seasonality", **asked)
        keys = {key for key, day in units if first <= day <= min(last, yesterday)}
        assert {row.get(by) or "" for row in daily} == keys
        for key in keys:
            begun = min(day for of, day in units if of == key)
            start, end = max(first, begun), min(last, yesterday)
            days = [start + n * DAY for n in range((end - start).days + 1)]
            series = [units.get((key, day), 0) for day in days]
            rows = [row for row in daily if (row.get(by) or "") == key]
            assert [row["day"] for row in rows] == [day.isoformat() for day in days]
            assert [row["units"] for row in rows] == series
            for row, day in zip(rows, days, strict=True):
                for window in (7, 28, 90):
                    since = day - (window - 1) * DAY
                    sold = sum(
                        n for (of, on), n in units.items() if of == key and since <= on <= day
                    )
                    mean = Fraction(sold, window) if since >= begun else None
                    assert row[f"mean_{window}"] == number(mean)
            trend = trends[key or None]
            assert (trend["days"], trend["units"]) == (len(days), sum(series))
            assert trend["slope"] == number(_slope(series))
            of_key = [row for row in seasons if (row.get(by) or "") == key]
            for row in of_key:
                on = [
                    n
                    for day, n in zip(days, series, strict=True)
                    if day.isoweekday() == row["weekday"]
                ]
                mean = Fraction(sum(on), len(on))
                ratio = mean * len(series) / sum(series)
                assert (row["days"], row["units"]) == (len(on), sum(on))
                assert (row["mean"], row["ratio"]) == (number(mean), number(ratio))
            assert sum(row["days"] for row in of_key) == len(days)


def _slope(series: Sequence[int]) -> Fraction | None:
    count = len(series)
    if count < 2:
        return None
    middle, mean = Fraction(count - 1, 2), Fraction(sum(series), count)
    over = sum((number - middle) * (sold - mean) for number, sold in enumerate(series))
    return Fraction(over) / sum((number - middle) ** 2 for number in range(count))


async def test_a_key_without_sales_has_no_series(shop: Shop) -> None:
    assert await shop.ask("demand", by="product", key=["p4"]) == []
    assert await shop.ask("demand_trend", by="product", key=["p4"]) == []
    some = await shop.ask("demand_trend", by="product", top=1)
    every = await shop.ask("demand_trend", by="product")
    assert some == [max(every, key=lambda row: (row["units"], row["product"]))]


async def test_no_more_rows_are_read_than_whoever_asks_can_take(shop: Shop) -> None:
    report = REPORTS["units"]
    for told in ({"by": ["product"]}, {"grain": "total", "by": ["product", "country"]}):
        asked = report.asked.model_validate(told)
        every = await report.rows(shop.pool, shop.moment, asked)
        room = shop.moment._replace(most_rows=len(every))
        assert await report.rows(shop.pool, room, asked) == every
        with pytest.raises(TooManyRows):
            await report.rows(shop.pool, shop.moment._replace(most_rows=len(every) - 1), asked)
