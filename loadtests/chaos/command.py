"""`tillstream chaos`, past its options."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from loadtests.bench.__main__ import machine
from loadtests.chaos.faults import FAULTS
from loadtests.chaos.run import Round, plan, run_seed, seeds
from loadtests.chaos.site import servers_in

_SHOWN = 20


async def chaos(
    home: Path, talk: Console, events: int, seed: str, faults: str, json: Path | None
) -> bool:
    """Runs every seed; whether all was well. Raises ValueError where a name is unknown."""
    names = [name.strip() for name in faults.split(",") if name.strip()]
    if unknown := set(names) - set(FAULTS):
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    rounds: list[Round] = []
    async with servers_in(home) as stack:
        for number in seeds(seed):
            found, run = await run_seed(stack, plan(number, events, names), _teller(talk))
            rounds += found
            for difference in run.differences[:_SHOWN]:
                talk.print(f"  [red]{difference}[/]", soft_wrap=True)
    Console().print(table(rounds))
    if json:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(as_json(rounds))) + b"\n")
    return all(one.good for one in rounds)


def _teller(talk: Console) -> Any:
    return lambda text: talk.print(text, soft_wrap=True)


def summed(rounds: Iterable[Round]) -> list[dict[str, Any]]:
    """Rounds by fault: times, events, lost, doubled, and the recovery's median and longest."""
    by_fault: dict[str, list[Round]] = defaultdict(list)
    for one in rounds:
        by_fault["mixed" if " + " in one.fault else one.fault].append(one)
    return [
        {
            "fault": fault,
            "times": sum(one.times for one in found),
            "events": sum(one.events for one in found),
            "lost": sum(one.lost for one in found),
            "doubled": sum(one.doubled for one in found),
            "different": sum(one.different for one in found),
            "recovery time": round(median(one.recovery_seconds for one in found), 1),
            "longest": round(max(one.recovery_seconds for one in found), 1),
        }
        for fault, found in by_fault.items()
    ]


def table(rounds: Sequence[Round]) -> Table:
    """What a person reads at the end."""
    found = Table(title="Chaos: what was done, and what is missing or too much afterwards")
    for column in ("fault", "times", "events", "lost", "doubled", "different", "recovery time"):
        found.add_column(column, justify="left" if column == "fault" else "right")
    found.add_column("longest", justify="right")
    for row in summed(rounds):
        seconds = (f"{row[name]} s" for name in ("recovery time", "longest"))
        counts = (f"{row[name]:,}" for name in ("times", "events", "lost", "doubled", "different"))
        found.add_row(row["fault"], *counts, *seconds)
    return found


def as_json(rounds: Sequence[Round]) -> dict[str, Any]:
    """The table, every round of it, and where it was run."""
    return {
        "faults": summed(rounds),
        "rounds": [one._asdict() for one in rounds],
        "machine": machine(),
    }
