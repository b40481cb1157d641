"""The composition: servers, preparation, our own processes; one way up and one way down."""

import asyncio
import os
import signal
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from signal import Signals

import psutil

from app.settings import Servers, Settings, addresses_file
from app.stack import kafka, postgres, redis
from app.stack.errors import DownloadFailed, StackError
from app.stack.home import held, publish
from app.stack.kafka import EmbeddedKafka
from app.stack.ports import claim, is_free
from app.stack.postgres import EmbeddedPostgres, without_password
from app.stack.process import Program, kill_recorded, log_file
from app.stack.redis import EmbeddedRedis
from app.stack.supervise import Supervised

EXTERNAL_SECONDS = 15.0
PORT_ATTEMPTS = 3

Embedded = EmbeddedKafka | EmbeddedPostgres | EmbeddedRedis
Ask = Callable[[str], Awaitable[object]]
EMBEDDED: Mapping[str, type[Embedded]] = {
    "kafka": EmbeddedKafka,
    "postgres": EmbeddedPostgres,
    "redis": EmbeddedRedis,
}
ASK: Mapping[str, Ask] = {
    "kafka": kafka.cluster_id,
    "postgres": postgres.version,
    "redis": redis.version,
}


def _silently(*_: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """Whom to tell what happens."""

    step: Callable[[str, str, float], None] = _silently
    """A server or process answers: its name, its address fit to be shown, how long it took."""
    note: Callable[[str], None] = _silently
    """Something worth a line: a download, a process that died and is started again."""


@dataclass(frozen=True, slots=True)
class AppProcess:
    """One of our own processes."""

    name: str
    argv: Sequence[str]
    answers: Callable[[], Awaitable[object]]
    """Raises while it is not ready."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to our own environment and to the addresses of the servers."""
    address: str = ""
    """Where it can be reached, if anywhere."""
    patience: float = 60.0
    """The seconds it may take until it answers."""
    alive: Callable[[], Awaitable[object]] | None = None
    """Raises while it runs and yet does nothing: unlike `answers` it leans on no server."""
    stuck_seconds: float = 0.0
    """After so long without being alive it is killed, and started again; 0: never."""


@dataclass(frozen=True, slots=True)
class _AppLaunch:
    app: AppProcess
    environment: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.app.name

    @property
    def patience(self) -> float:
        return self.app.patience

    async def prepare(self) -> Program:
        env = {**os.environ, **self.environment, **self.app.env}
        return Program(self.name, tuple(self.app.argv), cwd=Path.cwd(), env=env)

    async def answers(self, _pid: int, /) -> None:
        await self.app.answers()


async def _is_alive(app: AppProcess, pid: int) -> None:
    """Raises where it is stopped, as by SIGSTOP, or says itself that it is not."""
    if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
        raise TimeoutError("it is stopped")
    if app.alive is not None:
        await app.alive()


Prepare = Callable[[Servers], Awaitable[None]]
Apps = Callable[[Servers], Sequence[AppProcess]]


async def nothing_to_prepare(_: Servers) -> None:
    """For a stack that is used as it comes up."""


def no_apps(_: Servers) -> Sequence[AppProcess]:
    """For a stack of servers alone."""
    return ()


class Stack:
    """What is up: the addresses of the servers and the processes that are ours."""

    def __init__(self, home: Path, progress: Progress) -> None:
        self.home = home
        self.addresses: dict[str, str] = {}
        self._progress = progress
        self._servers: dict[str, Supervised] = {}
        self._apps: dict[str, Supervised] = {}

    @property
    def servers(self) -> Servers:
        return Servers(**{name: self.addresses[name] for name in EMBEDDED})

    def pid(self, name: str) -> int | None:
        """The process of that name; None where it is down, or not ours."""
        found = self._servers.get(name) or self._apps.get(name)
        return found.pid if found else None

    @asynccontextmanager
    async def without(self, name: str) -> AsyncIterator[None]:
        """The stack with one of its processes stopped; it is up again afterwards."""
        missing = {**self._servers, **self._apps}[name]
        await missing.stop()
        try:
            yield
        finally:
            await missing.start()

    async def start_servers(self, external: Mapping[str, str | None]) -> None:
        """All at once, those of `external` by asking them only. Raises StackError."""
        await _all(
            self._ask(name, given) if (given := external.get(name)) else self._start(embedded)
            for name, embedded in EMBEDDED.items()
        )

    async def start_apps(self, apps: Sequence[AppProcess]) -> None:
        """All at once. Raises StackError."""
        await _all(self._start_app(app) for app in apps)

    async def stop(self) -> None:
        """Our processes first, then the servers they lean on."""
        for group in (self._apps, self._servers):
            await _all(supervised.stop() for supervised in group.values())

    async def _ask(self, name: str, address: str) -> None:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(EXTERNAL_SECONDS):
                await ASK[name](address)
        # Each client has its own errors for one and the same: no answer.
        except Exception as failure:
            raise StackError(
                f"no {name} answers at {_shown(address)} ({failure!r}), where "
                f"TILLSTREAM_{name.upper()} points: start that server, or unset it for the "
                "embedded one"
            ) from failure
        self._answered(name, address, begun)

    async def _start(self, embedded: type[Embedded]) -> None:
        begun = time.monotonic()
        for attempt in range(PORT_ATTEMPTS):
            ports = {name: claim(self.home, name, at) for name, at in embedded.preferred.items()}
            server = embedded(self.home, ports, self._progress.note)
            supervised = Supervised(server, self.home, self._progress.note)
            self._servers[server.name] = supervised
            try:
                await supervised.start()
            except DownloadFailed:
                raise  # neither its log nor beginning anew would help
            except StackError as failure:
                # Between our look at a port and the server's, another may have taken it.
                lost = supervised.pid is None and not all(map(is_free, ports.values()))
                if not lost or attempt + 1 == PORT_ATTEMPTS:
                    raise StackError(f"{failure}\n{_advice(server.name, self.home)}") from failure
            else:
                self._answered(server.name, server.address, begun)
                return

    async def _start_app(self, app: AppProcess) -> None:
        begun = time.monotonic()
        environment = {
            "TILLSTREAM_HOME": str(self.home),
            **{f"TILLSTREAM_{name.upper()}": self.addresses[name] for name in EMBEDDED},
        }
        supervised = Supervised(
            _AppLaunch(app, environment),
            self.home,
            self._progress.note,
            partial(_is_alive, app),
            app.stuck_seconds,
        )
        self._apps[app.name] = supervised
        await supervised.start()
        self._answered(app.name, app.address, begun)

    def _answered(self, name: str, address: str, begun: float) -> None:
        if address:
            self.addresses[name] = address
        self._progress.step(name, _shown(address), time.monotonic() - begun)


@asynccontextmanager
async def running(
    settings: Settings,
    *,
    prepare: Prepare = nothing_to_prepare,
    apps: Apps = no_apps,
    ready_file: Path | None = None,
    progress: Progress | None = None,
) -> AsyncIterator[Stack]:
    """The stack, from the first server to the last process; all of it ends with the block.

    `prepare` runs once the servers answer, `apps` says what to start then. The addresses stand in
    `ready_file` and in the home for as long as everything is up. To be entered in the main thread.
    Raises StackError where something does not start or another process holds the home.
    """
    async with _held_stack(settings.home, progress) as stack:
        external = {name: getattr(settings, name) for name in EMBEDDED}
        with _published(addresses_file(stack.home), ready_file) as publish_to:
            await stack.start_servers(external)
            await prepare(stack.servers)
            await stack.start_apps(apps(stack.servers))
            for file in publish_to:
                publish(file, stack.addresses)
            yield stack


@asynccontextmanager
async def servers(home: Path, *, progress: Progress | None = None) -> AsyncIterator[Servers]:
    """The three embedded servers alone, whatever the environment says. See `running`."""
    async with _held_stack(home, progress) as stack:
        await stack.start_servers({})
        yield stack.servers


@asynccontextmanager
async def _held_stack(home: Path, progress: Progress | None) -> AsyncIterator[Stack]:
    """A stack in which nothing runs yet, and in the end nothing does any more."""
    home = home.resolve()
    with held(home):
        stack = Stack(home, progress or Progress())
        try:
            yield stack
        finally:
            try:
                await stack.stop()
            finally:
                kill_recorded(home)  # nothing is left, unless the stopping itself was cut short


@contextmanager
def _published(*files: Path | None) -> Iterator[list[Path]]:
    """The files that may be written in this block, absent before and after it."""
    paths = [file.resolve() for file in files if file is not None]
    for path in paths:
        if not path.parent.is_dir():
            raise StackError(f"there is no directory for the file {path}")
        path.unlink(missing_ok=True)
    try:
        yield paths
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


async def for_ever(_: Stack) -> None:
    """Until somebody stops it."""
    await asyncio.Event().wait()


async def up(
    settings: Settings,
    *,
    prepare: Prepare = nothing_to_prepare,
    apps: Apps = no_apps,
    ready_file: Path | None = None,
    progress: Progress | None = None,
    during: Callable[[Stack], Awaitable[None]] = for_ever,
) -> Signals | None:
    """The stack until `during` returns or a signal comes; the second signal kills all at once.

    Gives the signal, None where `during` returned. Raises what `running` and `during` raise.
    """

    async def whole() -> None:
        async with running(
            settings, prepare=prepare, apps=apps, ready_file=ready_file, progress=progress
        ) as stack:
            await during(stack)

    work = asyncio.ensure_future(whole())
    with _signals(work, settings.home.resolve()) as received:
        await asyncio.wait([work])
    if received:
        with suppress(asyncio.CancelledError):
            work.result()
        return received[0]
    work.result()
    return None


@contextmanager
def _signals(work: asyncio.Future[None], home: Path) -> Iterator[list[Signals]]:
    """Cancels `work` at the first signal, kills what runs in `home` at each further one."""
    received: list[Signals] = []

    def on(number: Signals) -> None:
        received.append(number)
        if len(received) == 1:
            work.cancel()
        else:
            kill_recorded(home)

    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, on, number)
    try:
        yield received
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _all(work: Iterator[Coroutine[None, None, None]]) -> None:
    """Does all of it at once; where one fails, the others are cancelled and its error raised."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for one in work:
                tasks.create_task(one)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _shown(address: str) -> str:
    return without_password(address) if address.startswith("postgres") else address


def _advice(name: str, home: Path) -> str:
    """What to do about a server that does not start."""
    return (
        f"Its log is {log_file(home, name)}. To begin anew without its data: `tillstream reset`; "
        f"to use a server of your own: set TILLSTREAM_{name.upper()}"
    )
