"""`tillstream evaluate sentiment`, as it is typed."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner, Result

import app.cli.evaluate_sentiment  # noqa: F401  # registers what is typed here
from app.cli.terminal import Failed, cli
from loadtests.evaluate import sentiment
from loadtests.evaluate.reviews import read
from tests.learning import BLAMES, HEDGES, PRAISES

COLUMNS = ("--text", "words", "--stars", "stars")


def typed(*words: object) -> Result:
    return CliRunner().invoke(
        cli, ["evaluate", "sentiment", *map(str, words)], env={"COLUMNS": "100"}
    )


def write(file: Path, rows: Iterable[Sequence[object]], *more: str) -> Path:
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["words", "stars", *more])
        writer.writerows(rows)
    return file


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reviews in no order of time, with some that are none."""
    random = Random(3)
    rows: list[tuple[object, ...]] = []
    for number in range(540):
        texts, stars = random.choice(((PRAISES, 5), (PRAISES, 4), (HEDGES, 3), (BLAMES, 1)))
        text = f"{random.choice(texts)}\n{random.choice(texts)}"
        rows.append((text, f"{stars}.0", f"2026-{1 + number % 9:02}-03 10:00:00"))
    rows += [("", 5, "2026-01-01"), ("good", "", "2026-01-01")]
    return write(tmp_path_factory.mktemp("data") / "reviews.csv", rows, "at")


def test_models_stand_side_by_side(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = typed(table, *COLUMNS, "--time", "at", "--peer", "majority", "--peer", "multinomial_nb",
                 "--json", out)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "540 reviews, 2026-01-03 to 2026-09-03" in done.stdout
    found = json.loads(out.read_text())
    assert list(found["models"]) == ["tillstream", "majority", "multinomial_nb"]
    settings = found["settings"]
    assert (settings["without_text"], settings["without_stars"]) == (1, 1)
    assert (settings["order"], settings["first_reviews"]) == ("time", 500)
    assert sum(settings["classes"].values()) == 540
    ours, majority = (found["models"][name] for name in ("tillstream", "majority"))
    for figures in found["models"].values():
        assert 0 <= figures["macro_f1"] <= figures["accuracy"] <= 1
        assert figures["accuracy_after_first"] is not None
    assert ours["accuracy"] > 0.9 > majority["accuracy"]
    assert ours["macro_f1"] > 0.9
    assert ours["unknown"] == 0


def test_scores_are_those_of_the_textbook() -> None:
    accuracy, macro_f1, f1 = sentiment.scored([0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 2, None])
    assert accuracy == round(4 / 6, 6)
    assert f1 == [round(2 / 3, 6), round(2 / 3, 6), 0.8]
    assert macro_f1 == round(sum(f1) / 3, 6)


@pytest.mark.parametrize(
    "times",
    [
        ("2026-02-01", "2026-01-31"),
        ("February 1, 2026", "January 31, 2026"),
        ("Reviewed in Germany on February 1, 2026", "Reviewed in Germany on January 31, 2026"),
        ("1769904000", "1769817600"),
        ("1769904000123", "1769817600123"),
        ("1/2/2026", "31/1/2026"),
        ("02/01/26", "01/31/26"),
        ("02 1, 2026", "01 31, 2026"),
        ("2026-02-01T10:00:00Z", "2026-01-31T10:00:00+01:00"),
    ],
)
def test_times_are_read_as_they_are_written(tmp_path: Path, times: tuple[str, str]) -> None:
    file = write(tmp_path / "two.csv", [("late", 5, times[0]), ("early", 1, times[1])], "at")
    found = read(file, "words", "stars", "at").rows
    assert [one.text for one in found] == ["early", "late"]
    assert [one.time.date().isoformat() for one in found if one.time] == [
        "2026-01-31",
        "2026-02-01",
    ]


@pytest.mark.parametrize(
    ("rows", "words", "says"),
    [
        ([("good", 5, "x")], ("--text", "wrods", "--stars", "stars"), "no column 'wrods'"),
        ([("good", 6, "x")], COLUMNS, "'stars' has '6': stars are whole, from 1 to 5"),
        ([("good", "many", "x")], COLUMNS, "'stars' has 'many'"),
        ([("", 5, "x")], COLUMNS, "no row has both a text in 'words' and stars in 'stars'"),
        ([("good", 5, "x")], (*COLUMNS, "--time", "at"), "'at' has 'x', which is no time"),
        ([("good", 5, "")], (*COLUMNS, "--time", "at"), "'at' is empty in 1 rows"),
        ([("good", 5, "1/2/2026")], (*COLUMNS, "--time", "at"), "say which with --date-format"),
        ([("good", 5, "x")], (*COLUMNS, "--peer", "oracle"), "--peer oracle: there are majority"),
    ],
)
def test_what_cannot_be_judged_is_named_with_what_to_do(
    tmp_path: Path, rows: Sequence[Sequence[object]], words: Sequence[str], says: str
) -> None:
    done = typed(write(tmp_path / "reviews.csv", rows, "at"), *words)
    assert isinstance(done.exception, Failed)
    assert says in str(done.exception)
