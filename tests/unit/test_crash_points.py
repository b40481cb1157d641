"""Crash points: each is somewhere, nothing happens where none is set, and death is sudden."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.chaos.faults import FAULTS
from streams.crash_points import OF_COMMANDS, POINTS, armed

ROOT = Path(__file__).parents[2]


def passed(*folders: str) -> list[str]:
    """The points that stand in the code."""
    return sorted(
        name
        for folder in folders
        for source in (ROOT / folder).glob("*.py")
        if source.name != "crash_points.py"
        for name in re.findall(r'\breached\("(\w+)"\)', source.read_text())
    )


def test_every_point_stands_somewhere_and_is_a_fault_of_chaos() -> None:
    assert passed("streams", "projections") == sorted(POINTS)
    assert passed("app/commands") == sorted(OF_COMMANDS)
    assert {f"killed at {name}" for name in POINTS} <= FAULTS.keys()


def test_a_point_that_is_not_there_cannot_be_set() -> None:
    with pytest.raises(ValueError, match="committed"):
        armed("comitted:1")


@pytest.mark.parametrize(("setting", "ends"), [("folded:2", -signal.SIGKILL), ("", 0)])
def test_a_process_dies_where_it_was_told_to(setting: str, ends: int) -> None:
    program = (
        "from streams.crash_points import reached\n"
        "reached('committed'), reached('folded')\n"
        "print('once', flush=True)\n"
        "reached('folded')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={"TILLSTREAM_CRASH_AT": setting, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (ends, "once\n")
