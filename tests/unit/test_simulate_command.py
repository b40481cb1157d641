"""The simulator's command: what it takes, and that its past depends on nothing else."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from app.cli.send import parse_rate
from app.settings import Settings, SettingsError, addresses_file
from app.target import Target, running_api, target
from loadtests.simulator.command import counted, last_day, send_history, table, verdict
from loadtests.simulator.compare import Comparison, Difference
from loadtests.simulator.history import Plan
from loadtests.simulator.traffic import Disorder
from loadtests.simulator.truth import Truth, prepare

UTC_ZONE = ZoneInfo("UTC")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, write_keys={"demo": "main", "k": "tidy"})


@pytest.mark.parametrize(("text", "rate"), [("max", None), ("20", 20.0), ("0.5", 0.5)])
def test_a_rate_is_a_number_or_max(text: str, rate: float | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "0", "-1", "inf", "nan"])
def test_another_rate_is_told(text: str) -> None:
    with pytest.raises(SettingsError, match="--rate"):
        parse_rate(text)


def test_a_past_ends_yesterday_or_before(settings: Settings) -> None:
    today = datetime.now(UTC).date()
    assert last_day(None, settings) == today - timedelta(days=1)
    assert last_day(date(2026, 1, 1), settings) == date(2026, 1, 1)
    with pytest.raises(SettingsError, match="at the latest"):
        last_day(today + timedelta(days=1), settings)


def test_a_shop_is_written_to_with_its_own_key(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="no API is up"):
        running_api(settings)
    addresses_file(settings.home).write_text('{"api": "http://up"}')
    assert target(settings) == Target("http://up", "demo", "main")
    assert target(settings, "tidy") == Target("http://up", "k", "tidy")
    assert target(settings, "tidy", "http://told").api == "http://told"
    with pytest.raises(SettingsError, match=r"TILLSTREAM_WRITE_KEYS=KEY:other"):
        target(settings, "other")


_DIGEST = """
import hashlib, json
from datetime import date
from zoneinfo import ZoneInfo
from loadtests.simulator.history import Plan
from loadtests.simulator.traffic import Disorder
from loadtests.simulator.truth import prepare
traffic, truth = prepare(
    Plan(7, 3, date(2026, 3, 30), 60), ZoneInfo("Europe/Berlin"), "main", Disorder()
)
print(truth.digest, hashlib.sha256(json.dumps(traffic.events).encode()).hexdigest())
"""


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_sends_the_same_stream_of_the_same_truth(seed: str) -> None:
    plan = Plan(7, 3, date(2026, 3, 30), 60)
    traffic, truth = prepare(plan, ZoneInfo("Europe/Berlin"), "main", Disorder())
    here = f"{truth.digest} {hashlib.sha256(json.dumps(traffic.events).encode()).hexdigest()}"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    there = subprocess.check_output([sys.executable, "-c", _DIGEST], env=environment, text=True)
    assert there.strip() == here


@pytest.fixture(scope="module")
def truth() -> Truth:
    return prepare(Plan(7, 3, date(2026, 3, 30), 200), UTC_ZONE, "main", Disorder())[1]


def test_equal_figures_are_told_with_their_digest(truth: Truth) -> None:
    found = Comparison(1_000, [], truth.digest)
    lies = truth.sent.contradictions
    assert verdict(found, truth, lies)[0] == "[green]✓[/] all 1,000 figures are equal"
    assert verdict(found, truth, None)[-1].startswith("[dim]· quarantine not looked at")
    assert verdict(found, truth, [*lies, "other"])[-1].startswith("[red]✗[/]")


def test_differences_are_told_up_to_a_bound(truth: Truth) -> None:
    differences = [Difference("orders", f"o-{n}", "gross", "1.00", "2.00") for n in range(30)]
    assert (
        "30 of 1,000 figures differ"
        in verdict(Comparison(1_000, differences, "other"), truth, None)[0]
    )
    assert table(differences).row_count == 21


def test_what_the_readers_counted_is_told_beside_what_was_sent(truth: Truth) -> None:
    applied, repeated, quarantined = truth.sent.by_topic["orders"]
    assert min(applied, repeated) > 0
    assert sum(map(sum, truth.sent.by_topic.values())) == truth.sent.records
    assert sum(topic[1] for topic in truth.sent.by_topic.values()) == truth.sent.duplicates
    before = {"sales": (10, 20, 30)}
    after = {"sales": (10 + applied, 20 + repeated, 30 + quarantined)}
    [as_sent] = counted(before, after, truth)
    assert as_sent.endswith(" quarantined, as sent")
    [otherwise] = counted(before, {"sales": (10, 20, 31)}, truth)
    assert otherwise.startswith("[yellow]")


async def test_a_truth_that_cannot_be_written_is_told_before_anything_is_sent(
    settings: Settings, tmp_path: Path
) -> None:
    plan, nowhere = Plan(7, 1, date(2026, 1, 1), 5), tmp_path / "nowhere" / "truth.json"
    to = Target("http://127.0.0.1:9", "demo", "main")
    with pytest.raises(SettingsError, match="--truth .*No such file"):
        await send_history(
            settings, to, plan, Disorder(), None, nowhere, Console(quiet=True), verify=False
        )
