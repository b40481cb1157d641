"""`tillstream chaos`, past its options."""

import logging
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from loadtests.bench.__main__ import machine
from loadtests.chaos.endurance import Table as Measured
from loadtests.chaos.endurance import recovery, sharing, soak
from loadtests.chaos.faults import FAULTS
from loadtests.chaos.losses import LOSSES, refused
from loadtests.chaos.planted import PLANTED
from loadtests.chaos.run import Round, plan, run_seed, seeds
from loadtests.chaos.served import Difference
from loadtests.chaos.site import servers_in

_SHOWN = 20
_FILE_WIDTH = 120
_PLANTED_EVENTS = 1_500
_PLANTED_PATIENCE = 20.0

# Its clients say so each time that Kafka is not there, which here is on purpose.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


async def chaos(
    home: Path, talk: Console, events: int, seed: str, faults: str, json: Path | None
) -> bool:
    """Runs every seed; whether all was well. Raises ValueError where a name is unknown."""
    names = [name.strip() for name in faults.split(",") if name.strip()]
    known = [*FAULTS, *LOSSES]
    if unknown := {one for name in names for one in name.split("+")} - set(known):
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    losses = [name for name in LOSSES if name in names or not names]
    names = [name for name in names if name not in LOSSES]
    rounds: list[Round] = []
    async with servers_in(home) as stack:
        for number in seeds(seed):
            if names or not faults:
                of_seed = plan(number, events, names)
                found, differences = await run_seed(stack, of_seed, _teller(talk))
                rounds += found
                for difference in differences[:_SHOWN]:
                    talk.print(f"  [red]{difference}[/]", soft_wrap=True)
            rounds += await refused(stack, number, losses, _teller(talk))
            if json:  # after each seed: a long run may be cut short
                json.write_bytes(msgspec.json.format(msgspec.json.encode(as_json(rounds))) + b"\n")
    _wide().print(table(rounds))
    return all(one.good for one in rounds)


class Caught(NamedTuple):
    """What became of a planted bug."""

    bug: str
    fault: str
    caught: bool
    lost: int
    doubled: int
    different: int
    evidence: str


async def planted(home: Path, talk: Console, seed: int, bugs: str, json: Path | None) -> bool:
    """Runs workers with a bug each; whether every one of them was caught. Raises ValueError."""
    names = [name.strip() for name in bugs.split(",") if name.strip()] or list(PLANTED)
    if unknown := set(names) - set(PLANTED):
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(PLANTED)}")
    found: list[Caught] = []
    async with servers_in(home) as stack:
        for number, name in enumerate(names):
            rounds, differences = await run_seed(
                stack,
                plan(seed, _PLANTED_EVENTS, PLANTED[name].faults),
                lambda _: None,
                name=f"planted{number}",
                patience=_PLANTED_PATIENCE,
                command=(sys.executable, "-m", "loadtests.chaos.planted", name),
            )
            found.append(_caught(name, rounds, differences))
            mark = "[green]caught[/]" if found[-1].caught else "[red]NOT caught[/]"
            talk.print(f"{mark} {name}: {found[-1].evidence}", soft_wrap=True)
    _wide().print(_bug_table(found))
    if json:
        rows = {"planted": [one._asdict() for one in found], "machine": machine()}
        json.write_bytes(msgspec.json.format(msgspec.json.encode(rows)) + b"\n")
    return all(one.caught for one in found)


def _caught(name: str, rounds: Sequence[Round], differences: Sequence[Difference]) -> Caught:
    trouble = [one.trouble for one in rounds if one.trouble]
    return Caught(
        name,
        ", ".join(PLANTED[name].faults),
        bool(differences),
        max(one.lost for one in rounds),
        max(one.doubled for one in rounds),
        len(differences),
        str(differences[0])[:200] if differences else "; ".join(trouble),
    )


async def endurance(
    home: Path, talk: Console, minutes: float, kills: int, rate: float, events: int
) -> bool:
    """Recovery and sharing where there are kills, a soak where there are minutes."""
    tell = _teller(talk)
    tables: list[Measured] = []
    async with servers_in(home) as stack:
        if kills:
            tables += await recovery(stack, kills, rate, tell)
            tables += await sharing(stack, events, tell)
        if minutes:
            tables += await soak(stack, minutes, rate, tell)
    for measured in tables:
        shown = Table(*measured.columns, title=measured.title)
        for row in measured.rows:
            shown.add_row(*row)
        _wide().print(shown)
    return True


def _bug_table(found: Sequence[Caught]) -> Table:
    shown = Table(title="Planted bugs")
    for column in ("bug", "fault", "caught", "lost", "doubled", "different"):
        shown.add_column(column)
    for one in found:
        counts = (f"{count:,}" for count in (one.lost, one.doubled, one.different))
        shown.add_row(one.bug, one.fault, "yes" if one.caught else "NO", *counts)
    return shown


def _wide() -> Console:
    """Where tables go: into a file they are as wide as they need."""
    return Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)


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
