"""The directory where the stack keeps its state: one `up` at a time, what it says, its end."""

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from app.settings import addresses_file, read_addresses
from app.stack.errors import StackError
from app.stack.process import end_leftovers

OURS = (
    "kafka",
    "postgres",
    "redis",
    "cache",
    "logs",
    "run",
    "ports.json",
    "addresses.json",
    "snapshot.key",
    "stripe",
    "stripe.key",
)


@contextmanager
def held(home: Path) -> Iterator[None]:
    """Holds `home` for this process alone; whatever a killed one left running there is ended.

    Raises StackError where another process holds it.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / "lock").open("a+") as lock:
        if not _lock(lock):
            raise StackError(already_running(home))
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        addresses_file(home).unlink(missing_ok=True)
        end_leftovers(home)
        yield


def _lock(file: IO[str]) -> bool:
    for _ in range(3):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)  # one who asks for the holder holds it for a moment
        else:
            return True
    return False


def already_running(home: Path) -> str:
    """What to say to the second one."""
    api = read_addresses(home).get("api")
    where = f", API at {api}" if api else ""
    return (
        f"already running, pid {holder(home)}{where}: stop it with Ctrl-C there, "
        f"or set TILLSTREAM_HOME to another directory than {home}"
    )


def holder(home: Path) -> int | None:
    """The pid of the process that holds `home`, None where nobody does."""
    try:
        lock = (home / "lock").open("r")
    except FileNotFoundError:
        return None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(lock.read() or 0)
    return None


def reset(home: Path) -> None:
    """Deletes the state of the embedded servers, and nothing else that may lie in `home`.

    Raises StackError while they run.
    """
    if not home.exists():
        return
    with held(home):
        for name in OURS:
            path = home / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def publish(path: Path, addresses: Mapping[str, str]) -> None:
    """Writes the addresses, all at once, for this user only: a password stands among them."""
    write_atomically(path, json.dumps(addresses, indent=2) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Readers see the old file or the new one, never half of it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
