"""Contenders and servers as processes of their own."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Failed(Exception):
    """A contender could not be measured, or was wrong; the message is for the table."""


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, without settings that are meant for another stack, and with this checkout's code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TILLSTREAM_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", **(more or {})}


async def output_of(
    command: Sequence[str], home: Path, patience: float, more: Mapping[str, str] | None = None
) -> str:
    """What a process prints until it ends, or what it says if it prints nothing.

    Raises Failed where it takes too long or fails."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=home,
        env=environment(more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), patience)
    except TimeoutError:
        raise Failed(f"not done after {patience:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if not out.strip():
        out = err
    if process.returncode or not out.strip():
        last = (err.decode(errors="replace").strip().splitlines() or ["no output"])[-1]
        raise Failed(f"ended with {process.returncode}: {last[:200]}")
    return out.decode()


@asynccontextmanager
async def started(
    command: Sequence[str], home: Path, more: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    """A process for the time of the block."""
    log = (home / "processes.log").open("ab")
    process = await asyncio.create_subprocess_exec(
        *command, cwd=home, env=environment(more), stdout=log, stderr=log
    )
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 12)
            except TimeoutError:
                process.kill()
                await process.wait()
        log.close()


def cpu_seconds(port: int) -> float:
    """The time that the process which was started for a port has had of a core (Linux)."""
    wanted, ticks = str(port).encode(), 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (process / "cmdline").read_bytes().split(b"\0"):
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
