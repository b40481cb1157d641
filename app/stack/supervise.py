"""Keeping a program alive: started, asked until it answers, and started again when it dies."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from app.stack.errors import StackError
from app.stack.process import Child, Program, describe

ASK_EVERY = 0.05
ASK_SECONDS = 5.0
ALIVE_EVERY = 5.0
LONGEST_PAUSE = 30.0
STEADY = 60.0
"""Seconds after which a program counts as sound again and the pauses begin anew."""


class Launch(Protocol):
    """A program that can be started any number of times, and how to ask whether it answers."""

    @property
    def name(self) -> str: ...

    @property
    def patience(self) -> float:
        """The seconds it may take until it answers."""

    async def prepare(self) -> Program:
        """Makes ready what it needs. Raises StackError."""

    async def answers(self, pid: int, /) -> None:
        """Raises while it does not."""


Alive = Callable[[int], Awaitable[object]]
"""Raises while the process of this pid runs and yet does nothing."""


class Supervised:
    """One program that is to be up for as long as we are."""

    def __init__(
        self,
        launch: Launch,
        home: Path,
        note: Callable[[str], None],
        alive: Alive | None = None,
        stuck_seconds: float = 0.0,
    ) -> None:
        self._launch = launch
        self._home = home
        self._note = note
        self._alive = alive
        self._stuck_seconds = stuck_seconds
        self._child: Child | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self._launch.name

    @property
    def pid(self) -> int | None:
        """None while it is down."""
        return self._child.pid if self._child is not None and self._child.code is None else None

    async def start(self) -> None:
        """Starts it, returns when it answers, and keeps it up from then on. Raises StackError."""
        await self._begin()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    async def stop(self) -> None:
        """Stops it for good, or until the next start."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        if self._child is not None:
            await self._child.stop()

    async def _begin(self) -> None:
        program = await self._launch.prepare()
        self._child = Child(program, self._home)
        await _until_answered(self._launch, self._child)

    async def _keep(self) -> None:
        pause = 1.0
        while self._child is not None:
            code = await self._ended(self._child)
            if time.monotonic() - self._child.started > STEADY:
                pause = 1.0
            self._note(f"{self.name} ended ({describe(code)}), starting it again in {pause:.0f} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            try:
                await self._begin()
            # Were this to end the keeper, the program would stay down for good.
            except Exception as failure:
                self._note(str(failure))
                await self._child.stop()
            else:
                self._note(f"{self.name} answers again, pid {self.pid}")

    async def _ended(self, child: Child) -> int:
        """Its exit code, once it has ended, if need be by us."""
        if self._alive is None or not self._stuck_seconds:
            return await child.ended()
        guard = asyncio.create_task(self._guard(child, self._alive))
        try:
            return await child.ended()
        finally:
            guard.cancel()

    async def _guard(self, child: Child, alive: Alive) -> None:
        """Kills a process that has not been alive for too long, which may not hear anything."""
        since: float | None = None
        while True:
            await asyncio.sleep(min(ALIVE_EVERY, self._stuck_seconds / 2))
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    await alive(child.pid)
            except Exception as trouble:
                since = time.monotonic() if since is None else since
                if (silent := time.monotonic() - since) >= self._stuck_seconds:
                    self._note(f"{self.name} is stuck for {silent:.0f} s ({trouble!r}), killing it")
                    return child.kill()
            else:
                since = None


async def _until_answered(launch: Launch, child: Child) -> None:
    """Raises StackError where it dies first or takes too long."""
    trouble: BaseException | None = None
    try:
        async with asyncio.timeout(launch.patience):
            while child.code is None:
                try:
                    async with asyncio.timeout(ASK_SECONDS):
                        return await launch.answers(child.pid)
                # Whatever a client raises at a server that is starting, it means: not yet.
                except Exception as not_yet:
                    trouble = not_yet
                await asyncio.sleep(ASK_EVERY)
    except TimeoutError:
        raise StackError(
            f"{launch.name} does not answer after {launch.patience:.0f} s ({trouble!r}): "
            f"see {child.log}"
        ) from trouble
    raise StackError(
        f"{launch.name} did not start, {describe(child.code or 0)}: see {child.log}\n{child.said()}"
    )
