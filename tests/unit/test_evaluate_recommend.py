"""`tillstream evaluate recommend`, as it is typed, and its figures against a recount."""

import csv
import gzip
import json
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from math import log2
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner, Result

import app.cli.evaluate_recommend  # noqa: F401  # registers what is typed here
from app.cli.terminal import Failed, cli
from loadtests.evaluate import recommend_peers, recommending, visits
from loadtests.evaluate.recommending import Question, Task
from loadtests.evaluate.visits import Columns, Visit

CLICKS = ("--session", "sid", "--item", "iid", "--time", "at")
QUICK = ("--peer", "popularity", "--peer", "item_knn", "--peer", "v_sknn")


def typed(*words: object) -> Result:
    return CliRunner().invoke(
        cli, ["evaluate", "recommend", *map(str, words)], env={"COLUMNS": "100"}
    )


def write(file: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    with gzip.open(file, "wt", newline="") if file.suffix == ".gz" else file.open("w") as out:
        csv.writer(out).writerows([header, *rows])
    return file


def walks(sessions: int, seed: int, begin: float = 0.0) -> list[tuple[str, str, float]]:
    """Sessions that go round a ring of thirty items, two steps on, now and then one again."""
    random, rows = Random(seed), []
    for number in range(sessions):
        item, at = random.randrange(30), begin + 600.0 * number
        for _ in range(random.randint(2, 6)):
            rows.append((f"s{seed}-{number}", f"i{item}", at))
            item, at = (item + random.choice((0, 2, 2, 2))) % 30, at + random.randint(5, 90)
    return rows


@pytest.fixture
def clicks(tmp_path: Path) -> Path:
    rows = walks(250, seed=1)
    Random(2).shuffle(rows)  # a file's order says nothing
    return write(tmp_path / "clicks.csv.gz", ("sid", "iid", "at"), rows)


def test_models_stand_side_by_side(clicks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = typed(clicks, *CLICKS, *QUICK, "--k", 5, "--json", out)
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert list(found["models"]) == ["tillstream", "popularity", "item_knn", "v_sknn"]
    assert (found["settings"]["kind"], found["settings"]["k"]) == ("clicks", 5)
    for name, figures in found["models"].items():
        assert 0 < figures["mrr@5"] < figures["ndcg@5"] < figures["hr@5"] <= 1, name
        assert figures["any@5"] == figures["hr@5"]
        assert figures["without_repeats"]["targets"] < figures["targets"]
        assert 0 < figures["coverage"] <= 1
        assert 0 < figures["novelty"] < 10
        assert 0 < figures["answer_ms_p50"] <= figures["answer_ms_p99"]
        assert figures["learned_per_second"] > 0
    ours, popular = found["models"]["tillstream"], found["models"]["popularity"]
    assert ours["hr@5"] > 0.9 > 0.4 > popular["hr@5"]
    assert "HR@5" in done.stdout


def test_a_test_file_is_judged_with_and_without_learning(clicks: Path, tmp_path: Path) -> None:
    rows = [(one, "new" + item, at) for one, item, at in walks(60, seed=3, begin=1e6)]
    test = write(tmp_path / "test.csv", ("sid", "iid", "at"), rows)
    done = typed(clicks, *CLICKS, "--test", test, "--peer", "none", "--json", "-")
    found = json.loads(done.stdout)
    sessions = {row[0] for row in rows}
    static, ours = found["models"]["tillstream_static"], found["models"]["tillstream"]
    assert ours["targets"] == static["targets"] == len(rows) - len(sessions)
    assert static["without_repeats"]["hr@20"] == 0.0  # it has never heard of them
    assert ours["without_repeats"]["hr@20"] > 0.5
    assert static["learned_per_second"] is None


def test_baskets_of_customers_who_come_back(tmp_path: Path) -> None:
    random, rows = Random(4), []
    for visit in range(8):
        for customer in range(30):
            at = f"2026-0{1 + visit}-{1 + customer % 28:02d} 10:00:00"
            favourites = [f"f{customer}-{n}" for n in range(3)]
            who = (f"o{visit}-{customer}", f"c{customer}" if visit else "")
            basket = (*random.sample(favourites, 2), f"i{random.randrange(200)}")
            rows += [(*who, item, at) for item in basket]
    file = write(tmp_path / "orders.csv", ("order", "who", "item", "at"), rows)
    columns = ("--item", "item", "--time", "at", "--peer", "popularity", "--json", "-")
    found = json.loads(typed(file, "--session", "order", "--user", "who", *columns).stdout)
    assert found["settings"]["kind"] == "baskets"
    ours, popular = found["models"]["tillstream"], found["models"]["popularity"]
    assert (ours["lists"], ours["targets"]) == (48, 48 * 3)
    assert 0.6 < ours["hr@20"] < 0.8 <= 1.0 == ours["any@20"]
    assert popular["hr@20"] < 0.4
    assert ours["without_repeats"]["targets"] <= 48 * 1.2
    known = write(tmp_path / "known.csv", ("order", "who", "item", "at"), [r for r in rows if r[1]])
    again = json.loads(typed(known, "--session", "who", *columns).stdout)
    assert again["settings"]["sessions"] == 30
    assert again["models"]["tillstream"]["hr@20"] > 0.6
    with pytest.raises(Failed, match="'order' the order[?] Name the column of who bought"):
        _raise(typed(file, "--session", "order", *columns))


def _raise(done: Result) -> None:
    assert done.exception is not None
    raise done.exception


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (("--session", "who", "--item", "iid", "--time", "at"), "no column 'who': it has 'sid'"),
        (("--session", "sid", "--item", "iid", "--time", "iid"), "'iid' is named for two things"),
        (("--session", "iid", "--item", "at", "--time", "sid"), "not of dates"),
        ((*CLICKS, "--peer", "oracle"), "--peer oracle: there are popularity"),
    ],
)
def test_a_column_that_does_not_fit_is_named(
    clicks: Path, columns: Sequence[str], said: str
) -> None:
    with pytest.raises(Failed, match=said):
        _raise(typed(clicks, *columns))


@pytest.mark.parametrize(
    "times",
    [
        ("1767225600", "1767225660.5"),
        ("1767225600000", "1767225660500"),
        ("2026-01-01T00:00:00Z", "2026-01-01T02:01:00.5+02:00"),
        ("2026-01-01 00:00:00 UTC", "2026-01-01 00:01:00.5 UTC"),
        ("2026-01-01", "2026-01-01 00:01:00.5"),
    ],
)
def test_times_are_read_however_they_are_written(times: Sequence[str], tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.csv", ("s", "i", "t"), [("a", f"x{n}", t) for n, t in enumerate(times)]
    )
    found, passed_over = visits.read(file, Columns("s", "i", "t"))
    assert [visit.at for visit in found] == [1_767_225_600.0, 1_767_225_660.5]
    assert passed_over == 0


def test_what_one_session_has_at_one_time_is_one_basket(tmp_path: Path) -> None:
    rows = [("a", "x", 1), ("b", "y", 1), ("a", "z", 1), ("a", "x", 1), ("", "x", 1), ("a", "", 2)]
    file = write(tmp_path / "a.csv", ("s", "i", "t"), rows)
    found, passed_over = visits.read(file, Columns("s", "i", "t"))
    assert found == [Visit(1.0, "a", "", ("x", "z")), Visit(1.0, "b", "", ("y",))]
    assert passed_over == 2
    assert (visits.kind_of(found), visits.kind_of(found[1:])) == ("baskets", "clicks")


class _Fixed:
    """Lists that were written down, one after the other, and what they were asked with."""

    def __init__(self, lists: Sequence[Sequence[str]]) -> None:
        self._lists = iter(lists)
        self.told = 0
        self.asked: list[tuple[Question, int, int]] = []

    def learn(self, visit: Visit) -> None:
        self.told += 1

    def rank(self, question: Question, limit: int) -> Sequence[str]:
        self.asked.append((question, limit, self.told))
        return next(self._lists)


def test_figures_are_those_of_a_recount_and_nothing_is_told_before_it_is_asked() -> None:
    told = [
        Visit(1.0, "s", "u", ("a",)),
        Visit(2.0, "s", "u", ("b",)),
        Visit(3.0, "t", "u", ("c",)),
        Visit(4.0, "s", "u", ("a",)),
    ]
    model = _Fixed([["a", "b", "x"], ["c"], ["b", "x", "a"]])
    found = recommending.judged(model, Task(told, 1, "clicks", 2), lambda _: None)
    assert [(list(q.session), q.at, limit, seen) for q, limit, seen in model.asked] == [
        (["a"], 2.0, 3, 1),
        ([], 3.0, 4, 2),  # the first of a session, of somebody who was there before
        (["a", "b"], 4.0, 4, 3),
    ]
    assert (found["hr@2"], found["mrr@2"], found["targets"]) == (1 / 2, 1 / 4, 2)
    assert found["ndcg@2"] == pytest.approx(1 / log2(3) / 2)
    assert found["without_repeats"]["hr@2"] == 1.0
    assert found["without_repeats"]["mrr@2"] == 1.0
    assert found["first_of_returning"]["hr@2"] == 1.0
    assert found["coverage"] == 1.0


@pytest.mark.skipif(find_spec("implicit") is None, reason="implicit is not installed: group peers")
@pytest.mark.filterwarnings("ignore")
def test_implicit_is_asked_alike() -> None:
    rows = [Visit(at, one, "", (item,)) for one, item, at in walks(150, seed=5)]
    rows.sort()
    task = Task(rows, int(len(rows) * 0.8), "clicks", 10)
    for name in ("als", "bpr"):
        model = recommend_peers.peer_of(name, task)
        found = recommending.judged(model, task, lambda _: None)
        assert found["hr@10"] > 0.4, name
