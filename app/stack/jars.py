"""Kafka's jars: downloaded once, checked against the lock file, kept in the user's cache."""

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import httpx2

from app.stack.errors import StackError

KAFKA_VERSION = "4.1.0"
LOCK = Path(__file__).with_name("kafka.lock")
MAVEN = "https://repo.maven.apache.org/maven2"
AT_ONCE = 8
ATTEMPTS = 3
TIMEOUT = 30.0  # seconds without a byte


@dataclass(frozen=True, slots=True)
class Jar:
    sha256: str
    size: int
    path: PurePosixPath

    @property
    def name(self) -> str:
        return self.path.name


def locked_jars() -> list[Jar]:
    """The jars that Kafka consists of."""
    lines = (line.split() for line in LOCK.read_text().splitlines() if not line.startswith("#"))
    return [Jar(sha256, int(size), PurePosixPath(path)) for sha256, size, path in lines]


async def fetched_jars(home: Path, note: Callable[[str], None]) -> Path:
    """The directory of the jars; those that are missing are downloaded first.

    Raises StackError where that fails; what was complete by then is kept.
    """
    directory = _cache(home) / f"kafka-{KAFKA_VERSION}"
    directory.mkdir(parents=True, exist_ok=True)
    # A file has its final name only once it was checked, so that here its name is enough.
    missing = [jar for jar in locked_jars() if not (directory / jar.name).exists()]
    missing = [jar for jar in missing if not _taken_from_maven(jar, directory)]
    if missing:
        megabytes = sum(jar.size for jar in missing) / 1e6
        note(
            f"downloading Kafka {KAFKA_VERSION}, once: {len(missing)} files, {megabytes:.0f} MB, "
            f"from {MAVEN} to {directory}"
        )
        await _download(missing, directory)
    return directory


def _cache(home: Path) -> Path:
    """The user's cache, shared by all homes; a directory in `home` where there is none."""
    with suppress(OSError, RuntimeError):
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tillstream"
        cache.mkdir(parents=True, exist_ok=True)
        if os.access(cache, os.W_OK):
            return cache
    return home / "cache"


def _taken_from_maven(jar: Jar, directory: Path) -> bool:
    """Whether this user's own Maven repository held the same file."""
    with suppress(OSError, RuntimeError):
        found = Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository") / jar.path
        if hashlib.sha256(found.read_bytes()).hexdigest() == jar.sha256:
            with tempfile.TemporaryDirectory(dir=directory) as scratch:
                Path(shutil.copy(found, scratch)).replace(directory / jar.name)
            return True
    return False


async def _download(jars: Sequence[Jar], directory: Path) -> None:
    gate = asyncio.Semaphore(AT_ONCE)
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        async with httpx2.AsyncClient(timeout=TIMEOUT, follow_redirects=True) as client:

            async def fetch(jar: Jar) -> None:
                async with gate:
                    part = await _checked(client, jar, Path(scratch))
                    part.replace(directory / jar.name)

            try:
                async with asyncio.TaskGroup() as tasks:
                    for jar in sorted(jars, key=lambda jar: -jar.size):
                        tasks.create_task(fetch(jar))
            except BaseExceptionGroup as failed:
                raise failed.exceptions[0] from None


async def _checked(client: httpx2.AsyncClient, jar: Jar, scratch: Path) -> Path:
    """Downloads one jar and checks its sum. Raises StackError after the last attempt."""
    trouble: Exception | str = ""
    for attempt in range(ATTEMPTS):
        await asyncio.sleep(attempt)
        part = scratch / jar.name
        try:
            async with client.stream("GET", f"{MAVEN}/{jar.path}") as response:
                response.raise_for_status()
                with part.open("wb") as file:
                    async for chunk in response.aiter_bytes():
                        file.write(chunk)
        except httpx2.HTTPError as failure:
            trouble = failure
            continue
        if hashlib.sha256(part.read_bytes()).hexdigest() == jar.sha256:
            return part
        trouble = "its checksum is not the one expected"
    raise StackError(
        f"could not download {MAVEN}/{jar.path}: {trouble or 'no answer'}. Kafka {KAFKA_VERSION} "
        "is downloaded once: try again where there is a network, or set TILLSTREAM_KAFKA to a "
        "server of your own"
    )
