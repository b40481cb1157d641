"""`tillstream evaluate forecast`, as it is typed."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner, Result

import app.cli.evaluate  # noqa: F401  # registers what is typed here
from app.cli.terminal import Failed, cli
from loadtests.evaluate import command, datasets, peers, rolling, stores

COLUMNS = ("--date", "date", "--series", "series", "--value", "value")
KNOWN = [part for name in ("promo", "open", "holiday", "school") for part in ("--known", name)]
PER_MODEL = {
    "mase", "mase_low", "mase_high", "rmsse", "wape", "r2", "total_mase", "crps", "coverage_50",
    "coverage_80", "coverage_95", "width_50", "width_80", "width_95", "interval_score_50",
    "interval_score_80", "interval_score_95", "seconds_per_update", "unanswered", "by_origin",
    "by_week",
}  # fmt: skip


def typed(*words: object) -> Result:
    return CliRunner().invoke(
        cli, ["evaluate", "forecast", *map(str, words)], env={"COLUMNS": "90"}
    )


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A year of four simulated shops."""
    file = tmp_path_factory.mktemp("data") / "stores.csv"
    datasets.write(stores.rows(stores=4, days=300), file)
    return file


def test_models_stand_side_by_side(shops: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = typed(shops, *COLUMNS, *KNOWN, "--origins", 3, "--horizon", 14, "--peer",
                 "seasonal_naive", "--json", out)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "4 series, 2023-01-02 to 2023-10-28: 3 origins × 14 days" in " ".join(
        done.stdout.split()
    )
    found = json.loads(out.read_text())
    assert list(found["models"]) == ["tillstream", "seasonal_naive"]
    assert found["settings"]["origins"] == ["2023-09-16", "2023-09-30", "2023-10-14"]
    assert found["settings"]["inputs"] == ["promo", "open", "holiday=public", "school"]
    for name, figures in found["models"].items():
        assert set(figures) == PER_MODEL
        assert 0 < figures["mase_low"] < figures["mase"] < figures["mase_high"] < 3, name
        assert 0 < figures["seconds_per_update"] < 1
        assert (len(figures["by_origin"]), len(figures["by_week"])) == (3, 2)


def test_parquet_says_the_same_as_csv(shops: Path, tmp_path: Path) -> None:
    file, seen = tmp_path / "stores.parquet", []
    with duckdb.connect(":memory:") as database:
        database.execute(f"COPY (FROM read_csv('{shops}')) TO '{file}'")
    for source in (shops, file):
        done = typed(source, *COLUMNS, *KNOWN, "--origins", 2, "--peer", "none", "--json", "-")
        assert done.exit_code == 0, done.output
        models = json.loads(done.stdout)["models"]
        assert list(models) == ["tillstream"]
        del models["tillstream"]["seconds_per_update"]
        seen.append(models)
    assert seen[0] == seen[1]


def test_all_that_are_installed_are_asked(shops: Path) -> None:
    missing = [package for package in peers.NEEDS.values() if package not in _installed()]
    if missing:
        pytest.skip(f"{missing[0]} is not installed: uv sync --inexact --group peers")
    done = typed(shops, *COLUMNS, *KNOWN, "--origins", 1, "--json", "-")
    assert done.exit_code == 0, done.output
    models = json.loads(done.stdout)["models"]
    assert list(models) == ["tillstream", "seasonal_naive", "auto_ets", "auto_theta", "lightgbm"]
    # With promotions and closed days at hand, it is far better than what knows of none.
    assert models["lightgbm"]["mase"] < 0.8 * models["seasonal_naive"]["mase"]


def _installed() -> Sequence[str]:
    return [peers.NEEDS[name] for name in peers.installed() if name in peers.NEEDS]


def test_a_peer_that_is_not_there_is_named(shops: Path) -> None:
    refused = typed(shops, *COLUMNS, "--peer", "prophet")
    assert isinstance(refused.exception, Failed)
    assert "--peer prophet: there are seasonal_naive" in str(refused.exception)


def test_a_peer_that_could_be_installed_says_how(
    shops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda _name: None)
    refused = typed(shops, *COLUMNS, "--peer", "lightgbm")
    assert isinstance(refused.exception, Failed)
    assert str(refused.exception).endswith("uv sync --inexact --group peers")
    done = typed(shops, *COLUMNS, "--origins", 1)
    assert done.exit_code == 0
    assert "not installed: auto_ets, auto_theta, lightgbm" in done.stderr


def test_bad_input_is_one_sentence(shops: Path) -> None:
    refused = typed(shops, "--date", "day", "--value", "value")
    assert isinstance(refused.exception, Failed)
    assert "stores.csv has no column 'day': it has 'date', 'series'" in str(refused.exception)
    refused = typed(shops, *COLUMNS, "--origins", 60)
    assert "--origins 9 would do" in str(refused.exception)
    refused = typed(shops, *COLUMNS, "--horizon", 46)
    assert "--horizon 46: it is 1 to 45 days" in str(refused.exception)


def test_months_are_judged_by_the_long_term_model(tmp_path: Path) -> None:
    file, out = tmp_path / "years.csv", tmp_path / "out.json"
    datasets.write(stores.rows(stores=3, days=900), file)
    words = (file, *COLUMNS, "--monthly", "--peer", "seasonal_naive", "--json", out)
    done = typed(*words, "--origins", 3)
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    # Of 900 days the last, a part of June, is no month.
    assert (found["settings"]["unit"], found["settings"]["season"]) == ("months", 12)
    assert found["settings"]["origins"] == ["2024-03-01", "2024-04-01", "2024-05-01"]
    assert list(found["models"]) == ["tillstream", "seasonal_naive"]
    for figures in found["models"].values():
        assert set(figures) == PER_MODEL - {"by_week"} | {"by_year"}
        assert 0 < figures["mase"] < 3
    refused = typed(*words, "--origins", 4)
    assert "months are too few for 4 origins" in str(refused.exception)
    assert "--known" in str(typed(*words, "--known", "promo").exception)
    refused = typed(*words, "--horizon", 25)
    assert "--horizon 25: it is 1 to 24 months" in str(refused.exception)


def test_ctrl_c_keeps_what_is_there(
    shops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> rolling.Run:
        raise KeyboardInterrupt

    monkeypatch.setattr(rolling, "refitted", interrupted)
    out = tmp_path / "out.json"
    done = typed(shops, *COLUMNS, "--origins", 1, "--peer", "seasonal_naive", "--json", out)
    assert done.exit_code == 130
    assert "interrupted: left out seasonal_naive" in done.stderr
    found = json.loads(out.read_text())
    assert list(found["models"]) == [command.OURS]
    assert found["settings"]["left_out"] == ["seasonal_naive"]


def test_the_simulated_chain_is_the_same_again_and_closed_when_it_says_so() -> None:
    rows = list(stores.rows(stores=3, days=400))
    assert rows == list(stores.rows(stores=3, days=400))
    header, days = rows[0], [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    assert header[:3] == ("date", "series", "value")
    assert len(days) == 1200
    assert all(day["open"] for day in days if day["value"])
    assert {day["date"].weekday() for day in days if day["promo"]} == {0, 1, 2, 3, 4}
    assert not any(day["open"] for day in days if day["holiday"] == "public")


def test_real_data_is_written_with_every_day_of_every_series(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "retail.csv"
    source = data / "online_retail_2010-12_2011-09.csv.gz"
    count = datasets.write(datasets.online_retail(source, products=3), out)
    with out.open() as file:
        rows = list(csv.DictReader(file))
    # Ten months, to the day: three products, ten countries and the total.
    assert count == len(rows) == 14 * 304
    assert len({row["series"] for row in rows}) == 14
    with duckdb.connect(":memory:") as database:
        sold = database.execute(
            "SELECT sum(Quantity) FROM read_csv(?) WHERE Quantity > 0", [str(source)]
        ).fetchone()
    assert sold is not None
    total = sum(int(row["value"]) for row in rows if row["series"] == "total")
    # All but postage and fees, and slips that were taken back on the day, one of 74,215 jars.
    assert 0.95 * sold[0] < total < sold[0] - 74_215


def test_data_that_is_not_here_says_where_it_comes_from() -> None:
    with pytest.raises(datasets.NoData, match="--file FILE.csv.gz"):
        list(datasets.online_retail(None))
