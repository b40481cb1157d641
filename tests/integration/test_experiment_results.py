"""What is counted of an experiment: in whatever order events come, cut and repeated, it is what a
recount of the set of events says."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count, pairwise
from random import Random
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.reports.experiments import REPORTS, RESULTS, AskedResults
from app.reports.report import Asked, Moment
from app.settings import Settings
from app.subscriptions import steps_of, topics_of
from ml_online.experiments import spans_of
from projections.clock import ShopClock
from projections.contents import Side, compare
from projections.experiment_exposures import EXPERIMENT_EXPOSURES
from projections.experiment_terms import EXPERIMENT_TERMS
from projections.goal_moments import GOAL_MOMENTS
from projections.postgres import connect, connect_alone, migrate
from projections.store import GroupStore
from projections.visitor_links import VISITOR_LINKS
from streams.batch import Batch, Part, Partition
from streams.codec import Fact
from streams.events import Event, ExperimentArm
from tests.traffic import AT, Plain, Recount, facts, happened

Pool = asyncpg.Pool
CLOCK = ShopClock(ZoneInfo("Asia/Kolkata"))
NUMBERS = count()
ARMS = ("usual", "new", "newer")
GOALS = ("ProductAdded", "CheckoutStarted")
STARTED, CHANGED, STOPPED = 60, 300, 700


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    await migrate(settings.servers.postgres, settings.schema_name)
    found = await connect(settings.servers.postgres, settings.schema_name)
    yield found
    found.terminate()


def history(random: Random, shop: str, many: int) -> list[Event]:
    """An experiment over some hours; visits and orders before, while and after it runs."""

    def terms(weights: Sequence[int]) -> dict[str, Any]:
        arms = [ExperimentArm(name=a, weight=w) for a, w in zip(ARMS, weights, strict=True)]
        return {
            "experiment_id": "x",
            "flag": "f",
            "arms": [{"name": one.name, "weight": one.weight} for one in arms],
            "spans": [{"arm": one.arm, "until": one.until} for one in spans_of(arms)],
            "goal": "ProductAdded",
            "guard_rails": [{"metric": "CheckoutStarted", "margin": "0.1"}],
            "currency": "EUR",
        }

    ended = {"experiment_id": "x", "arm": "new"}
    told: list[tuple[str, str, int, dict[str, Any], dict[str, Any] | None]] = [
        ("ExperimentStarted", "x", STARTED, terms((1, 1, 1)), None),
        ("ExperimentChanged", "x", CHANGED, terms((1, 1, 2)), None),
        ("ExperimentStopped", "x", STOPPED, ended, None),
    ]
    people = ["ada", "bob", "eve", None, None]
    for _ in range(many):
        visitor, person = f"v{random.randrange(12)}", random.choice(people)
        cart, order = f"c{random.randrange(12)}", f"o{random.randrange(16)}"
        minutes = random.randint(0, 840)
        # Some carts and orders never say whose they are: the links do.
        context = {"visitor": visitor} if random.random() < 0.7 else None
        line = {"product_id": "mug", "price": random.choice(["2", "7.5"]), "quantity": 1}
        money = {"currency": random.choice(["EUR", "EUR", "EUR", "GBP"])}
        sale = {"order_id": order, "products": [line], **money}
        if random.random() < 0.5:
            sale["cart_id"] = cart
        exposed = {"experiment_id": random.choice(["x", "x", "x", "y"])}
        exposed["arm"] = random.choice([*ARMS, *ARMS, "gone"])
        if random.random() < 0.3:
            exposed["unit"] = "person"
        happenings: list[tuple[str, str, dict[str, Any]]] = [
            ("ExperimentExposed", visitor, exposed),
            ("ExperimentExposed", visitor, exposed),
            ("ProductAdded", cart, {**line, "cart_id": cart, "currency": "EUR"}),
            ("CheckoutStarted", order, sale),
            ("OrderCompleted", order, sale),
            ("OrderCompleted", order, sale),
            ("OrderRefunded", order, {"order_id": order, "refund_id": "r", "total": "1.5"}),
            ("OrderCancelled", order, {"order_id": order}),
        ]
        kind, subject, data = random.choice(happenings)
        more: dict[str, Any] = (
            {"context": context} if context and kind != "ExperimentExposed" else {}
        )
        if kind == "ExperimentExposed" and random.random() < 0.05:
            more = {"context": {"bot": True}}
        told.append((kind, subject, minutes, data, {"person": person} | more if person else more))
    return [
        happened(kind, f"{shop}-{n}", subject, minutes, data=data, shop=shop, **(more or {}))
        for n, (kind, subject, minutes, data, more) in enumerate(told)
    ]


async def read(pool: Pool, events: Sequence[Event], random: Random) -> None:
    """As the groups' workers do, at the same time; `days` in its own order."""
    shuffled = facts(random.sample(events, len(events)))
    days = sorted((f for f in shuffled if f.topic == "days"), key=lambda fact: fact.event.time)
    others = [fact for fact in shuffled if fact.topic != "days"]
    others += random.sample(others, len(others) // 3)  # told again, and not known for it
    for fact in days:
        others.insert(random.randint(0, len(others)), fact)
    in_order = iter(days)
    log = [next(in_order) if fact.topic == "days" else fact for fact in others]
    await asyncio.gather(*(_read(pool, group, log, random) for group in ("sales", "activity")))


async def _read(pool: Pool, group: str, log: Sequence[Fact], random: Random) -> None:
    store = GroupStore(pool, group, steps_of(group), CLOCK)
    await store.register()
    number = next(NUMBERS)
    cuts = sorted({0, len(log), *(random.randint(0, len(log)) for _ in range(4))})
    for begin, end in pairwise(cuts):
        parts = []
        for topic in sorted(topics_of(group)):
            of_topic = [fact for fact in log if fact.topic == topic]
            before = sum(fact.topic == topic for fact in log[:begin])
            upto = sum(fact.topic == topic for fact in log[:end])
            if upto > before:
                told = [replace(f, offset=n) for n, f in enumerate(of_topic)][before:upto]
                partition = Partition(topic, number)
                parts.append(Part(partition, before, upto, told, (), (), upto, upto))
        await store.progress({part.partition: UUID(int=7) for part in parts})
        if parts:
            await store.commit(await store.prepare(Batch(parts, seek=1)))


class Recounted(Recount):
    """The experiment by pencil and paper."""

    def __init__(self, events: Sequence[Event]) -> None:
        super().__init__(events)
        times = {e["type"]: self.at(e) for e in self.events if e["subject"] == "x"}
        self.started, self.changed, self.stopped = (
            times[f"Experiment{name}"] for name in ("Started", "Changed", "Stopped")
        )

    @staticmethod
    def at(event: Plain) -> datetime:
        return datetime.fromisoformat(event["time"])

    def resolved(self, name: str) -> str:
        for _ in range(3):
            name = self._links[name][1] if name in self._links else name
        return name

    def seen(self) -> dict[tuple[str, str], tuple[datetime, str, bool]]:
        """Of each unit and arm: the first time, the best name, whether it was a robot."""
        of: dict[tuple[str, str], list[Plain]] = defaultdict(list)
        for event in self.events:
            data, person = event["data"], event.get("person")
            if event["type"] == "ExperimentExposed" and data["experiment_id"] == "x":
                unit = person if data.get("unit") == "person" and person else event["subject"]
                of[unit, data["arm"]].append(event)
        return {
            key: (
                min(map(self.at, told)),
                min(self.names(event)[0] for event in told)[1],
                any(self.way(event)[2] for event in told),
            )
            for key, told in of.items()
        }

    def exposed(self) -> dict[str, tuple[datetime, str, bool]]:
        """Of each of those who count: since when, in which arm, and whether they saw another."""
        rows: dict[str, list[tuple[datetime, str, str]]] = defaultdict(list)
        for (unit, arm), (at, name, bot) in self.seen().items():
            if arm in ARMS and not bot and at < self.stopped:
                rows[self.resolved(name)].append((at, unit, arm))
        return {
            who: (min(told)[0], min(told)[2], len({arm for *_, arm in told}) > 1)
            for who, told in rows.items()
        }

    def orders(self) -> dict[str, list[tuple[datetime, str, Decimal, Decimal]]]:
        """Of each buyer: when, in which currency, what is left, and what was given back."""
        of: dict[str, dict[str, list[Plain]]] = defaultdict(lambda: defaultdict(list))
        for event in self.events:
            if "order_id" in event["data"]:
                of[event["data"]["order_id"]][event["type"]].append(event)
        hour = self.started.replace(second=0)  # begins there by the clock of this shop
        found = defaultdict(list)
        for order, kinds in of.items():

            def first(kind: str, told: Mapping[str, Sequence[Plain]] = kinds) -> Plain | None:
                return min(told[kind], key=lambda e: (self.at(e), e["id"]), default=None)

            sale, refund, end = map(first, ("OrderCompleted", "OrderRefunded", "OrderCancelled"))
            if sale is None:
                continue
            gross = sum((Decimal(x["price"]) for x in sale["data"]["products"]), Decimal())
            back = [(self.at(refund), Decimal("1.5"))] if refund else []
            back += [(self.at(end), gross - sum(b for _, b in back))] if end else []
            given = sum((amount for at, amount in back if at >= hour), Decimal())
            row = (self.at(sale), sale["data"]["currency"], gross - given, given)
            found[self.resolved(f"o:{order}")].append(row)
        return found

    def arms(self) -> dict[tuple[str, str], tuple[int, int, Decimal, int, int]]:
        """By metric and arm: units, those with an outcome, what it comes to, who saw another arm,
        orders in another currency."""
        orders, did = self.orders(), defaultdict(list)
        for event in self.events:
            if event["type"] in GOALS:
                did[self.who(event), event["type"]].append(self.at(event))
        found: dict[tuple[str, str], list[Any]] = {}
        metrics = ("conversion", "orders", "revenue", "refunds", *GOALS)
        for metric in metrics:
            for arm in ARMS:
                found[metric, arm] = [0, 0, Decimal(), 0, 0]
        for who, (since, arm, crossed) in self.exposed().items():
            since = max(since, self.started)
            bought = [one for one in orders.get(who, []) if since <= one[0] < self.stopped]
            euros = [one for one in bought if one[1] == "EUR"]
            outcome: dict[str, Decimal] = {
                "conversion": Decimal(bool(bought)),
                "orders": Decimal(len(bought)),
                "revenue": sum((one[2] for one in euros), Decimal()),
                "refunds": sum((one[3] for one in euros), Decimal()),
            }
            for goal in GOALS:
                times = did[who, goal]
                outcome[goal] = Decimal(any(since <= at < self.stopped for at in times))
            for metric, value in outcome.items():
                row = found[metric, arm]
                row[0] += 1
                row[1] += bool(value)
                row[2] += value
                row[3] += crossed
                row[4] += len(bought) - len(euros)
        return {key: tuple(row) for key, row in found.items()}

    def fell(self) -> tuple[Counter[tuple[bool, str]], int]:
        """By their own ids: units of each arm before and after the change; those left out."""
        firsts: dict[str, tuple[datetime, str]] = {}
        out = set()
        for (unit, arm), (at, _, bot) in self.seen().items():
            if arm not in ARMS or bot or at >= self.stopped:
                out.add(unit)
            else:
                firsts[unit] = min(firsts.get(unit, (at, arm)), (at, arm))
        return Counter((at >= self.changed, arm) for at, arm in firsts.values()), len(out)


@given_settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1_000_000), many=st.integers(0, 160))
async def test_any_order_any_cut_and_any_repetition_come_to_the_recount(
    pool: Pool, seed: int, many: int
) -> None:
    random, shop = Random(seed), f"shop-{next(NUMBERS)}"
    events = history(random, shop, many)
    await read(pool, events, random)
    recount = Recounted(events)

    moment = Moment(CLOCK, AT + timedelta(days=2))
    rows = await RESULTS.rows(pool, moment, AskedResults(shop=shop, experiment="x"))
    assert {
        (row["metric"], row["arm"]): (
            row["units"],
            row["active"],
            Decimal(row["total"]),
            row["crossed"],
            row["other_currencies"],
        )
        for row in rows
    } == recount.arms()
    fell, left_out = recount.fell()
    assert {row["left_out"] for row in rows} == {left_out}
    for arm in ARMS:
        assert {row["fell"] for row in rows if row["arm"] == arm} == {
            fell[False, arm] + fell[True, arm]
        }
    assert not await RESULTS.rows(pool, moment, AskedResults(shop=shop))  # it does not run
    [listed] = await REPORTS[0].rows(pool, moment, Asked(shop=shop))
    assert (listed["state"], listed["left_to_everyone"]) == ("stopped", "new")


async def test_an_experiment_says_which_other_takes_all_units_before_it(pool: Pool) -> None:
    shop = f"shop-{next(NUMBERS)}"
    arms = [ExperimentArm(name="usual", weight=1), ExperimentArm(name="new", weight=1)]
    spans = [{"arm": one.arm, "until": one.until} for one in spans_of(arms)]
    told: list[tuple[str, str, dict[str, Any]]] = [
        ("half", "f", {"traffic": "0.5"}),
        ("whole", "f", {}),
        ("late", "f", {}),
        ("other", "g", {}),
    ]
    events = [
        happened(
            "ExperimentStarted",
            f"{shop}-{name}",
            name,
            minute,
            shop=shop,
            data={
                "experiment_id": name,
                "flag": flag,
                "arms": [{"name": one.name, "weight": 1} for one in arms],
                "spans": spans,
                "goal": "ProductAdded",
                "currency": "EUR",
                **more,
            },
        )
        for minute, (name, flag, more) in enumerate(told)
    ]
    end = happened(
        "ExperimentStopped",
        f"{shop}-end",
        "whole",
        9,
        shop=shop,
        data={"experiment_id": "whole", "arm": None},
    )
    moment = Moment(CLOCK, AT + timedelta(days=2))

    async def behind() -> dict[str, str | None]:
        rows = await REPORTS[0].rows(pool, moment, Asked(shop=shop))
        return {row["id"]: row["behind"] for row in rows}

    await read(pool, events, Random(1))
    assert await behind() == {"half": None, "whole": None, "late": "whole", "other": None}
    await read(pool, [*events, end], Random(1))
    assert await behind() == dict.fromkeys(("half", "whole", "late", "other"))


MODELS = (EXPERIMENT_TERMS, EXPERIMENT_EXPOSURES, GOAL_MOMENTS, VISITOR_LINKS)


async def test_tables_made_anew_say_what_those_in_use_do(settings: Settings, pool: Pool) -> None:
    random = Random(7)
    events = history(random, "main", 200)
    await read(pool, events, random)
    again = f"{settings.schema_name}_again"
    await migrate(settings.servers.postgres, again)
    anew = await connect(settings.servers.postgres, again)
    served, other = [await connect_alone(settings.servers.postgres, again) for _ in range(2)]
    try:
        await read(anew, events, Random(8))
        async with served.transaction(), other.transaction():
            sides = (Side(served, settings.schema_name), Side(other, again))
            for model in MODELS:
                assert model.contents is not None
                found = await compare(*sides, model.contents)
                assert found.keys > 0
                assert (found.differing, found.examples) == (0, [])
    finally:
        anew.terminate()
        await served.close()
        await other.close()
