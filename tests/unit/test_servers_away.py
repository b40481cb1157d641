"""What commands say where no server answers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

AWAY = {
    "TILLSTREAM_KAFKA": "127.0.0.1:1",
    "TILLSTREAM_POSTGRES": "postgresql://nobody@127.0.0.1:1/none",
    "TILLSTREAM_REDIS": "redis://127.0.0.1:1",
}


@pytest.mark.parametrize("command", [["upgrade"], ["verify"], ["rebuild", "all"]])
def test_it_is_said_plainly_with_what_to_do_next(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", *command],
        env={**os.environ, **AWAY, "TILLSTREAM_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "tillstream" in done.stderr
