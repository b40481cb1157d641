"""The local stack, on real servers: started, crowded, broken, and started again."""

import asyncio
import hashlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis

from app.settings import Servers, Settings, addresses_file, read_addresses
from app.stack import downloads, jars
from app.stack.doctor import examine
from app.stack.errors import StackError
from app.stack.home import reset
from app.stack.ports import claim, is_free
from app.stack.process import running_pid
from app.stack.up import AppProcess, Progress, Stack, running, servers

pytestmark = pytest.mark.asyncio(loop_scope="module")


def local(home: Path, **external: str) -> Settings:
    addresses = dict.fromkeys(("kafka", "postgres", "redis")) | external
    return Settings.model_validate({"home": home, **addresses})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    home = tmp_path_factory.mktemp("shared") / "a home, säuberlich"
    async with running(local(home)) as stack:
        yield stack


async def remember(servers: Servers, value: str) -> None:
    """Leaves `value` in a topic and in a table."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka)
    await admin.start()
    with suppress(Exception):
        await admin.create_topics([NewTopic("kept", 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=servers.kafka) as producer:
        await producer.send_and_wait("kept", value.encode())
    connection = await asyncpg.connect(servers.postgres)
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
    await connection.execute("INSERT INTO kept VALUES ($1)", value)
    await connection.close()


async def remembered(servers: Servers) -> tuple[list[str], list[str]]:
    consumer = AIOKafkaConsumer(
        "kept", bootstrap_servers=servers.kafka, auto_offset_reset="earliest", group_id=None
    )
    async with consumer:
        batches = await consumer.getmany(timeout_ms=10_000)
    records = [record.value.decode() for batch in batches.values() for record in batch]
    connection = await asyncpg.connect(servers.postgres)
    rows = [row["value"] for row in await connection.fetch("SELECT value FROM kept")]
    await connection.close()
    return records, rows


async def test_a_second_start_goes_on_from_the_state_and_the_ports_of_the_first(
    tmp_path: Path,
) -> None:
    async with servers(tmp_path) as first:
        await remember(first, "seen")
    begun = time.monotonic()
    async with servers(tmp_path) as second:
        assert time.monotonic() - begun < 15
        assert second == first
        assert await remembered(second) == (["seen"], ["seen"])


async def test_nothing_in_the_log_is_ever_deleted_by_age(stack: Stack) -> None:
    properties = (stack.home / "kafka" / "server.properties").read_text().splitlines()
    assert "log.retention.ms=-1" in properties
    assert "auto.create.topics.enable=false" in properties


async def test_postgres_keeps_what_it_acknowledged_and_wants_its_password(stack: Stack) -> None:
    connection = await asyncpg.connect(stack.servers.postgres)
    shown = [
        await connection.fetchval(f"SHOW {name}")
        for name in ("fsync", "synchronous_commit", "listen_addresses", "data_checksums")
    ]
    await connection.close()
    assert shown == ["on", "on", "127.0.0.1", "on"]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(stack.servers.postgres, password="guessed")


async def test_a_killed_server_is_started_again_at_the_same_address(stack: Stack) -> None:
    before = stack.servers
    pids = {name: stack.pid(name) for name in ("kafka", "postgres", "redis")}
    session = await asyncpg.connect(before.postgres)
    for pid in pids.values():
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        while any(stack.pid(name) in (None, pid) for name, pid in pids.items()):
            await asyncio.sleep(0.05)
        session.terminate()
        while any(status.problem for status in (await examine(local(stack.home)))[:3]):
            await asyncio.sleep(0.05)
    assert stack.servers == before
    await remember(before, "after the crash")


async def test_a_server_can_be_taken_away_for_a_while(stack: Stack) -> None:
    async with stack.without("redis"):
        assert stack.pid("redis") is None
        assert is_free(int(stack.servers.redis.rpartition(":")[2].partition("/")[0]))
    async with Redis.from_url(stack.servers.redis) as redis:
        assert await redis.ping()


async def test_a_second_up_in_the_same_home_is_told_who_runs_there(stack: Stack) -> None:
    with pytest.raises(StackError, match=f"already running, pid {os.getpid()}"):
        async with servers(stack.home):
            pass


async def test_two_homes_run_side_by_side(stack: Stack, tmp_path: Path) -> None:
    async with servers(tmp_path) as others:
        assert not {others.kafka, others.redis} & {stack.servers.kafka, stack.servers.redis}
        assert others.postgres != stack.servers.postgres
        await remember(others, "next door")
        assert (await remembered(others))[0] == ["next door"]


async def test_a_port_lost_between_the_look_and_the_start_means_another(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {name: stack.addresses[name] for name in ("kafka", "postgres")}
    lost = iter([int(stack.servers.redis.rpartition(":")[2].partition("/")[0])])
    monkeypatch.setattr("app.stack.up.claim", lambda *of: next(lost, None) or claim(*of))
    async with running(local(tmp_path, **given)) as own:
        assert own.servers.redis != stack.servers.redis
        assert own.pid("redis") != stack.pid("redis")


async def test_servers_of_your_own_are_used_and_left_alone(stack: Stack, tmp_path: Path) -> None:
    given = {name: stack.addresses[name] for name in ("kafka", "postgres", "redis")}
    steps: list[str] = []
    progress = Progress(step=lambda name, *_: steps.append(name))
    async with running(local(tmp_path, **given), progress=progress) as guest:
        assert guest.servers == stack.servers
        assert [guest.pid(name) for name in given] == [None, None, None]
    assert sorted(steps) == sorted(given)
    assert all(stack.pid(name) for name in given)


async def test_a_server_of_your_own_that_does_not_answer_is_named(tmp_path: Path) -> None:
    settings = local(tmp_path, postgres="postgresql://me:secret@127.0.0.1:1/shop")
    with pytest.raises(StackError, match="TILLSTREAM_POSTGRES") as refused:
        async with running(settings):
            pass
    assert "secret" not in str(refused.value)
    assert running_pid(tmp_path, "redis") is None


async def test_reset_waits_for_the_end_and_deletes_only_what_is_ours(
    stack: Stack, tmp_path: Path
) -> None:
    with pytest.raises(StackError, match="already running"):
        reset(stack.home)
    for name in ("kafka/data", "postgres/data", "mine"):
        (tmp_path / name).mkdir(parents=True)
    reset(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "mine"]


async def test_the_doctor_tells_pids_versions_and_what_is_wrong(
    stack: Stack, tmp_path: Path
) -> None:
    kafka, postgres, redis, *ours = await examine(local(stack.home))
    assert (kafka.pid, postgres.pid, redis.pid) == tuple(
        stack.pid(name) for name in ("kafka", "postgres", "redis")
    )
    assert kafka.version == "Kafka 4.1.0"
    assert (postgres.version or "").startswith("Postgres 18.")
    assert (redis.version or "").startswith("Valkey 9.")
    assert postgres.address is not None
    assert postgres.address.startswith("postgresql://tillstream@127.0.0.1:")
    assert (kafka.problem, postgres.problem, redis.problem) == (None, None, None)
    assert len(ours) == 5  # the API, a worker for each group, the two learners
    assert all("down" in (status.problem or "") for status in ours)
    assert all("tillstream up" in (s.problem or "") for s in await examine(local(tmp_path)))


async def test_a_process_of_ours_that_dies_is_started_again(stack: Stack, tmp_path: Path) -> None:
    given = {name: stack.addresses[name] for name in ("kafka", "postgres", "redis")}
    notes: list[str] = []
    log = tmp_path / "home" / "logs" / "worker.log"

    async def has_shown() -> None:
        assert log.read_text() == f"{given['redis']}\n"

    show = "import os, time; print(os.environ['TILLSTREAM_REDIS'], flush=True); time.sleep(600)"
    app = AppProcess("worker", [sys.executable, "-c", show], has_shown, address="http://here")
    ready = tmp_path / "ready.json"
    async with running(
        local(tmp_path / "home", **given),
        apps=lambda _: [app],
        ready_file=ready,
        progress=Progress(note=notes.append),
    ) as own:
        assert json.loads(ready.read_text()) == {**given, "worker": "http://here"}
        assert read_addresses(own.home)["worker"] == "http://here"
        first = own.pid("worker")
        assert first is not None
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(10):
            while log.read_text() != f"{given['redis']}\n" * 2:
                await asyncio.sleep(0.02)
        assert own.pid("worker") not in (None, first)
    assert "worker ended (killed by SIGKILL), starting it again in 1 s" in notes
    assert not ready.exists()
    assert not addresses_file(own.home).exists()


async def test_a_process_that_does_not_start_is_named_with_its_last_words(
    stack: Stack, tmp_path: Path
) -> None:
    async def never() -> None:
        raise ConnectionRefusedError

    given = {name: stack.addresses[name] for name in ("kafka", "postgres", "redis")}
    app = AppProcess("api", [sys.executable, "-c", "raise SystemExit('no such table')"], never)
    with pytest.raises(StackError, match=r"(?s)api did not start, exit code 1.*no such table"):
        async with running(local(tmp_path, **given), apps=lambda _: [app]):
            pass


async def test_a_jar_that_is_not_the_expected_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        body = path.encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    lock = tmp_path / "lock"
    sums = [hashlib.sha256(path).hexdigest() for path in (b"/good.jar", b"something else")]
    lock.write_text(f"{sums[0]} 9 good.jar\n{sums[1]} 8 bad.jar\n")
    monkeypatch.setattr(jars, "LOCK", lock)
    monkeypatch.setattr(jars, "MAVEN", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(downloads, "ATTEMPTS", 2)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    notes: list[str] = []
    with pytest.raises(StackError, match=r"bad\.jar: its checksum"):
        await jars.fetched_jars(tmp_path, notes.append)
    assert "2 files" in notes[0]
    kept = tmp_path / "cache" / "tillstream" / f"kafka-{jars.KAFKA_VERSION}"
    assert [path.name for path in kept.iterdir()] == ["good.jar"]
    server.close()


async def test_without_a_network_it_says_so_and_does_not_advise_to_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lock := tmp_path / "lock").write_text(f"{'0' * 64} 9 some.jar\n")
    deaf = socket.socket()
    deaf.bind(("127.0.0.1", 0))  # bound, and nobody listens
    monkeypatch.setattr(jars, "LOCK", lock)
    monkeypatch.setattr(jars, "MAVEN", f"http://127.0.0.1:{deaf.getsockname()[1]}")
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "maven"))
    with pytest.raises(StackError) as failed:
        async with servers(tmp_path / "home"):
            pass
    deaf.close()
    said = str(failed.value)
    assert "/some.jar: 127.0.0.1 cannot be reached from here" in said
    assert "try again where there is a network" in said
    assert "reset" not in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account for Postgres")
async def test_as_root_the_directories_above_stay_closed_to_all_others(stack: Stack) -> None:
    assert stack.home.stat().st_mode & 0o007 == 0
    postgres = stack.pid("postgres")
    assert postgres is not None
    assert psutil.Process(postgres).uids().real != 0
