"""A whole evaluation of recommendations: the models one after the other, and what they come to."""

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from loadtests.evaluate import recommend_peers
from loadtests.evaluate.command import OURS, bar
from loadtests.evaluate.recommending import Ranker, Task, Tick, judged, learned
from loadtests.evaluate.served_recommender import Served
from loadtests.evaluate.sheet import BadTable
from loadtests.evaluate.visits import Columns, Kind, Visit, kind_of, read

STATIC = f"{OURS}_static"
_SHARE = 0.2
_JUDGED = "every item of a visit that has something before it, over the full catalogue"
_REPEATS = "allowed; without_repeats leaves them out of lists and targets"


class Settings(NamedTuple):
    """How it is evaluated. Without `peers`, all that are installed are asked."""

    columns: Columns
    k: int = 20
    test: Path | None = None
    share: float = _SHARE
    kind: Kind | None = None
    peers: Sequence[str] | None = None
    date_format: str = ""


def evaluate(file: Path, settings: Settings, talk: Console) -> tuple[dict[str, Any], bool]:
    """All figures as they are written, and whether Ctrl-C cut them short. Raises BadTable."""
    task, found = _task(file, settings)
    asked = [OURS, *([STATIC] if settings.test else []), *_peers(settings, task.kind)]
    models: dict[str, Any] = {}
    told: dict[str, Any] = {"settings": found, "models": models}
    for name in asked:
        try:
            with bar(name, talk) as tick:
                models[name] = _run(name, task, tick)
        except KeyboardInterrupt:
            found["left_out"] = asked[len(models) :]
            return told, True
    return told, False


def _task(file: Path, settings: Settings) -> tuple[Task, dict[str, Any]]:
    visits, passed_over = read(file, settings.columns, settings.date_format)
    overlap = 0
    if settings.test:
        test, more = read(settings.test, settings.columns, settings.date_format)
        passed_over += more
        overlap = sum(visit.at < visits[-1].at for visit in test)
        first, visits = len(visits), visits + test
    else:
        first = int(len(visits) * (1 - settings.share))
    kind = settings.kind or kind_of(visits)
    if kind == "baskets":  # who buys is the user, or else whom the session stands for
        visits = [
            visit._replace(user=visit.user if settings.columns.user else visit.session)
            for visit in visits
        ]
    _check(visits, first, kind, settings)
    task = Task(visits, first, kind, settings.k)
    return task, {
        "k": settings.k,
        "kind": kind,
        "judged": _JUDGED,
        "repeats": _REPEATS,
        "prequential": True,
        "visits": len(visits),
        "visits_of_test": len(visits) - first,
        "items": len({item for visit in visits for item in visit.items}),
        "sessions": len({visit.session for visit in visits}),
        "first": _told(visits[0].at),
        "test_from": _told(visits[first].at),
        "last": _told(visits[-1].at),
        "rows_passed_over": passed_over,
        "test_visits_before_the_end_of_the_past": overlap,
        "refits_of_peers": recommend_peers.REFITS,
        "packages": {one: version(one) for one in _packages(settings)},
        "left_out": [],
    }


def _check(visits: Sequence[Visit], first: int, kind: Kind, settings: Settings) -> None:
    """Raises BadTable where there is nothing to judge."""
    test = visits[first:]
    if kind == "clicks":
        seen = {visit.session for visit in visits[:first]}
        for visit in test:
            if visit.session in seen:
                return
            seen.add(visit.session)
        raise BadTable(
            f"no session of the test has a second click: is {settings.columns.session!r} really"
            " what tells sessions apart?"
        )
    users = {visit.user for visit in visits[:first] if visit.user}
    for visit in test:
        if visit.user in users:
            return
        users.add(visit.user)
    session = settings.columns.session
    raise BadTable(
        f"the rows are of baskets, and nobody of the test buys twice: is {session!r} the order?"
        " Name the column of who bought with --user, or as --session"
    )


def _told(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _peers(settings: Settings, kind: Kind) -> list[str]:
    there = recommend_peers.installed() if settings.peers is None else settings.peers
    return [name for name in there if not (name == "bought_together" and kind == "clicks")]


def _packages(settings: Settings) -> list[str]:
    asked = _peers(settings, "baskets")
    needs = {recommend_peers.NEEDS[one] for one in asked if one in recommend_peers.NEEDS}
    return sorted({"numpy", "river", "scipy", *needs})


def _run(name: str, task: Task, tick: Tick) -> dict[str, Any]:
    if name == STATIC:
        model = Served(task.kind)
        learned(model, task.visits[: task.first], tick)
        return judged(model, task, tick, learning=False)
    ranker: Ranker = Served(task.kind) if name == OURS else recommend_peers.peer_of(name, task)
    return judged(ranker, task, tick)


def table_of(found: dict[str, Any]) -> Group:
    """A column for each model, from what is written as JSON."""
    settings, k = found["settings"], found["settings"]["k"]
    table = Table(box=None, header_style="dim")
    table.add_column("", no_wrap=True)
    for model in found["models"]:
        table.add_column(model.replace("_", " "), justify="right")

    def line(title: str, form: str, *path: str) -> None:
        cells = []
        for figures in found["models"].values():
            value: Any = figures
            for key in path:
                value = value.get(key) if value else None
            cells.append("–" if value is None else format(value, form))
        table.add_row(title, *cells)

    for name in ("hr", "mrr", "ndcg", "any"):
        line(f"{name.upper()}@{k}" if name != "any" else f"any of a visit @{k}", ".3f",
             f"{name}@{k}")  # fmt: skip
    line(f"HR@{k} without repeats", ".3f", "without_repeats", f"hr@{k}")
    line(f"MRR@{k} without repeats", ".3f", "without_repeats", f"mrr@{k}")
    if any("first_of_returning" in one for one in found["models"].values()):
        line(f"HR@{k}, first of a visitor's return", ".3f", "first_of_returning", f"hr@{k}")
    line("coverage", ".1%", "coverage")
    line("novelty, bits", ".2f", "novelty")
    line("answer p50, ms", ".2f", "answer_ms_p50")
    line("answer p99, ms", ".2f", "answer_ms_p99")
    line("learned a second", ",.0f", "learned_per_second")
    some = next(iter(found["models"].values()), {"targets": 0, "lists": 0})
    title = (
        f"{settings['kind']} of {settings['sessions']:,} sessions, {settings['items']:,} items;"
        f" test from {settings['test_from']}: {some['targets']:,} items in {some['lists']:,} lists"
    )
    notes = (
        f"Each list is asked for before what came is learned. {_JUDGED.capitalize()}."
        f" Repeats: {_REPEATS}. item-kNN, ALS and BPR are fitted {settings['refits_of_peers']}"
        " times in the test."
    )
    if overlap := settings["test_visits_before_the_end_of_the_past"]:
        notes += f" {overlap:,} visits of the test lie before the end of the past."
    return Group(Text(title, style="bold"), table, Text(notes, style="dim"))
