"""The closer of months beside that of days, on a real Postgres: each month is told once, whatever
dies, and comes to what was told of its days."""

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from random import Random
from typing import Any

import msgspec
import pytest

from app.settings import Settings
from projections import month_closer
from projections.closing_months import recall
from projections.days import LEVELS
from projections.month_closer import MonthCloser
from projections.month_tables import months
from projections.postgres import connect_alone
from projections.reconcile import reconcile
from projections.store import GroupStore
from streams.events import Event
from tests.integration.test_closer import (
    DAY,
    RULES,
    SETTLE,
    Hands,
    Pool,
    connection,
    hands,
    pool,
    sale,
    store,
)
from tests.integration.test_store import apply, part

__all__ = ["connection", "hands", "pool", "store"]


class Months:
    """Turns the closer of months by hand, by the clock of the one of days."""

    def __init__(self, settings: Settings, hands: Hands) -> None:
        self._hands = hands
        alone = partial(connect_alone, settings.servers.postgres, settings.schema_name)
        self.closer = MonthCloser(alone, RULES, hands.told, now=lambda: hands.now)

    async def turn(self, after: timedelta = timedelta(0)) -> None:
        """Days first, then months, until there is no more to do."""
        await self._hands.turn(after)
        while await self.closer.turn(self._hands.connection):
            pass

    async def spoken(self) -> list[tuple[str, str]]:
        """The kinds and months of what was told, in order."""
        told = await self._hands.told()
        return [(one.type, one.subject) for one in told if one.type.startswith("Month")]


@pytest.fixture
def by_month(settings: Settings, hands: Hands) -> Months:
    return Months(settings, hands)


def added_up(log: list[Event]) -> dict[str, dict[tuple[str, str, str], list[Any]]]:
    """The months as a reader of DayClosed and DayCorrected adds them up, zeros left out."""
    days: dict[str, dict[tuple[str, str, str], dict[str, Any]]] = defaultdict(dict)
    for event in log:
        if event.type in ("DayClosed", "DayCorrected"):
            for one in msgspec.json.decode(event.data)["figures"]:
                days[event.subject][one["level"], one.get("key", ""), one["currency"]] = one
    sums: dict[str, dict[tuple[str, str, str], list[Any]]] = defaultdict(dict)
    for day, figures in days.items():
        for series, one in figures.items():
            values = [
                *(round(10_000 * float(one[name])) for name in ("gross", "discounts", "refunds")),
                *(one["orders"], one["units"]),
            ]
            known = sums[day[:7]].get(series, [0] * 5)
            sums[day[:7]][series] = [a + b for a, b in zip(known, values, strict=True)]
    return {
        month: {series: values for series, values in found.items() if any(values)}
        for month, found in sums.items()
    }


async def agrees(pool: Pool, log: list[Event]) -> None:
    """The events of months, and the table, are what the days come to; each was told once."""
    ids = Counter(event.id for event in log)
    assert set(ids.values()) <= {1}
    told = dict(recall(log))
    expected = added_up(log)
    for (shop, month), one in told.items():
        assert shop == "main"
        found = {tuple(series): list(values) for series, values in one.figures.items()}
        name = f"{month:%Y-%m}"
        assert {series: values for series, values in found.items() if any(values)} == expected[name]
        last = {
            date.fromisoformat(event.subject): msgspec.json.decode(event.data).get("revision", 0)
            for event in log
            if event.type.startswith("Day") and event.subject[:7] == name
        }
        assert one.days == last
    async with pool.acquire() as transaction:
        for level in LEVELS:
            kept = {
                (f"{one.month:%Y-%m}", tuple(one.series)): list(one.values)
                for one in await months(transaction, shop="main", level=level)
            }
            assert {key: values for key, values in kept.items() if any(values)} == {
                (f"{month:%Y-%m}", series): values
                for _, month in told
                for series, values in expected[f"{month:%Y-%m}"].items()
                if series[0] == level
            }


async def test_a_month_closes_with_its_last_day_and_is_corrected_by_what_comes_late(
    pool: Pool, store: GroupStore, hands: Hands, by_month: Months
) -> None:
    await apply(store, part([sale(1, -370), sale(2, -340), sale(3, -340, "7.00")]))
    await by_month.turn(timedelta(hours=2))
    assert (await hands.spoken())[0] == ("Closed", "2025-02-24")
    kinds = await by_month.spoken()
    assert kinds == [("MonthClosed", "2025-02")], "the second month goes on after its last sale"
    await apply(store, part([sale(4, 0)], first=3))
    await by_month.turn(timedelta(hours=2))
    assert (await by_month.spoken())[1:3] == [
        ("MonthClosed", "2025-03"),
        ("MonthClosed", "2025-04"),
    ]
    told = len(await by_month.spoken())
    await apply(store, part([sale(5, -369), sale(6, -340)], first=4))
    await by_month.turn(2 * SETTLE)  # now the days are corrected, and the months wait
    assert len(await by_month.spoken()) == told
    await by_month.turn(2 * SETTLE)
    assert (await by_month.spoken())[told:] == [
        ("MonthCorrected", "2025-02"),
        ("MonthCorrected", "2025-03"),
    ]
    await by_month.turn(timedelta(days=1))
    assert len(await by_month.spoken()) == told + 2
    await agrees(pool, await hands.told())


async def test_dying_before_the_commit_tells_nothing_and_after_it_nothing_twice(
    pool: Pool, store: GroupStore, hands: Hands, by_month: Months, settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    await apply(store, part([sale(1, -70), sale(2, 0)]))
    await hands.turn(timedelta(hours=2))

    async def killed(*_: Any) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(month_closer, "enqueue", killed)
        with pytest.raises(ConnectionResetError):
            await by_month.turn()
    assert await by_month.spoken() == []
    assert await pool.fetchval("SELECT count(*) FROM months") == 0
    await by_month.turn()
    once = await by_month.spoken()
    assert once == [("MonthClosed", month) for month in ("2025-12", "2026-01", "2026-02")]
    # Another process, and then one whose Postgres knows of nothing but the log.
    again = Months(settings, hands)
    await again.closer.recall(hands.connection)
    await again.turn()
    await pool.execute("TRUNCATE months, month_figures")
    await again.closer.recall(hands.connection)
    await again.turn(timedelta(hours=1))
    assert await by_month.spoken() == once
    await agrees(pool, await hands.told())


async def test_months_of_a_backup_are_as_new_as_the_log(
    pool: Pool, store: GroupStore, hands: Hands, by_month: Months
) -> None:
    await apply(store, part([sale(1, -70), sale(2, 0)]))
    await by_month.turn(timedelta(hours=2))
    kept = [await pool.fetch(f"SELECT * FROM {table}") for table in ("months", "month_figures")]
    await apply(store, part([sale(3, -70)], first=2))
    await by_month.turn(2 * SETTLE)
    await by_month.turn(2 * SETTLE)
    before = await by_month.spoken()
    assert before[-1][0] == "MonthCorrected"
    await pool.execute("TRUNCATE months, month_figures")  # and back comes what was there
    for table, rows in zip(("months", "month_figures"), kept, strict=True):
        await pool.copy_records_to_table(table, records=[tuple(row) for row in rows])
    async with pool.acquire() as transaction, transaction.transaction():
        await reconcile(transaction, await hands.told())
    await by_month.turn(timedelta(hours=1))
    assert await by_month.spoken() == before
    await agrees(pool, await hands.told())


@pytest.mark.parametrize("seed", range(3))
async def test_however_it_goes_months_come_to_what_the_days_do(
    seed: int, pool: Pool, store: GroupStore, hands: Hands, by_month: Months, settings: Settings
) -> None:
    random = Random(seed)
    at, number = 0, 0
    steps: list[Callable[[], Any]] = [
        lambda: by_month.turn(timedelta(seconds=random.randrange(90))),
        lambda: by_month.closer.turn(hands.connection),
        lambda: hands.turn(timedelta(minutes=random.randrange(90))),
    ]
    for _ in range(25):
        sales = []
        for _ in range(random.randrange(3)):
            number += 1
            day = -random.randrange(150) if random.random() < 0.9 else 0
            sales.append(sale(number, day, random.choice(["2.50", "19.99"])))
        if sales:
            await apply(store, part(sales, first=at))
            at += len(sales)
        await random.choice(steps)()
        if random.random() < 0.2:
            by_month.closer = Months(settings, hands).closer
            await by_month.closer.recall(hands.connection)
    for _ in range(3):
        await by_month.turn(timedelta(hours=3))
    log = await hands.told()
    await agrees(pool, log)
    closed = {event.subject for event in log if event.type == "DayClosed"}
    wanted = {day[:7] for day in closed}
    last = max(closed)
    open_month = last[:7] if date.fromisoformat(last) + DAY < _end(last) else None
    assert {f"{month:%Y-%m}" for (_, month), _ in recall(log)} == wanted - {open_month}


def _end(day: str) -> date:
    """The first day of the month after."""
    first = date.fromisoformat(day[:7] + "-01")
    return (first + 31 * DAY).replace(day=1)
