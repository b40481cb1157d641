"""Who only knows of the models, or of a payment provider, does not load what these work with."""

import subprocess
import sys

_HEAVY = {"river", "scipy", "stripe", "pandas"}
_LOADED = """
import sys
import app.cli, app.worker, app.api.server, app.learner.process
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_every_process_begins_without_what_few_of_them_need() -> None:
    command = (sys.executable, "-c", _LOADED)
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    names = set(loaded.stdout.split())
    assert "fastapi" in names
    assert not names & _HEAVY
