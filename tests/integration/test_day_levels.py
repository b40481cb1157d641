"""Days told at every level: of products and variants too, however many; and of days that were told
when there were fewer levels, what is missing."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from app.settings import Settings
from projections import days as told_days
from projections.closer import Closer
from projections.day_tables import note_former, notes
from projections.days import LEVELS, TooManyDays, days
from projections.postgres import connect_alone
from projections.store import GroupStore
from streams import codec
from streams.events import DayClosed, Event
from tests.integration.test_closer import (
    DAY,
    FIRST,
    GRACE,
    RULES,
    SETTLE,
    Hands,
    Pool,
    agrees,
    connection,
    hands,
    pool,
    sale,
    store,
)
from tests.integration.test_store import apply, part
from tests.sales import line, said

__all__ = ["connection", "hands", "pool", "store"]


def order(number: int, day: float, *lines: dict[str, Any], **more: Any) -> Event:
    event = said(
        "OrderCompleted",
        f"o{number}",
        event_id=f"e{number}",
        minutes=day * 24 * 60,
        currency="EUR",
        country="PT",
        products=list(lines),
        **more,
    )
    return replace(event, received_at=event.time)


def closed(event: Event) -> DayClosed:
    data = codec.decode_data(event, "days")
    assert isinstance(data, DayClosed)
    return data


def figures(event: Event) -> dict[tuple[str, str], tuple[str, str]]:
    """By level and key: gross, and what it lies in."""
    return {(one.level, one.key): (str(one.gross), one.parent) for one in closed(event).figures}


async def test_a_day_is_told_at_every_level_and_what_nobody_bought_is_not(
    hands: Hands, store: GroupStore
) -> None:
    red, blue = (partial(line, "mug", "2.00", sku=f"mug-{one}") for one in ("red", "blue"))
    sold = [
        order(1, -0.1, red(category="kitchen"), line("jug", "5.00", category="kitchen")),
        order(2, 0, blue(category="bath")),  # the mug is there from now on
        order(3, 1, line("jug", "5.00", category="kitchen")),
    ]
    back = said(
        "OrderRefunded",
        "o1",
        event_id="r1",
        minutes=2 * 24 * 60,
        currency="EUR",
        products=[red(category="kitchen")],
    )
    await apply(store, part([*sold, replace(back, received_at=back.time)]))
    await hands.turn(GRACE)
    first, second, third = await hands.told()
    assert figures(first) == {
        ("total", ""): ("9.00", ""),
        ("country", "PT"): ("9.00", ""),
        ("category", "kitchen"): ("7.00", ""),
        ("category", "bath"): ("2.00", ""),
        ("product", "mug"): ("4.00", "bath"),
        ("product", "jug"): ("5.00", "kitchen"),
        ("variant", "mug-red"): ("2.00", "mug"),
        ("variant", "mug-blue"): ("2.00", "mug"),
        ("variant", "jug"): ("5.00", "jug"),
    }
    assert figures(second) == {
        ("total", ""): ("5.00", ""),
        ("country", "PT"): ("5.00", ""),
        ("category", "kitchen"): ("5.00", ""),
        ("category", "bath"): ("0.00", ""),
        ("product", "jug"): ("5.00", "kitchen"),
        ("variant", "jug"): ("5.00", "jug"),
    }
    given_back = {
        (one.level, one.key): (str(one.refunds), one.parent) for one in closed(third).figures
    }
    assert given_back["variant", "mug-red"] == ("2.00", "mug")
    assert given_back["product", "mug"] == ("2.00", "kitchen")
    assert ("product", "jug") not in given_back
    # Asked, zeros are there.
    rows = await days(hands.pool, shop="main", level="variant", keys=["mug-red"])
    assert [(row["variant"], row["gross"], row["net"]) for row in rows] == [
        ("mug-red", "2.00", "2.00"),
        ("mug-red", "0.00", "0.00"),
        ("mug-red", "0.00", "-2.00"),
    ]
    await agrees(hands.pool, await hands.told())


async def test_the_day_says_where_the_shop_is(
    hands: Hands, store: GroupStore, settings: Settings
) -> None:
    await apply(store, part([sale(1, 0), sale(2, 1)]))
    alone = partial(connect_alone, settings.servers.postgres, settings.schema_name)
    rules = replace(RULES, country="PT")
    hands.closer = Closer(alone, rules, 2, hands.told, now=lambda: hands.now)
    await hands.turn(GRACE)
    assert [closed(event).country for event in await hands.told()] == ["PT", "PT"]


# An installation of a version with fewer levels.


async def as_before(pool: Pool) -> None:
    """As that version has left it, what it told of days included."""
    for table in ("day_figures", "day_series"):
        await pool.execute(f"DELETE FROM {table} WHERE level NOT IN ('total', 'category')")
    await pool.execute("UPDATE days SET every_level = false")


async def test_of_days_told_at_fewer_levels_what_is_missing_is_told(
    hands: Hands, store: GroupStore, pool: Pool
) -> None:
    await apply(store, part([sale(1, 0), sale(2, 2)]))
    await hands.turn(GRACE)
    before = await hands.told()
    await as_before(pool)
    long_ago = FIRST - 900 * DAY  # nobody keeps so long a history
    await pool.execute("INSERT INTO days VALUES ('main', $1, 0, now())", long_ago)
    assert await note_former(hands.connection) == 3
    await hands.turn(2 * SETTLE)
    assert await notes(pool) == {}
    told = (await hands.told())[len(before) :]
    assert [(event.type, event.subject) for event in told] == [
        ("DayCorrected", "2026-03-01"),
        ("DayCorrected", "2026-03-03"),
    ], "of the day between there is nothing to add"
    for event in told:
        assert figures(event) == {
            ("country", ""): ("2.50", ""),
            ("product", "mug"): ("2.50", "kitchen"),
            ("variant", "mug"): ("2.50", "mug"),
        }
    assert await note_former(hands.connection) == 0, "that was all"
    await pool.execute("DELETE FROM days WHERE day = $1", long_ago)
    await agrees(pool, await hands.told())


async def test_no_day_closes_before_what_is_missing_of_former_ones_is_told(
    hands: Hands, store: GroupStore, pool: Pool
) -> None:
    """Else a forecaster would learn of a new level from that day on, and only mend those before."""
    await apply(store, part([sale(number, number) for number in range(40)]))
    await hands.turn(GRACE)
    before = len(await hands.told())
    sold = len(await pool.fetch("SELECT DISTINCT day FROM day_figures WHERE gross > 0"))
    await as_before(pool)
    await note_former(hands.connection)
    await apply(store, part([sale(40, 40), sale(41, 41)], first=40))
    await hands.turn(GRACE)  # more than a turn's days have settled by now, and new ones are over
    await hands.turn()
    told = (await hands.spoken())[before:]
    assert [kind for kind, _ in told] == ["Corrected"] * sold + ["Closed"] * 2
    assert [day for _, day in told] == sorted(day for _, day in told)


async def test_days_that_the_log_told_before_are_looked_at_once_more_after_a_rebuild(
    hands: Hands, store: GroupStore, pool: Pool, settings: Settings
) -> None:
    await apply(store, part([sale(1, 0), sale(2, 1)]))
    await hands.turn(GRACE)
    now, former = await hands.told()
    data = closed(former)
    listed = [one for one in data.figures if one.level in ("total", "category")]
    former = replace(former, data=codec.raw(replace(data, figures=listed)))

    async def log() -> list[Event]:
        return [now, former]

    await pool.execute("TRUNCATE days, day_figures, day_series, day_shops, outbox")
    alone = partial(connect_alone, settings.servers.postgres, settings.schema_name)
    await Closer(alone, RULES, 2, log).recall(hands.connection)
    rows = await pool.fetch("SELECT every_level FROM days ORDER BY day")
    assert [row["every_level"] for row in rows] == [True, False]


# Very many.

PRODUCTS, VARIANTS = 2_500, 4


async def test_a_day_of_ten_thousand_variants_is_told_in_one_go_and_in_parts(
    hands: Hands, store: GroupStore
) -> None:
    lines = [
        line(f"p{number}", "1.25", category=f"c{number % 40}", sku=f"p{number}-{size}")
        for number in range(PRODUCTS)
        for size in range(VARIANTS)
    ]
    orders = [order(n, n / -100_000, *lines[n : n + 50]) for n in range(0, len(lines), 50)]
    await apply(store, part([*orders, sale(9_999, 3)]))
    await hands.turn(GRACE)
    told = await hands.told()
    parts = [event for event in told if event.subject == FIRST.isoformat()]
    sizes = [len(codec.encode(event)) for event in parts]
    assert [closed(event).part for event in parts] == list(range(1, len(parts) + 1))
    assert max(sizes) < 1_000_000
    listed = [one for event in parts for one in closed(event).figures]
    assert len({(one.level, one.key) for one in listed}) == len(listed)
    assert len(listed) == PRODUCTS * (VARIANTS + 1) + 40 + 2
    for level in LEVELS:
        assert sum(int(one.gross) for one in listed if one.level == level) == len(lines) * 12_500
    quiet = [event for event in told if event.subject == (FIRST + timedelta(days=1)).isoformat()]
    assert [len(closed(event).figures) for event in quiet] == [42], "zeros of 12,500 are not told"


async def test_more_rows_than_can_be_answered_are_refused(
    hands: Hands, store: GroupStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await apply(store, part([sale(1, 0), sale(2, 3)]))
    await hands.turn(GRACE)
    monkeypatch.setattr(told_days, "MOST_ROWS", 3)
    with pytest.raises(TooManyDays):
        await days(hands.pool, shop="main", level="product")
    asked = await days(hands.pool, shop="main", level="product", first=FIRST + DAY)
    assert [row["units"] for row in asked] == [0, 0, 1]
