"""Child processes: tied to this one, stopped in stages, and found again if left behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals

import psutil

from app.stack import tether
from app.stack.account import Account
from app.stack.errors import StackError

POLL = 0.02
LOG_LIMIT = 10_000_000
SAME_MOMENT = 1.0  # a process's start time moves with the clock's corrections, in seconds
INHERITED = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR")

Stage = tuple[Signals, float]
"""A signal that asks a process to end, and the seconds it then has."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run and how to end it; after the last stage it is killed."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None
    stages: tuple[Stage, ...] = ((signal.SIGTERM, 3.5),)
    orphaned: Signals = signal.SIGKILL
    """What the kernel sends it when we die (Linux)."""


class Child:
    """A running program, or one that has ended."""

    def __init__(self, program: Program, home: Path) -> None:
        """Starts it; output goes to `home/logs`. Call it from the main thread: where the thread
        that forked ends, Linux takes the parent for dead.

        Raises OSError where there is no such program.
        """
        self.program = program
        self.log = log_file(home, program.name)
        self.started = time.monotonic()
        self._record = _record_file(home, program.name)
        self._log_start = _rotate(self.log)
        self._swept = False
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                tied(program),
                cwd=program.cwd,
                env=program.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal reaches a whole group: ours alone, we stop in order.
                start_new_session=True,
            )
        _write_record(self._record, self.pid, program.stages)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._popen.poll()

    def said(self) -> str:
        """The last lines of what this run wrote to its log."""
        with self.log.open("rb") as log:
            log.seek(max(self._log_start, self.log.stat().st_size - 4_000))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-15:])

    async def ended(self) -> int:
        """Waits for its end and gives the exit code.

        By asking, which works alike on every system and event loop, and in no thread of its own.
        """
        while (code := self.code) is None:
            await asyncio.sleep(POLL)
        self._sweep()
        return code

    async def stop(self) -> None:
        """Ends it, stage by stage, and what it started in its session."""
        for number, seconds in self.program.stages:
            self._signal(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.ended()
                    return
        self.kill()
        await self.ended()

    def kill(self) -> None:
        """Ends it at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: Signals) -> None:
        if self.code is None:
            self._popen.send_signal(number)

    def _sweep(self) -> None:
        """Ends what it may have left in its session; once, for its pid may be another's later."""
        if self._swept:
            return
        self._swept = True
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._record.unlink(missing_ok=True)


async def run(program: Program, home: Path, seconds: float) -> None:
    """Runs a program to its end. Raises StackError where it fails or takes longer."""
    child = Child(program, home)
    try:
        async with asyncio.timeout(seconds):
            code = await child.ended()
    except TimeoutError:
        raise StackError(f"{program.name} took over {seconds:.0f} s: see {child.log}") from None
    finally:
        child.kill()
        await child.ended()
    if code != 0:
        raise StackError(f"{program.name}: {describe(code)}, see {child.log}\n{child.said()}")


def tied(program: Program) -> list[str]:
    """The command line of a program that dies with us and runs as its account."""
    uid, gid = (program.account.uid, program.account.gid) if program.account else (-1, -1)
    tie = [os.getpid(), int(program.orphaned), uid, gid]
    return [sys.executable, "-I", "-S", tether.__file__, *map(str, tie), *program.argv]


def server_environment(**more: str) -> dict[str, str]:
    """What a server may know of our environment: nothing that could change what it does."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | more


def describe(code: int) -> str:
    """An exit code in words."""
    return f"exit code {code}" if code >= 0 else f"killed by {Signals(-code).name}"


def log_file(home: Path, name: str) -> Path:
    """Where a program's output goes."""
    return home / "logs" / f"{name}.log"


def running_pid(home: Path, name: str) -> int | None:
    """The pid of the program of that name that runs in `home`, None where none does."""
    found = _recorded(_record_file(home, name))
    return found[0].pid if found else None


def end_leftovers(home: Path) -> None:
    """Ends what a killed parent left running in `home`: what was recorded there, nothing else."""
    records = sorted((home / "run").glob("*.json"))
    left = [found for found in map(_recorded, records) if found]
    processes = [process for process, _ in left]
    for stage in range(max((len(numbers) for _, numbers in left), default=0)):
        _send((process, numbers[min(stage, len(numbers) - 1)]) for process, numbers in left)
        wait_for_end(processes, seconds=3)
    kill_recorded(home)
    wait_for_end(processes, seconds=3)
    for record in records:
        record.unlink(missing_ok=True)


def wait_for_end(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Waits, blocking, until all have ended; gives those that have not by then."""
    deadline = time.monotonic() + seconds
    while (alive := [one for one in processes if _is_alive(one)]) and time.monotonic() < deadline:
        time.sleep(POLL)
    return alive


def _is_alive(process: psutil.Process) -> bool:
    """A dead one counts as dead also where nobody has taken note of its end yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_recorded(home: Path) -> None:
    """Kills at once everything that runs in `home`."""
    records = (home / "run").glob("*.json")
    _send((found[0], signal.SIGKILL) for found in map(_recorded, records) if found)


def _send(orders: Iterable[tuple[psutil.Process, int]]) -> None:
    for process, number in orders:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _write_record(path: Path, pid: int, stages: Iterable[Stage]) -> None:
    started = psutil.Process(pid).create_time()
    signals = [int(number) for number, _ in stages]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"pid": pid, "started": started, "signals": signals}))


def _recorded(path: Path) -> tuple[psutil.Process, list[int]] | None:
    """The process of a record and the signals that end it; None where it is another by now."""
    try:
        record = json.loads(path.read_text())
        process = psutil.Process(record["pid"])
        if abs(process.create_time() - record["started"]) > SAME_MOMENT or not _is_alive(process):
            return None
    # A record may be gone, or half written by a parent that was killed just then.
    except (FileNotFoundError, json.JSONDecodeError, psutil.NoSuchProcess):
        return None
    return process, record["signals"]


def _record_file(home: Path, name: str) -> Path:
    return home / "run" / f"{name}.json"


def _rotate(log: Path) -> int:
    """Keeps one old log where the present one has grown long; gives the size of the present."""
    log.parent.mkdir(exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
    return log.stat().st_size if log.exists() else 0
