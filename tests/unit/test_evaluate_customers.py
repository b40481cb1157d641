"""`tillstream evaluate customers`, as it is typed."""

import csv
import json
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import app.cli.evaluate_customers  # noqa: F401  # registers what is typed here
from app.cli.terminal import Failed, cli
from loadtests.evaluate import customer_models, customers
from loadtests.evaluate.customer_models import Foretold
from loadtests.evaluate.purchases import Columns, holdout_of, read, split_of
from ml_online.return_scores import auc

FIRST = date(2024, 1, 1)
SPLIT = FIRST + timedelta(days=139)
COLUMNS = ("--customer", "who", "--date", "day", "--value", "paid")
ASKED = (*COLUMNS, "--split", SPLIT, "--horizon", 56)
PER_MODEL = {
    "auc", "brier", "calibration_error", "mae_orders", "rmse_orders", "aggregate_orders",
    "mae_value", "rmse_value", "aggregate_value", "top_decile_value", "inside_80", "seconds",
}  # fmt: skip


def typed(*words: object) -> Result:
    return CliRunner().invoke(
        cli, ["evaluate", "customers", *map(str, words)], env={"COLUMNS": "90"}
    )


def write(file: Path, rows: Sequence[Sequence[Any]]) -> Path:
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([("who", "day", "paid"), *rows])
    return file


@pytest.fixture(scope="module")
def bought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some who order every other week and some who order once or twice, over 28 weeks."""
    random, rows = Random(6), []
    for number in range(150):
        day, left = random.uniform(0, 60), random.choice((1, 2, 99))
        while day < 196 and left:
            paid = f"{random.uniform(5, 80):.2f}"
            rows.append((f"c{number}", (FIRST + timedelta(days=int(day))).isoformat(), paid))
            day, left = day + random.expovariate(1 / 15), left - 1
    return write(tmp_path_factory.mktemp("data") / "bought.csv", rows)


def test_models_stand_side_by_side(bought: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = typed(bought, *ASKED, "--peer", "bg_nbd", "--peer", "naive_rate", "--peer", "recency",
                 "--json", out)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "150 customers by 2024-05-19, and the 56 days after" in " ".join(done.stdout.split())
    found = json.loads(out.read_text())
    assert list(found["models"]) == ["tillstream", "bg_nbd", "naive_rate", "recency"]
    assert all(set(figures) == PER_MODEL for figures in found["models"].values())
    ours, naive = found["models"]["tillstream"], found["models"]["naive_rate"]
    assert ours["auc"] > 0.9
    assert ours["brier"] < naive["brier"]
    assert ours["mae_orders"] < naive["mae_orders"]
    assert found["models"]["recency"]["brier"] is None
    assert found["settings"]["left_out"] == []
    again = json.loads(typed(bought, *ASKED, "--peer", "none", "--json", "-").stdout)
    del ours["seconds"], again["models"]["tillstream"]["seconds"]
    assert again["models"] == {"tillstream": ours}


def test_what_comes_after_the_split_is_not_looked_at(bought: Path, tmp_path: Path) -> None:
    """Without the holdout's orders, all but one, what is said is the same."""
    with bought.open() as file:
        rows = list(csv.reader(file))[1:]
    late = (FIRST + timedelta(days=150)).isoformat()
    before = [row for row in rows if row[1] <= SPLIT.isoformat()]
    cut = write(tmp_path / "cut.csv", [*before, ("c0", late, "1")])
    said = []
    for source in (bought, cut):
        purchases = read(source, Columns("who", "day", "paid"))
        split = split_of(SPLIT.isoformat(), purchases)
        holdout = holdout_of(purchases, split, 56)
        told = customer_models.tillstream(purchases, split, 56, holdout, lambda _: None)
        assert told.orders is not None
        said.append([told.score.tolist(), told.orders.tolist()])
    assert said[0] == said[1]


def test_rows_of_a_day_are_one_order_and_returns_are_none(tmp_path: Path) -> None:
    rows = [
        ("ada", "2024-01-01", 10), ("ada", "2024-01-01", 5), ("ada", "2024-01-08", 3),
        ("bob", "2024-01-02", 7), ("bob", "2024-01-09", -7), ("", "2024-01-03", 9),
        ("ada", "2024-01-20", 4), ("ada", "2024-01-30", 4), ("cyd", "2024-01-21", 4),
    ]  # fmt: skip
    purchases = read(write(tmp_path / "some.csv", rows), Columns("who", "day", "paid"))
    assert (purchases.ids, purchases.nobodys, purchases.returns) == (["ada", "bob", "cyd"], 1, 1)
    holdout = holdout_of(purchases, split_of("2024-01-15", purchases), 7)
    assert [purchases.ids[number] for number in holdout.who] == ["ada", "bob"]
    assert holdout.buyers.x.tolist() == [1, 0]
    assert holdout.buyers.t_x.tolist() == [1, 0]
    assert holdout.buyers.age.tolist() == [2, 13 / 7]
    assert holdout.mean_before.tolist() == [9, 7]
    assert holdout.orders.tolist() == [1, 0]
    assert holdout.value.tolist() == [4, 0]


def test_figures_are_what_they_are_called(bought: Path) -> None:
    purchases = read(bought, Columns("who", "day", "paid"))
    holdout = holdout_of(purchases, split_of(SPLIT.isoformat(), purchases), 56)
    knows = Foretold(
        holdout.orders, (holdout.orders > 0).astype(np.float64), holdout.orders, holdout.value
    )
    found = customers.figures(knows, holdout)
    assert [found[name] for name in ("auc", "brier", "mae_orders", "mae_value")] == [1, 0, 0, 0]
    assert found["aggregate_orders"] == 0
    half = customers.figures(Foretold(holdout.orders * 0, orders=holdout.orders / 2), holdout)
    assert (half["auc"], half["aggregate_orders"]) == (0.5, -0.5)
    random = np.random.default_rng(1)
    score, outcome = random.integers(0, 9, 60).astype(float), random.random(60) < 0.4
    pairs = [(a > b) + (a == b) / 2 for a in score[outcome] for b in score[~outcome]]
    assert auc(score, outcome) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--customer", "nobody", *COLUMNS[2:]), "has no column 'nobody': it has 'who'"),
        (("--customer", "day", *COLUMNS[2:]), "three columns, each another one"),
        ((*COLUMNS[:2], "--date", "who", "--value", "paid"), "three columns"),
        (("--customer", "paid", "--date", "who", "--value", "day"), "'who' is not of dates"),
        ((*COLUMNS[:4], "--value", "day"), "three columns"),
        ((*COLUMNS, "--split", "may"), "--split 'may': it is a day"),
        ((*COLUMNS, "--split", "2030-01-01"), "the orders are from 2024-01-0"),
        ((*COLUMNS, "--horizon", 9999), "--horizon 9999: it is 1 to"),
        ((*COLUMNS, "--peer", "fortune_teller"), "--peer fortune_teller: there are"),
    ],
)
def test_what_is_wrong_is_named(bought: Path, words: Sequence[object], says: str) -> None:
    given = list(map(str, words))
    for name, value in (("--split", str(SPLIT)), ("--horizon", "56")):
        given += [] if name in given else [name, value]
    failed = typed(bought, *given)
    assert isinstance(failed.exception, Failed)
    assert says in str(failed.exception)


def test_ctrl_c_leaves_what_there_is(bought: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Foretold:
        raise KeyboardInterrupt

    monkeypatch.setitem(customer_models.MODELS, "bg_nbd", interrupted)
    done = typed(bought, *ASKED, "--peer", "recency", "--peer", "bg_nbd", "--json", "-")
    assert done.exit_code == 130
    found = json.loads(done.stdout)
    assert list(found["models"]) == ["tillstream", "recency"]
    assert found["settings"]["left_out"] == ["bg_nbd"]
