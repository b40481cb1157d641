"""The job that learns a shop's sales anew, with parameters, beside the models that are served."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import date, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from app.jobs import queue
from app.jobs.job import Job, JobFailed, Kind, Progress
from app.settings import Settings
from app.subscriptions import LEARNERS
from ml_online import journal
from ml_online.calendar import KNOWN
from ml_online.daily import HORIZON, DailyForecaster
from ml_online.daily_regression import FORGETTING
from ml_online.journal import Entry
from ml_online.replay import facts_of
from ml_online.sales_forecast import SALES_FORECAST, SalesForecaster
from ml_online.stock_days import StockDays
from projections import skips
from projections.clock import following
from projections.postgres import connect_alone
from projections.read_model import Transaction
from streams.batch import LogChanged, Partition
from streams.codec import Fact
from streams.dedupe import Window
from streams.events import DayClosed

DAYS = Partition("days", 0)
_TOPICS = (DAYS.topic, "catalog")  # that it learns from: stock tells which days say nothing

_TURN_SECONDS = 0.05
_RECENT_DAYS = 45  # from the first of a month until it is closed
_MOST_WAITING = 5
_PATIENCE_SECONDS = 120.0  # until a month's last day is on the log, and the learner has read it
_LOOK_SECONDS = 1.0


class Parameters(Struct, frozen=True):
    """What a training may be told: from which day on it learns, the first where none is named; and
    how much of a day's weight remains on the next."""

    first: date | None = None
    forgetting: float = FORGETTING


async def read_by_learner(transaction: Transaction) -> int:
    """Up to where the learner has read what is told of days; 0 where it has not begun."""
    found = await transaction.fetchval(
        "SELECT next_offset FROM progress WHERE group_name = $1 AND topic = $2 AND partition = $3",
        LEARNERS,
        *DAYS,
    )
    return int(found or 0)


def asked_of(parameters: Parameters, end: int) -> dict[str, Any]:
    """What a job is told, as JSON."""
    return {"parameters": msgspec.to_builtins(parameters), "next_offset": end}


def key_of(shop: str, parameters: Parameters, until: int | str) -> str:
    """The same for the same training: of what was learned up to an offset, or of a month."""
    told = msgspec.json.encode([shop, SALES_FORECAST.version, parameters, until])
    return hashlib.sha256(told).hexdigest()[:32]


async def _run(settings: Settings, job: Job, progress: Progress) -> Mapping[str, Any]:
    """From the beginning, whatever an attempt before had read, in the order in which the learner
    learned; the log's records are counted. One that was asked for when a month closed goes on until
    it has learned the month's last day, which the log may not hold by then; for a while."""
    parameters = msgspec.convert(job.asked["parameters"], Parameters)
    last_day, end = _last_day(job.asked), int(job.asked["next_offset"])
    trainee = _Trainee(job.shop, parameters)
    known, at, seq = trainee.sales, 0, 0
    windows: dict[Partition, Window] = {}
    patience = time.monotonic() + _PATIENCE_SECONDS
    while True:
        if at < end:
            async with _connection(settings) as connection:
                entries = _up_to(end, await journal.entries_after(connection, LEARNERS, seq))
            at, seq = _leads(entries, at, end)
            records = sum(entry.next - entry.first for entry in entries)
            progress.tell(progress.done, progress.done + records)
            await _learn(settings, trainee, entries, windows, progress)
        trained = known.trained_through(job.shop)
        if last_day is None or (trained is not None and trained >= last_day):
            break
        if time.monotonic() > patience:
            break  # the result says up to when it was trained
        await asyncio.sleep(_LOOK_SECONDS)
        async with _connection(settings) as connection:
            end = max(end, await read_by_learner(connection))
    return result_of(known, job.shop, parameters, at)


class _Trainee:
    """What learns of one shop: its stock, and its sales beside it."""

    def __init__(self, shop: str, parameters: Parameters) -> None:
        self._shop = shop
        self._first = parameters.first.isoformat() if parameters.first else ""
        self._stock = StockDays()
        self.sales = SalesForecaster(
            self._stock, lambda: DailyForecaster(KNOWN, parameters.forgetting)
        )

    def learn(self, fact: Fact) -> None:
        """As the learner does: stock first."""
        if fact.event.shop != self._shop:
            return
        self._stock.learn(fact)
        if not isinstance(fact.data, DayClosed) or fact.data.date >= self._first:
            self.sales.learn(fact)


def _up_to(end: int, entries: Iterable[Entry]) -> list[Entry]:
    """Those of the journal that are learned from, until days are read up to an offset."""
    found = []
    for entry in entries:
        if entry.partition.topic in _TOPICS:
            found.append(entry)
        if entry.partition == DAYS and entry.next >= end:
            break
    return found


def _leads(entries: Sequence[Entry], at: int, end: int) -> tuple[int, int]:
    """Up to which offset entries tell of days that go on at one, and the last one's place in the
    journal. Raises JobFailed where they do not lead that far."""
    for entry in entries:
        if entry.partition == DAYS:
            if entry.first != at:
                break
            at = entry.next
    if at < end:
        raise JobFailed("the journal does not lead to what was read: the learner writes it anew")
    return at, entries[-1].seq


def _last_day(asked: Mapping[str, Any]) -> date | None:
    """Of the month that a training is of, if it is of one."""
    if (month := asked.get("month")) is None:
        return None
    return following(date.fromisoformat(f"{month}-01")) - timedelta(days=1)


@asynccontextmanager
async def _connection(settings: Settings) -> AsyncIterator[Transaction]:
    connection = await connect_alone(settings.servers.postgres, settings.schema_name)
    try:
        yield connection
    finally:
        await connection.close()


async def _learn(
    settings: Settings,
    trainee: _Trainee,
    entries: Sequence[Entry],
    windows: dict[Partition, Window],
    progress: Progress,
) -> None:
    """Stretches of the log."""
    async with _connection(settings) as connection:
        skipped = await skips.of_group(connection, LEARNERS)
    servers, begun = settings.servers, progress.done
    try:
        async for part, facts in facts_of(
            servers.kafka, settings.prefix, settings.dedupe_window, entries, skipped, windows
        ):
            turn = time.monotonic()
            for number, fact in enumerate(facts):
                trainee.learn(fact)
                progress.tell(begun + number)
                if time.monotonic() - turn > _TURN_SECONDS:
                    await asyncio.sleep(0)
                    turn = time.monotonic()
            begun += part.next - part.first
            progress.tell(begun)
    except LogChanged as error:
        raise JobFailed(str(error)) from error


def result_of(
    known: SalesForecaster, shop: str, parameters: Parameters, end: int
) -> Mapping[str, Any]:
    """What a training has come to: its models' scores, and what they foretell of the whole shop."""
    from app.learner.forecasts import Wanted, models, sales  # and with them all of FastAPI

    digest = hashlib.sha256()
    for row in known.state():
        digest.update(msgspec.json.encode(row) + b"\n")
    totals = [kind for kind in sorted(known.series(shop)) if kind.level == "total"]
    result = {
        "name": SALES_FORECAST.name,
        "version": SALES_FORECAST.version,
        "parameters": parameters,
        "next_offsets": {DAYS.topic: [end]},
        "trained_through": known.trained_through(shop),
        "digest": digest.hexdigest(),
        **models(known, shop),
        "totals": [
            sales(known, Wanted(shop, "total", "", kind.currency, kind.measure), HORIZON)
            for kind in totals
            if known.forecasts(shop, kind, "")
        ],
    }
    found: Mapping[str, Any] = msgspec.to_builtins(result)
    return found


TRAIN = Kind("train", _run, figures=True)


async def train_after(transaction: Transaction, shop: str, month: date) -> None:
    """Asks for a training once a month is closed; not for those that a history is read of."""
    today = await transaction.fetchval("SELECT current_date")
    end = await read_by_learner(transaction)
    if not end or (today - month).days > _RECENT_DAYS:
        return
    parameters = Parameters()
    key = key_of(shop, parameters, f"{month:%Y-%m}")
    with suppress(queue.TooMany):  # it is no loss: the models that are served learn every day
        asked = asked_of(parameters, end) | {"month": f"{month:%Y-%m}"}
        await queue.ask(transaction, TRAIN, shop, asked, key, _MOST_WAITING)
