"""Who only knows of the models, or of a payment provider, does not load what these work with."""

import subprocess
import sys

_HEAVY = {"river", "scipy", "stripe", "pandas"}
_LOADED = """
import sys, {modules}
print(*{{name.partition(".")[0] for name in sys.modules}})
"""


def _loaded_by(modules: str) -> set[str]:
    command = (sys.executable, "-c", _LOADED.format(modules=modules))
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return set(loaded.stdout.split())


def test_every_process_begins_without_what_few_of_them_need() -> None:
    names = _loaded_by("app.cli, app.worker, app.api.server, app.learner.process")
    assert "fastapi" in names
    assert not names & _HEAVY


def test_who_folds_a_share_anew_begins_without_what_only_others_need() -> None:
    names = _loaded_by("projections.shares, app.subscriptions")
    assert "asyncpg" in names
    assert not names & {*_HEAVY, "redis", "faust", "fastapi"}
