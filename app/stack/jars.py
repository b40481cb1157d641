"""Kafka's jars: downloaded once, checked against the lock file, kept in the user's cache."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from app.stack.downloads import Download, cache, download, locked_lines

KAFKA_VERSION = "4.1.0"
LOCK = Path(__file__).with_name("kafka.lock")
MAVEN = "https://repo.maven.apache.org/maven2"


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
    lines = locked_lines(LOCK)
    return [Jar(sha256, int(size), PurePosixPath(path)) for sha256, size, path in lines]


async def fetched_jars(home: Path, note: Callable[[str], None]) -> Path:
    """The directory of the jars; those that are missing are downloaded first.

    Raises StackError where that fails; what was complete by then is kept.
    """
    directory = cache(home) / f"kafka-{KAFKA_VERSION}"
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
        names = {f"{MAVEN}/{jar.path}": jar.name for jar in missing}
        await download(
            [Download(f"{MAVEN}/{jar.path}", jar.sha256, jar.size) for jar in missing],
            directory,
            lambda one, part: part.replace(directory / names[one.url]),
            f"Kafka {KAFKA_VERSION} is downloaded once: try again where there is a network, or "
            "set TILLSTREAM_KAFKA to a server of your own",
        )
    return directory


def _taken_from_maven(jar: Jar, directory: Path) -> bool:
    """Whether this user's own Maven repository held the same file."""
    with suppress(OSError, RuntimeError):
        found = Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository") / jar.path
        if hashlib.sha256(found.read_bytes()).hexdigest() == jar.sha256:
            with tempfile.TemporaryDirectory(dir=directory) as scratch:
                Path(shutil.copy(found, scratch)).replace(directory / jar.name)
            return True
    return False
