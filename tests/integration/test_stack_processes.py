"""The processes of the stack: none survives its end, whatever the end was."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from app.stack.account import ACL, Account, let_enter
from app.stack.ports import claim, remembered_ports
from app.stack.process import Child, Program, end_leftovers

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
DEAF = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""
UP = """
import asyncio, json, sys
from pathlib import Path
from app.settings import Settings
from app.stack.up import AppProcess, up

async def answers(): pass

def apps(servers):
    return [AppProcess("worker", json.loads(sys.argv[3]), answers)]

home, ready = map(Path, sys.argv[1:3])
settings = Settings(home=home, kafka=None, postgres=None, redis=None)
asyncio.run(up(settings, apps=apps, ready_file=ready))
"""


@contextmanager
def up_with_a_deaf_worker(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An `up` whose worker does not hear SIGTERM any more."""
    deaf = home.with_name("deaf")
    with up_elsewhere(home, [sys.executable, "-c", DEAF, str(deaf)]) as up:
        wait_for(deaf.exists, 30)
        yield up


@contextmanager
def up_elsewhere(home: Path, worker: list[str] = SLEEPER) -> Iterator[subprocess.Popen[bytes]]:
    """An `up` in a process of its own, ready for use."""
    ready = home.with_name("ready.json")
    process = subprocess.Popen([sys.executable, "-c", UP, home, ready, json.dumps(worker)])
    try:
        wait_for(ready.exists, 60)
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool], seconds: float) -> float:
    """How long it took until it held. Fails where it takes longer than `seconds`."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"still not so after {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - begun


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(map(alive, processes))


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it has ended between the two questions
        return False


def test_ctrl_c_leaves_no_process_within_ten_seconds(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with up_with_a_deaf_worker(home) as up:
        started = family(up.pid)
        assert {"java", "postgres", "valkey-server"} <= {process.name() for process in started}
        up.send_signal(signal.SIGINT)
        assert up.wait(10) == 0
    assert all_gone(started)
    assert not home.with_name("ready.json").exists()
    assert not list((home / "run").iterdir())


def test_a_second_ctrl_c_kills_at_once(tmp_path: Path) -> None:
    with up_with_a_deaf_worker(tmp_path / "home") as up:
        started = family(up.pid)
        up.send_signal(signal.SIGINT)
        wait_for(lambda: not (tmp_path / "ready.json").exists(), 20)
        assert up.poll() is None
        up.send_signal(signal.SIGINT)
        assert up.wait(3) == 0  # the deaf one has 3.5 s
        wait_for(lambda: all_gone(started), 20)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of this death")
def test_a_killed_parent_leaves_no_process_and_a_home_that_starts_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with up_elsewhere(home) as up:
        started = family(up.pid)
        up.kill()
        up.wait()
        wait_for(lambda: all_gone(started), 20)
    home.with_name("ready.json").unlink()
    with up_elsewhere(home) as up:
        started = family(up.pid)
        up.terminate()
        assert up.wait(10) == 0
    assert all_gone(started)


def test_what_a_parent_left_behind_is_ended_and_nothing_else(tmp_path: Path) -> None:
    left = Child(Program("left", tuple(SLEEPER), cwd=tmp_path, env=os.environ), tmp_path)
    other = Child(Program("other", tuple(SLEEPER), cwd=tmp_path, env=os.environ), tmp_path)
    record = tmp_path / "run" / "other.json"
    started = json.loads(record.read_text())
    record.write_text(json.dumps({**started, "started": started["started"] - 60}))
    end_leftovers(tmp_path)
    assert left.code == -signal.SIGTERM
    assert other.code is None
    other.kill()
    wait_for(lambda: other.code is not None, 20)


TOGETHER = """
import pathlib, subprocess, sys
import app.stack.account as account
account.NAME = sys.argv[1]
input()
found = account.unprivileged(pathlib.Path(sys.argv[2]), print)
seen = subprocess.run(["id", "-u", "-n"], user=found.uid, stdout=subprocess.PIPE, check=True)
sys.exit(seen.stdout.decode().strip() != sys.argv[1])
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("useradd") is None, reason="only root makes accounts"
)
def test_stacks_that_start_for_the_first_time_together_make_one_account(tmp_path: Path) -> None:
    name = f"t{uuid4().hex[:8]}"
    command = [sys.executable, "-c", TOGETHER, name, str(tmp_path / "data")]
    together = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for _ in range(6)
    ]
    try:
        for one in together:
            assert one.stdin is not None
            one.stdin.write(b"\n")
            one.stdin.flush()
        assert [one.wait(60) for one in together] == [0] * 6
    finally:
        for one in together:
            one.kill()
            one.communicate()
        subprocess.run(["userdel", name], check=False, stderr=subprocess.DEVNULL)


@pytest.mark.skipif(sys.platform != "linux", reason="only there can we tell one account from all")
def test_one_account_is_let_through_a_closed_directory_and_no_other(tmp_path: Path) -> None:
    inside = tmp_path / "closed" / "inside"
    inside.mkdir(parents=True)
    inside.parent.chmod(0o700)
    notes: list[str] = []
    let_enter(inside, Account("visitor", 54321, 54321), notes.append)
    assert [note for note in notes if str(inside.parent) + ":" in note]
    assert inside.parent.stat().st_mode & 0o007 == 0
    assert b"\x02\x00\x01\x00" + (54321).to_bytes(4, "little") in os.getxattr(inside.parent, ACL)
    again: list[str] = []
    let_enter(inside, Account("visitor", 54321, 54321), again.append)
    assert again == []


def test_everybody_is_let_through_where_there_are_no_access_control_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "setxattr", raising=False)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    let_enter(closed, Account("visitor", 54321, 54321), lambda _: None)
    assert closed.stat().st_mode & 0o777 == 0o701


def test_a_port_in_use_means_another_and_the_same_one_next_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        preferred = taken.getsockname()[1]
        port = claim(tmp_path, "kafka", preferred)
        assert port != preferred
    assert claim(tmp_path, "kafka", preferred) == port
    assert claim(tmp_path, "redis", port) != port
    assert remembered_ports(tmp_path)["kafka"] == port
