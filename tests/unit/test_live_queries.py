"""Live queries: asked once for all, again when something moved, told as differences."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.learner.stock_out_answers import Wanted, stock_outs
from app.live import client as live_client
from app.live import queries as live_queries
from app.live.answers import NotTold, answer_of, delta_message, difference, snapshot_message
from app.live.asking import Question, question
from app.live.client import Client, attend
from app.live.protocol import Message, parse, parse_query
from app.live.queries import Away, Queries
from app.reports.report import Asked, Column, Moment, Report
from ml_online.stock_days import StockDays
from ml_online.stock_out_forecast import ALERT, StockOuts
from projections.clock import ShopClock
from streams.codec import Refused
from tests.live import Held
from tests.unit.test_live_client import FakeHub, Pipe, for_ever
from tests.unit.test_stock_out_forecast import RATES, SHOP, asked, demanded, history, learned

HOUR = timedelta(hours=1)
Rows = Sequence[Mapping[str, Any]]

rows = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from("abcdef"),
            "to": st.none() | st.sampled_from("xy"),
            "n": st.integers(0, 2),
        }
    ),
    unique_by=lambda row: (row["name"], row["to"]),
)


@given(st.lists(rows, min_size=2, max_size=5), st.sets(st.integers(1, 4)))
def test_who_follows_has_the_answer_whatever_was_left_out(
    answers: list[Rows], slept: set[int]
) -> None:
    """Some answers are never sent, as to a client that is slow; the last one is."""
    told = [answer_of("net", "main", ("name", "to"), one) for one in answers]
    held, has = Held(), told[0]
    held.take(json.loads(snapshot_message("net", has).body))
    for number, now in enumerate(told[1:], 1):
        if number in slept and now is not told[-1]:
            continue
        held.take(json.loads(delta_message("net", now.revision, difference(has, now)).body))
        has = now
        assert held.rows == answers[number]
    assert held.revision == told[-1].revision


@given(rows, rows)
def test_a_revision_is_that_of_the_content(one: Rows, other: Rows) -> None:
    first, second = (answer_of("net", "main", ("name", "to"), found) for found in (one, other))
    assert (first.revision == second.revision) == (list(one) == list(other))
    if list(one) == list(other):
        assert difference(first, second) == ([], [], None)


def test_what_only_grows_at_its_end_needs_no_order() -> None:
    days = [{"day": f"2026-03-{n:02d}", "net": "1.00"} for n in range(1, 10)]
    before, now = (answer_of("net", "main", ("day",), days[:n]) for n in (8, 9))
    found = difference(before, now)
    assert (len(found.figures), found.gone, found.order) == (1, [], None)


def test_a_key_that_does_not_tell_rows_apart_is_a_bug() -> None:
    with pytest.raises(NotTold):
        answer_of("net", "main", ("name",), [{"name": "a", "n": 1}, {"name": "a", "n": 2}])


# What may be asked.


def test_it_is_asked_as_over_http() -> None:
    frame = {
        "subscribe": "net",
        "shop": "retail",
        "filter": {
            "grain": "month",
            "by": "country,product",
            "country": "DE",
            "from": "2026-01-01",
        },
    }
    told = question(parse(json.dumps(frame)))
    query = [("shop", "retail"), ("grain", "month"), ("by", "country"), ("by", "product")]
    same = question(parse_query("net", [*query, ("country", "DE"), ("from", "2026-01-01")], None))
    assert told.key == same.key
    assert told.asked.shop == "retail"
    assert told.asked.country == ["DE"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("filter", "field"),
    [
        ({"contry": "DE"}, "filter.contry"),
        ({"grain": "fortnight"}, "filter.grain"),
        ({"grain": ["day", "month"]}, "filter.grain"),
        ({"by": ["country", "colour"]}, "filter.by.1"),
        ({"from": "2026-02-30"}, "filter.from"),
        ({"from": "2026-03-02", "to": "2026-03-01"}, "filter.to"),
        ({"as_of": "2026-03-01T00:00:00Z"}, "filter.as_of"),
        ({"min_position": "orders:0:1"}, "filter.min_position"),
        ({"wait": "3"}, "filter.wait"),
        ({"shop": "main"}, "filter.shop"),
        ({"country": "\0"}, "filter.country.0"),
    ],
)
def test_a_wrong_filter_is_named(filter: dict[str, Any], field: str) -> None:  # noqa: A002
    with pytest.raises(Refused) as refused:
        question(parse(json.dumps({"subscribe": "net", "filter": filter})))
    assert refused.value.field == field
    assert refused.value.reason


@pytest.mark.parametrize(
    ("filter", "field"),
    [
        ({"lead_time": "45", "review": "1"}, "filter.cover"),
        ({"lead_time": "30", "review": "10", "cover": "6"}, "filter.cover"),
        ({"short_cost": "3"}, "filter.over_cost"),
        ({"over_cost": "3"}, "filter.over_cost"),
        ({"service_level": "1"}, "filter.service_level"),
        ({"scored_days": "9"}, "filter.scored_days"),
    ],
)
def test_of_stock_that_runs_out_what_makes_no_sense_is_refused(
    filter: dict[str, str],  # noqa: A002
    field: str,
) -> None:
    with pytest.raises(Refused) as refused:
        question(parse(json.dumps({"subscribe": "forecasts_stockouts", "filter": filter})))
    assert refused.value.field == field


class RunsOut:
    """A learner, and the transaction that says how far it has read."""

    def __init__(self, shelf: tuple[StockOuts, StockDays], now: datetime) -> None:
        self._shelf = shelf
        self._now = now

    async def fetchval(self, *_: object) -> int:
        return 9

    async def told(
        self, path: str, params: Mapping[str, Any], wait: float = 0.0
    ) -> tuple[int, dict[str, Any]]:
        given = {name: value for name, value in params.items() if name in Wanted._fields}
        assert (path, set(given)) == ("/forecasts/stockouts", set(Wanted._fields))
        assert (params["min_position"], params["wait"]) == ("days:0:8", wait)
        return 200, stock_outs(*self._shelf, Wanted(**given), self._now)


async def test_what_runs_out_has_the_rows_of_its_query() -> None:
    shelf = learned(history(demanded(60, RATES), {"much": 40, "some": 500}))
    now = asked(59).now
    learner = RunsOut((shelf.outs, shelf.stock), now)
    filtered = {"lead_time": "14", "short_cost": "9", "over_cost": "1", "limit": "1"}
    told = {"subscribe": "forecasts_stockouts", "shop": SHOP, "filter": filtered}
    report, wanted = question(parse(json.dumps(told)))
    moment = Moment(ShopClock(ZoneInfo("UTC")), now, learner=learner)
    transaction: Any = learner
    (row,) = await report.rows(transaction, moment, wanted)
    same = Wanted(SHOP, 14, 0, 0, 0.95, 9.0, 1.0, None, 0.0, ALERT, 90, 1)
    assert [row] == stock_outs(shelf.outs, shelf.stock, same, now)["stock_outs"]
    assert row["variant"] == "much"
    assert [column.name for column in report.columns(wanted)] == list(row)


# How it is asked.


class World:
    """A report whose rows a test sets, and Postgres' word on what has moved."""

    def __init__(self) -> None:
        self.rows: Rows = [{"name": "a", "n": 0}]
        self.asked = 0
        self.mark = 0
        self.away = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.queries = Queries(self, self.snapshot, ShopClock(ZoneInfo("UTC")), HOUR)

    async def fetch(self, _: str) -> list[dict[str, str]]:
        if self.away:
            raise ConnectionRefusedError
        return [{"group_name": "sales", "mark": str(self.mark)}]

    @asynccontextmanager
    async def snapshot(self, group: str) -> AsyncIterator[Any]:
        assert group == "sales"
        if self.away:
            raise Away("no")
        yield None

    async def answer(self, _: Any, moment: Moment, __: Asked) -> Rows:
        assert abs((datetime.now(UTC) - moment.now).total_seconds()) < 60
        self.asked += 1
        found = self.rows
        await self.may_answer.wait()
        return found

    def question(self, **asked: Any) -> Question:
        report: Report[Asked] = Report(
            name="counted",
            says="what a test says",
            path="/",
            group="sales",
            asked=Asked,
            columns=lambda _: (Column("name"), Column("n", "count")),
            key=lambda _: ("name",),
            rows=self.answer,
        )
        return Question(report, Asked(**asked))

    def set(self, *found: dict[str, Any]) -> None:
        self.rows = found
        self.mark += 1


@pytest.fixture
async def world() -> AsyncIterator[World]:
    found = World()
    looking = asyncio.create_task(found.queries.run())
    try:
        yield found
    finally:
        looking.cancel()
        await found.queries.close(5)


@asynccontextmanager
async def listening(world: World, pipe: Pipe, since: str | None = None) -> AsyncIterator[Client]:
    client = Client(pipe.send, world.queries)
    client.watch("mine", world.question(), since)
    feed = asyncio.create_task(attend(FakeHub(), client, for_ever()))
    try:
        yield client
    finally:
        feed.cancel()
        await asyncio.gather(feed, return_exceptions=True)


async def until(so: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not so():
            await asyncio.sleep(0.005)


def held(pipe: Pipe) -> list[Any]:
    """What a client has of all that it was told."""
    found = Held()
    for message in pipe.messages:
        if message["type"] in ("snapshot", "delta"):
            found.take(message)
    return found.rows


async def has_all(world: World, pipe: Pipe) -> None:
    """Until a client has the report's rows as they are."""
    await until(lambda: held(pipe) == list(world.rows))


async def test_many_who_ask_the_same_are_asked_once(world: World) -> None:
    world.may_answer.clear()
    pipes = [Pipe() for _ in range(20)]
    async with AsyncExitStack() as stack:
        for pipe in pipes:
            await stack.enter_async_context(listening(world, pipe))
        await until(lambda: world.asked == 1)
        world.may_answer.set()
        await asyncio.gather(*(pipe.has(1) for pipe in pipes))
        before = world.asked
        assert before <= 2  # nobody had looked yet what had moved before
        world.set({"name": "b", "n": 1}, {"name": "a", "n": 0})
        for pipe in pipes:
            await has_all(world, pipe)
        assert world.asked <= before + 2
    assert pipes[0].messages[0]["type"] == "snapshot"
    assert pipes[0].messages[1]["type"] == "delta"
    assert pipes[0].messages[1]["order"] == ['["b"]', '["a"]']


async def test_who_takes_nothing_delays_nobody_and_gets_the_latest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_client, "SEND_SECONDS", 60)
    slow, quick = Pipe(), Pipe()
    async with listening(world, slow), listening(world, quick):
        await asyncio.gather(slow.has(1), quick.has(1))
        slow.open.clear()
        for number in range(1, 6):
            world.set({"name": "a", "n": number}, {"name": f"k{number}", "n": number})
            await has_all(world, quick)
        slow.open.set()
        await has_all(world, slow)
    assert len(slow.messages) <= 3  # one was under way
    assert len(quick.messages) == 6


async def test_who_has_the_answer_already_gets_no_snapshot(world: World) -> None:
    first, again, other = Pipe(), Pipe(), Pipe()
    async with listening(world, first):
        revision = (await first.has(1))[0]["revision"]
    async with listening(world, again, revision), listening(world, other, "else"):
        same, snapshot = (await again.has(1))[0], (await other.has(1))[0]
    assert (same["type"], same["figures"], same["revision"]) == ("delta", [], revision)
    assert (snapshot["type"], len(snapshot["figures"])) == ("snapshot", 1)


async def test_nobody_is_told_of_a_postgres_that_is_away(world: World) -> None:
    pipe = Pipe()
    async with listening(world, pipe):
        await pipe.has(1)
        world.away = True
        world.set({"name": "a", "n": 7})
        await asyncio.sleep(0.3)
        assert len(pipe.messages) == 1
        world.away = False
        await has_all(world, pipe)
    assert [message["type"] for message in pipe.messages] == ["snapshot", "delta"]


async def test_what_nobody_listens_to_is_asked_no_more(world: World) -> None:
    pipe = Pipe()
    async with listening(world, pipe):
        await pipe.has(1)
    asked = world.asked
    world.set({"name": "a", "n": 1})
    await asyncio.sleep(0.3)
    assert world.asked == asked
    async with listening(world, again := Pipe()):
        assert (await again.has(1))[0]["figures"][0]["value"] == {"name": "a", "n": 1}


async def test_too_many_rows_are_refused_with_their_number(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_queries, "MOST_ROWS", 3)
    pipe = Pipe()
    async with listening(world, pipe) as client:
        await pipe.has(1)
        world.set(*({"name": str(n), "n": n} for n in range(4)))
        error = (await pipe.has(2))[1]
        assert (error["type"], error["id"], error["field"]) == ("error", "mine", "filter")
        assert "4 rows" in error["reason"]
        await until(lambda: not client.names)
        world.set({"name": "a", "n": 1})
        client.watch("mine", world.question())
        assert (await pipe.has(3))[2]["type"] == "snapshot"


async def test_a_bug_in_a_report_ends_its_query_alone(world: World) -> None:
    pipe = Pipe()
    async with listening(world, pipe):
        await pipe.has(1)
        world.set({"name": "a", "n": 1}, {"name": "a", "n": 2})
        assert (await pipe.has(2))[1]["type"] == "error"


async def test_there_are_so_many_different_queries_and_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_queries, "MOST_QUERIES", 2)
    one, other = Client(_nowhere, world.queries), Client(_nowhere, world.queries)
    for shop in ("a", "b"):
        one.watch(shop, world.question(shop=shop))
    other.watch("same", world.question(shop="a"))
    with pytest.raises(Refused) as refused:
        other.watch("third", world.question(shop="c"))
    assert refused.value.field == "subscribe"
    one.close()
    other.watch("third", world.question(shop="c"))
    other.close()


async def _nowhere(_: Message) -> None: ...
