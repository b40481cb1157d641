"""A chaos run: rounds of a fault under load, each followed by peace and a comparison; at last
everything is counted once more, from the first record on."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from signal import SIGKILL
from typing import NamedTuple

import asyncpg
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from app.stack.up import Stack
from loadtests.chaos import records, served
from loadtests.chaos.activity import GROUP as ACTIVITY
from loadtests.chaos.activity import compare_activity
from loadtests.chaos.faults import FAULTS, Fault, Scene, mixed
from loadtests.chaos.history import Operation, Outcome, promises
from loadtests.chaos.load import Load, Writer, writing
from loadtests.chaos.records import Fate, Judge, Judged
from loadtests.chaos.recount import Books, recount
from loadtests.chaos.served import Comparison, Difference
from loadtests.chaos.served_live import compare_redis
from loadtests.chaos.site import CLI, Impatient, Site, opened
from loadtests.chaos.traffic import traffic
from streams.readback import log_ends

PARTITIONS = 6
WINDOW = 20_000
CONVERGE_SECONDS = 90.0
_CALM_SECONDS = 2.0
_MIXED_ROUNDS = 3
_SAMPLED_ORDERS = 50
_MOST_RATE = 2_000.0
_SENT_SECONDS = 600.0
_LOOK_SECONDS = 0.2

Tell = Callable[[str], None]


class Plan(NamedTuple):
    """What a run is a function of."""

    seed: int
    events: int
    faults: Sequence[str]
    rounds: Sequence[Sequence[Fault]]

    @property
    def events_each(self) -> int:
        return max(1, self.events // max(1, len(self.rounds)))


def plan(seed: int, events: int, names: Sequence[str] = ()) -> Plan:
    """Each of these faults alone (`a+b`: both at a time), in an order of the seed's; without names
    all of them, and some mixed."""
    random = Random(f"chaos {seed}")
    rounds: list[Sequence[Fault]] = [
        [FAULTS[name] for name in together.split("+")] for together in (names or FAULTS)
    ]
    random.shuffle(rounds)
    if not names:
        rounds += [mixed(random) for _ in range(_MIXED_ROUNDS)]
    return Plan(seed, events, list(names), rounds)


class Round(NamedTuple):
    """What came of one round, or of the recount of all."""

    seed: int
    fault: str
    times: int
    events: int
    lost: int
    doubled: int
    different: int
    recovery_seconds: float
    figures: int
    trouble: str = ""

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.different or self.trouble)


class Run:
    """One seed on one site."""

    def __init__(self, site: Site, plan: Plan, writer: Writer, tell: Tell, patience: float) -> None:
        self._site, self._plan, self._writer, self._tell = site, plan, writer, tell
        self._patience = patience
        self._random = Random(f"chaos run {plan.seed}")
        self._judge = Judge(site.settings.partitions, site.settings.dedupe_window)
        self._read: dict[int, int] = {}
        self.log: list[Judged] = []
        self.history: list[Operation] = []
        self.differences: list[Difference] = []

    async def rounds(self) -> list[Round]:
        """All rounds, and the recount of everything at the end."""
        found = []
        for number, faults in enumerate(self._plan.rounds):
            found.append(await self._round(number, faults))
            self._tell(told(found[-1]))
        found.append(await self._all())
        self._tell(told(found[-1]))
        return found

    async def _round(self, number: int, faults: Sequence[Fault]) -> Round:
        name, shop = " + ".join(fault.name for fault in faults), f"shop-{number}"
        load = self._load(number, shop, faults)
        scene = Scene(
            self._site, self._random, self._writer, shop, self._plan.seed, datetime.now(UTC)
        )
        sending = asyncio.create_task(load.run(None))
        await asyncio.sleep(_CALM_SECONDS)
        self._site.kill(self._site.slots[ACTIVITY])  # in each round; it is not what is timed
        struck = await asyncio.gather(
            *(fault.strike(scene) for fault in faults), return_exceptions=True
        )
        healed = time.monotonic()
        caught_up = asyncio.create_task(self._caught_up(healed))
        times = sum(one for one in struck if isinstance(one, int))
        failed = [repr(one) for one in struck if not isinstance(one, int)]
        trouble = "; ".join(failed) or ("" if all(struck) else "it did not strike")
        try:
            async with asyncio.timeout(_SENT_SECONDS):
                while load.sent < self._plan.events_each and not sending.done():
                    await asyncio.sleep(0.05)
        finally:
            load.stop()
            await sending
        self.history += load.history
        try:
            await self._converge()
            recovery = await caught_up
        except Impatient as impatient:
            trouble = trouble or str(impatient)
            recovery = time.monotonic() - healed
        finally:
            caught_up.cancel()
        books = await asyncio.to_thread(_recounted, self.log, shop)
        found = await served.compare_postgres(self._site, self.log, books, shop)
        events = sum(1 for one in self.log if one.event and one.event["shop"] == shop)
        return self._result(name, times, events, found, recovery, trouble)

    def _load(self, number: int, shop: str, faults: Sequence[Fault]) -> Load:
        disorder = max((fault.disorder for fault in faults), key=lambda found: found.duplicated)
        seed, now = self._plan.seed, datetime.now(UTC)
        events = traffic(f"s{seed}-r{number}", shop, seed, now, disorder)
        rate = min(_MOST_RATE, max(100.0, self._plan.events_each / 10))
        return Load(self._site.api, f"key-{number}", shop, events, rate, self._random)

    def _result(
        self,
        name: str,
        times: int,
        events: int,
        found: Comparison,
        recovery: float,
        trouble: str,
    ) -> Round:
        self.differences += found.differences
        return Round(
            self._plan.seed,
            name,
            times,
            events,
            found.lost,
            found.doubled,
            len(found.differences),
            recovery,
            found.figures,
            trouble,
        )

    async def _converge(self) -> None:
        """Until all that is on the log is applied, and nothing comes after it. Raises Impatient."""
        deadline = time.monotonic() + self._patience
        while True:
            await self._read_on()
            if await self._applied(deadline) and not await self._read_on():
                return
            if time.monotonic() > deadline:
                raise Impatient(f"not all is applied after {self._patience:g} s")

    async def _caught_up(self, healed: float) -> float:
        """From when a fault was healed until all is applied that was on the log then, in seconds,
        while clients go on."""
        site = self._site
        names = [TopicPartition(site.topic, number) for number in range(site.settings.partitions)]
        ends: dict[int, int] = {}
        while True:
            with suppress(OSError, KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if not ends:
                    spans = await log_ends(site.servers.kafka, names)
                    ends = {tp.partition: end for tp, (_, end) in spans.items()}
                at = await site.next_offsets()
                if all(at.get(number, 0) >= end for number, end in ends.items()):
                    return time.monotonic() - healed
            await asyncio.sleep(_LOOK_SECONDS)

    async def _read_on(self) -> int:
        """Takes in what the log has beyond what is known of it; how much that is."""
        site = self._site
        new = await records.read(
            site.servers.kafka, site.topic, site.settings.partitions, self._read
        )
        self.log += self._judge.judge(new)
        self._read |= {record.partition: record.offset + 1 for record in new}
        return len(new)

    async def _applied(self, deadline: float) -> bool:
        while time.monotonic() < deadline:
            with suppress(OSError):
                at = await self._site.next_offsets()
                if all(at.get(number, 0) >= end for number, end in self._read.items()):
                    return True
            await asyncio.sleep(0.1)
        return False

    # At the end.

    async def _all(self) -> Round:
        """Everything, from the first record on, by a judge who has seen nothing yet."""
        site, begun = self._site, time.monotonic()
        raw = await records.read(site.servers.kafka, site.topic, site.settings.partitions, {})
        judge = Judge(site.settings.partitions, site.settings.dedupe_window)
        # Beside the loop, in which the workers' link to Postgres lives.
        self.log = await asyncio.to_thread(judge.judge, raw)
        books = await asyncio.to_thread(_recounted, self.log)
        parts = [await served.compare_postgres(site, self.log, books)]
        trouble = ""
        try:
            parts.append(await self._days(books, wait=not parts[0].differences))
        except Impatient as impatient:
            trouble = str(impatient)
        try:
            parts.append(await compare_activity(site, self.log, self._patience))
        except Impatient as impatient:
            trouble = trouble or str(impatient)
        parts.append(await compare_redis(site, books, datetime.now(UTC)))
        for shop in sorted({shop for shop, _ in books.orders}):
            orders = sorted(order for of_shop, order in books.orders if of_shop == shop)
            sample = self._random.sample(orders, min(_SAMPLED_ORDERS, len(orders)))
            parts.append(await served.compare_api(site, books, shop, sample))
        kept = promises(self.history, self.log, self._writer.written)
        broken = [
            *(Difference("promised", one, "acknowledged", "not there") for one in kept.missing),
            *(Difference("on the log", one, "never sent", "there") for one in kept.uncalled),
        ]
        found = Comparison(
            sum(part.figures for part in parts),
            [*(one for part in parts for one in part.differences), *broken],
            parts[0].lost + len(kept.missing),
            parts[0].doubled,
        )
        outcomes = ", ".join(
            f"{kept.outcomes.get(outcome, 0):,} {outcome.value}" for outcome in Outcome
        )
        self._tell(f"seed {self._plan.seed}: requests {outcomes}")
        if ended := Counter(one for one in site.ended if one[1] != -SIGKILL):
            ends = ", ".join(f"{name} {n} times with {code}" for (name, code), n in ended.items())
            self._tell(f"seed {self._plan.seed}: ended by themselves: {ends}")
        seconds = time.monotonic() - begun
        return self._result("all, recounted", 0, len(self.log), found, seconds, trouble)

    async def _days(self, books: Books, *, wait: bool) -> Comparison:
        """The closed days, once what came late has settled. Raises Impatient."""
        site, today = self._site, datetime.now(UTC).date()
        deadline = time.monotonic() + self._patience
        while True:
            topic = site.settings.prefix + "days"
            log = await records.read(site.servers.kafka, topic, 1, {})
            told = [event for one in log if (event := records.envelope(one.value))]
            found = await served.compare_days(site, books, told, today)
            if not found.differences or not wait or time.monotonic() > deadline:
                return found
            await asyncio.sleep(2)


def _recounted(log: Sequence[Judged], shop: str | None = None) -> Books:
    """The books of a log, or of one shop on it."""
    return recount(
        event
        for _, fate, event in log
        if fate is Fate.COUNTS and event and shop in (None, event["shop"])
    )


def told(round: Round) -> str:  # noqa: A002
    """A round in one line."""
    mark = "[green]✓[/]" if round.good else "[red]✗[/]"
    wrong = (
        ""
        if round.good
        else (
            f" lost {round.lost}, doubled {round.doubled}, different {round.different}"
            f" {round.trouble}"
        )
    )
    return (
        f"{mark} seed {round.seed} {round.fault}: {round.times} times, {round.events:,} events, "
        f"{round.figures:,} figures, {round.recovery_seconds:.1f} s{wrong}"
    )


async def run_seed(
    stack: Stack,
    plan: Plan,
    tell: Tell,
    *,
    name: str = "",
    patience: float = CONVERGE_SECONDS,
    command: Sequence[str] = CLI,
) -> tuple[list[Round], Sequence[Difference]]:
    """One seed on topics and a schema of its own, with two workers."""
    keys = {f"key-{number}": f"shop-{number}" for number in range(len(plan.rounds))}
    async with opened(
        stack,
        name or f"chaos{plan.seed}",
        keys,
        partitions=PARTITIONS,
        window=WINDOW,
        workers=2,
        command=command,
    ) as site:
        async with writing(stack.servers.kafka, site.topic) as writer:
            run = Run(site, plan, writer, tell, patience)
            return await run.rounds(), run.differences


def seeds(text: str) -> Iterator[int]:
    """`7` or `1..5`. Raises ValueError."""
    first, _, last = text.partition("..")
    yield from range(int(first), int(last or first) + 1)
