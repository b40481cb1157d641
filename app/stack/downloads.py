"""Files that are downloaded once: checked against a lock, kept in the user's cache."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from app.stack.errors import DownloadFailed

AT_ONCE = 8
ATTEMPTS = 3
TIMEOUT = httpx2.Timeout(30.0, connect=10.0)  # seconds without a byte


@dataclass(frozen=True, slots=True)
class Download:
    """A file on some server; `size` in bytes."""

    url: str
    sha256: str
    size: int


Keep = Callable[[Download, Path], object]
"""Moves a file that was checked to where it belongs, or takes out of it what is wanted."""


def cache(home: Path) -> Path:
    """The user's cache, shared by all homes; a directory in `home` where there is none."""
    with suppress(OSError, RuntimeError):
        found = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tillstream"
        found.mkdir(parents=True, exist_ok=True)
        if os.access(found, os.W_OK):
            return found
    return home / "cache"


def locked_lines(lock: Path) -> list[list[str]]:
    """The fields of each line of a lock file."""
    lines = lock.read_text().splitlines()
    return [line.split() for line in lines if line and not line.startswith("#")]


async def download(
    wanted: Sequence[Download], directory: Path, keep: Keep, advice: str = ""
) -> None:
    """Downloads all of it at once, the largest first; what was complete by a failure is kept.

    Raises DownloadFailed, which ends in the advice.
    """
    gate = asyncio.Semaphore(AT_ONCE)
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        async with httpx2.AsyncClient(timeout=TIMEOUT, follow_redirects=True) as client:

            async def fetch(number: int, one: Download) -> None:
                async with gate:
                    part = Path(scratch) / str(number)
                    await _checked(client, one, part, advice)
                    keep(one, part)

            try:
                async with asyncio.TaskGroup() as tasks:
                    for number, one in enumerate(sorted(wanted, key=lambda one: -one.size)):
                        tasks.create_task(fetch(number, one))
            except BaseExceptionGroup as failed:
                raise failed.exceptions[0] from None


async def _checked(client: httpx2.AsyncClient, one: Download, part: Path, advice: str) -> None:
    """Downloads one file and checks its sum. Raises DownloadFailed after the last attempt."""
    trouble = ""
    for attempt in range(ATTEMPTS):
        await asyncio.sleep(attempt)
        try:
            async with client.stream("GET", one.url) as response:
                response.raise_for_status()
                with part.open("wb") as file:
                    async for chunk in response.aiter_bytes():
                        file.write(chunk)
        except httpx2.HTTPError as failure:
            trouble = _told(one.url, failure)
            continue
        except OSError as failure:  # the disk's, which no further attempt makes larger
            trouble = f"it cannot be kept in {part.parent}: {failure.strerror or failure}"
            break
        if hashlib.sha256(part.read_bytes()).hexdigest() == one.sha256:
            return
        trouble = "its checksum is not the one expected"
    raise DownloadFailed(f"could not download {one.url}: {trouble}. {advice}".rstrip())


def _told(url: str, failure: httpx2.HTTPError) -> str:
    if isinstance(failure, httpx2.HTTPStatusError):
        return f"it is answered with {failure.response.status_code}"
    host, why = urlsplit(url).hostname, str(failure) or type(failure).__name__
    return f"{host} cannot be reached from here ({why}): is there a network, or a proxy to be set?"
