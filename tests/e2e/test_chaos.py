"""A short chaos run, on a stack of its own: what the long ones do, in about a minute."""

import json
import subprocess
import sys
from pathlib import Path

_PATIENCE_SECONDS = 400


def test_what_is_killed_cut_and_poisoned_loses_nothing_and_counts_nothing_twice(
    tmp_path: Path,
) -> None:
    results = tmp_path / "chaos.json"
    faults = "killed at written+commits cut+poison,Postgres killed+Redis flushed+disorder"
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "app.cli", "chaos", "--seed", "5", "--events", "2000"),
            *("--faults", faults, "--json", str(results)),
        ],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr + ended.stdout
    found = json.loads(results.read_text())
    rounds = {one["fault"]: one for one in found["rounds"]}
    assert len(rounds) == 3
    for name, one in rounds.items():
        assert (one["lost"], one["doubled"], one["different"]) == (0, 0, 0)
        assert one["events"] > 500
        assert one["figures"] > 1_000
        assert one["times"] > 0 or name == "all, recounted"
    names = {"fault", "times", "events", "lost", "doubled", "recovery time"}
    assert all(names <= row.keys() for row in found["faults"])
