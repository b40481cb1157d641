"""What is running, where, in which version, and what is wrong."""

import asyncio
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from app.settings import Settings, read_addresses
from app.stack import kafka, postgres, redis
from app.stack.home import holder
from app.stack.process import log_file, running_pid

ANSWER_SECONDS = 5.0
SERVERS = ("kafka", "postgres", "redis")
READERS = ("worker", "worker-activity", "learner", "recommender")
APPS = ("api", *READERS)


@dataclass(frozen=True, slots=True)
class Status:
    """One server or process. `pid` is None where it is not ours; `problem` where there is none."""

    name: str
    pid: int | None
    address: str | None
    version: str | None
    problem: str | None


async def examine(settings: Settings) -> list[Status]:
    """Kafka, Postgres, Redis, API, workers and learner, each asked now, within some seconds."""
    home = settings.home.resolve()
    up = holder(home) is not None
    started = read_addresses(home) if up else {}
    external = {name: getattr(settings, name) for name in SERVERS}
    names = (*SERVERS, *APPS)
    found = {name: external.get(name) or started.get(name) for name in names}
    return list(await asyncio.gather(*(_examine(home, name, found[name], up) for name in names)))


async def _examine(home: Path, name: str, address: str | None, up: bool) -> Status:
    pid = running_pid(home, name)
    shown = postgres.without_password(address) if address and name == "postgres" else address

    def status(version: str | None, problem: str | None) -> Status:
        return Status(name, pid, shown, version, problem)

    if pid is None and address is None:
        down = f"down, while others run: see {log_file(home, name)}"
        return status(None, down if up else "not running: start it with `tillstream up`")
    if address is None and name not in READERS:
        return status(None, f"still starting: see {log_file(home, name)}")
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return status(await _version(name, address or "", embedded=pid is not None), None)
    # Each client has its own errors for one and the same: no answer.
    except Exception as failure:
        return status(None, f"does not answer ({failure!r}): see {log_file(home, name)}")


async def _version(name: str, address: str, *, embedded: bool) -> str:
    """Asks for it. Raises where nothing answers."""
    match name:
        case "kafka":
            return await kafka.version(address, embedded=embedded)
        case "postgres":
            return await postgres.version(address)
        case "redis":
            return await redis.version(address)
        case "api":
            await _connect(address)
    return f"Tillstream {metadata.version('tillstream')}"


async def _connect(url: str) -> None:
    parts = urlsplit(url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.close()
