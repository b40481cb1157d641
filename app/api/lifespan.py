"""What an API process holds, from its start to its end: in `app.state`, by one name each."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta

import asyncpg
from fastapi import FastAPI
from redis.asyncio import Redis
from starlette.datastructures import State

from app.api import as_of, images, imports, ingest, live, page, quarantine
from app.api.completeness import Figures
from app.api.kept import KeptAnswers
from app.api.limits import Rates, Room
from app.api.served import Served
from app.api.watch import Watch
from app.commands.execute import LIMITS, Commands
from app.erasure.names import ErasedNames
from app.exports.making import Making
from app.exposures import Exposures
from app.identity.login import LogIns
from app.identity.login import limits as log_in_limits
from app.identity.passwords import Passwords
from app.identity.sessions import Sessions
from app.identity.tokens import Tokens
from app.jobs.runner import Runner
from app.learner.client import LearnerClient
from app.live.hub import Hub
from app.live.queries import Queries
from app.own_key import own_key
from app.payments.opened import provider_of
from app.queries.accounts import People
from app.queries.experiments import Running
from app.settings import Settings
from app.subscriptions import LEARNERS, RECOMMENDERS
from app.vault import Vault
from projections.clock import ShopClock
from projections.live import LiveFigures
from projections.postgres import connect, migrate, sessions_of_api
from streams.log import Log

# What waits for a server that stands still is given up: a process that is to end ends in time.
_END_SECONDS = 2.0


@asynccontextmanager
async def lifespan(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """Opens what the API needs, and closes it in the reverse order."""
    state = app.state
    state.settings = settings
    state.clock = ShopClock(settings.timezone)
    async with AsyncExitStack() as ends:
        await _connect(state, settings, ends)
        await _take_in(state, settings)
        await _command(state, settings, ends)
        _let_in(state, settings, ends)
        _foretell(state, settings, ends)
        _answer(state, settings, ends)
        _run(state, ends)
        yield


async def _connect(state: State, settings: Settings, ends: AsyncExitStack) -> None:
    """Postgres, Redis, Kafka."""
    servers = settings.servers
    await migrate(servers.postgres, settings.schema_name)
    state.pool = await _pool(settings, ends)
    state.redis = Redis.from_url(servers.redis)
    ends.push_async_callback(state.redis.aclose)
    state.log = Log(servers.kafka, settings.partitions, settings.prefix)
    await state.log.start()
    ends.push_async_callback(state.log.stop)


async def _pool(
    settings: Settings, ends: AsyncExitStack, limits: Mapping[str, str] | None = None
) -> "asyncpg.Pool[asyncpg.Record]":
    name = sessions_of_api(settings.schema_name)
    pool = await connect(
        settings.servers.postgres, settings.schema_name, size=10, name=name, limits=limits
    )

    async def end() -> None:
        with suppress(TimeoutError):  # then it is cut off
            await asyncio.wait_for(pool.close(), _END_SECONDS)

    ends.push_async_callback(end)
    return pool


async def _take_in(state: State, settings: Settings) -> None:
    """The way of events to the log."""
    state.vault = Vault(state.pool)
    state.erased = ErasedNames(state.pool, state.vault)
    await state.erased.look()
    state.experiments = Running(state.pool)
    state.intake = ingest.Intake(
        state.log,
        state.vault,
        settings.write_keys,
        settings.currency,
        Room(settings.intake_bytes),
        Rates(settings.events_per_second),
        settings.country_header,
        state.erased.check,
        state.experiments.known,
    )
    state.quarantine = quarantine.Quarantine(state.pool, state.intake, state.vault)


async def _command(state: State, settings: Settings, ends: AsyncExitStack) -> None:
    """What commands need: sessions of their own, which wait for no lock for ever."""
    state.commands = Commands(await _pool(settings, ends, LIMITS), state.vault)
    state.images = images.Images(settings.images, settings.home)
    state.provider = provider_of(settings)
    if state.provider:
        ends.push_async_callback(state.provider.close)


def _let_in(state: State, settings: Settings, ends: AsyncExitStack) -> None:
    """Who somebody is."""
    passwords = Passwords()
    ends.callback(passwords.close)
    allowed = log_in_limits(
        settings.logins_per_account,
        settings.logins_per_address,
        settings.registrations_per_address,
    )
    state.tokens = Tokens(own_key(settings.token_key, settings.home / "token.key"))
    state.sessions = Sessions(state.pool)
    state.people = People(state.pool)
    state.log_ins = LogIns(state.pool, passwords, state.sessions, allowed)


def _foretell(state: State, settings: Settings, ends: AsyncExitStack) -> None:
    """The learners' answers, who takes part in which experiment, and that the log hears of both."""
    state.learner = LearnerClient(state.pool, settings, LEARNERS)
    state.recommender = LearnerClient(state.pool, settings, RECOMMENDERS)
    state.served = Served(state.log, state.erased.check)
    state.exposures = Exposures(state.log, state.erased.check)
    for one in (state.learner, state.recommender, state.served, state.exposures):
        ends.push_async_callback(one.close)


def _answer(state: State, settings: Settings, ends: AsyncExitStack) -> None:
    """Figures: asked for, live, of the past, as files; and the page that shows them."""
    state.figures = Figures(state.pool, settings.partitions)
    state.kept = KeptAnswers()
    state.making = Making()
    state.page = page.Page(settings)
    ends.push_async_callback(state.page.close)
    state.hub = Hub(state.redis, LiveFigures(state.redis, settings.prefix, {}), state.clock)
    state.queries = Queries(
        *(state.pool, live.snapshots(state.figures), state.clock),
        timedelta(seconds=settings.cart_silence),
        *(state.learner, state.recommender),
    )
    ends.push_async_callback(lambda: state.queries.close(_END_SECONDS))
    state.watch = Watch(settings, state.pool, state.redis, state.learner, state.recommender)
    ends.push_async_callback(state.watch.close)
    state.jobs = Runner(settings, state.pool)
    state.imports = imports.Imports(settings, state.pool, state.jobs)
    state.past = as_of.PastFigures(settings, state.pool, state.jobs)


def _run(state: State, ends: AsyncExitStack) -> None:
    """What goes on by itself."""
    running = [
        asyncio.create_task(one.run())
        for one in (state.hub, state.queries, state.watch, state.jobs, state.erased)
    ]

    async def end() -> None:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_END_SECONDS)

    ends.push_async_callback(end)
