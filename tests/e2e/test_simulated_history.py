"""A history with known answers, through everything: shuffled, late, twice and contradicted."""

import asyncio
import re
import subprocess
from pathlib import Path

import pytest

from app.settings import Settings
from tests.e2e.service import Service, run_cli, running
from tests.e2e.test_ingest import order

PLAN = ("--seed", "7", "--days", "3", "--until", "2026-03-30", "--visits", "250")  # clocks change
MUCH = ("--shuffle", "0.5", "--late", "0.2", "--duplicates", "0.2", "--contradictions", "0.1")


async def said(service: Service, *arguments: str, code: int = 0, api: bool = True) -> str:
    """What a command tells a person, once it has ended as expected."""
    where = ("--api", service.api) if api else ()
    process = run_cli(*arguments, *where, environment=service.environment, stderr=subprocess.PIPE)
    async with asyncio.timeout(120):
        _, told = await asyncio.to_thread(process.communicate)
    assert process.returncode == code, told.decode()
    return str(told.decode())


def digests(told: str) -> set[str]:
    return set(re.findall(r"[0-9a-f]{64}", told))


async def test_every_figure_is_true_however_the_events_come(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLSTREAM_WRITE_KEYS", "demo:main,one:untidy,two:tidy")
    monkeypatch.setenv("TILLSTREAM_TIMEZONE", "Europe/Berlin")
    truth = str(tmp_path / "truth.json.gz")
    async with running(settings) as service:
        untidy = await said(
            service, "simulate", *PLAN, *MUCH, "--shop", "untidy", "--truth", truth, "--verify"
        )
        tidy = await said(service, "simulate", *PLAN, "--in-order", "--shop", "tidy", "--verify")
        assert len(digests(untidy)) == 1
        assert digests(untidy) == digests(tidy) == digests(await said(service, "compare", truth))
        assert re.search(r"all [\d,]+ figures are equal", untidy)
        assert re.search(r"quarantined: the [1-9]\d* contradictions, nothing else", untidy)

        assert re.search(
            r"sales: [\d,]+ applied, [1-9]\d* repeated, [1-9]\d* quarantined, as sent", untidy
        )
        assert re.search(r"sales: [\d,]+ applied, 0 repeated, 0 quarantined, as sent", tidy)

        log = str(tmp_path / "log.jsonl.gz")
        await said(service, "capture", log, "--shop", "untidy", api=False)
        played = ("replay", "--format", "tillstream", log, "--shop", "copy")
        await said(service, *played, api=False)
        copied = await said(service, "compare", truth, "--shop", "copy")
        assert digests(copied) == digests(tidy)

        await _sell_once_more(service)
        changed = await said(service, "compare", truth, code=1)
        tidy = await said(service, "compare", truth, "--shop", "tidy", code=1)
    assert re.search(r"[1-9]\d* of [\d,]+ figures differ", changed)
    assert "revenue/total/day" in changed
    assert len(digests(changed)) == 2
    # The other shop's figures are still true; only what was quarantined is not the same.
    assert re.search(r"all [\d,]+ figures are equal", tidy)
    assert "0 events quarantined, not the" in tidy


async def _sell_once_more(service: Service) -> None:
    """A sale that the truth knows nothing of."""
    sale = order("one-more") | {"time": "2026-03-29T12:00:00Z"}
    async with service.client() as client:
        sent = await client.post("/v1/events", json=sale, headers={"Authorization": "Bearer one"})
        position = sent.json()["position"]
        await client.get("/v1/orders/one-more", params={"shop": "untidy", "min_position": position})
