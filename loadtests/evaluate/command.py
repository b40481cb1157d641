"""A whole evaluation: the models one after the other, and what they come to."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import rich.progress
from rich.console import Console

from loadtests.evaluate import months, peers, rolling
from loadtests.evaluate.frame import Frame
from loadtests.evaluate.judging import figures, judge_of
from loadtests.evaluate.rolling import Origins, Run, Tick
from loadtests.evaluate.sheet import BadTable
from ml_online.daily import HORIZON, SEASON

OURS = "tillstream"
SEED = 20_111_209


class Settings(NamedTuple):
    """How it is evaluated. Without `peers`, all that are installed are asked."""

    horizon: int
    origins: int
    step: int
    peers: Sequence[str] | None = None
    monthly: bool = False
    seed: int = SEED

    @property
    def unit(self) -> str:
        """What the horizon is told in."""
        return "months" if self.monthly else "days"

    @property
    def asked(self) -> list[str]:
        """The peers; no gradient boosting on some months."""
        there = peers.installed() if self.peers is None else self.peers
        return [name for name in there if not (self.monthly and name == "lightgbm")]


def evaluate(frame: Frame, settings: Settings, talk: Console) -> tuple[dict[str, Any], bool]:
    """All figures as they are written, and whether Ctrl-C cut them short. Raises BadTable."""
    season, shortest, longest = SEASON, rolling.SHORTEST_PAST, HORIZON
    if settings.monthly:
        frame = months.by_month(frame)
        season, shortest, longest = months.SEASON, months.SHORTEST_PAST, months.HORIZON
    if not 1 <= settings.horizon <= longest:
        raise BadTable(f"--horizon {settings.horizon}: it is 1 to {longest} {settings.unit}")
    origins = rolling.origins_of(
        frame.days, settings.horizon, settings.origins, settings.step, shortest, settings.unit
    )
    judge = judge_of(frame, origins, season)
    asked = [OURS, *settings.asked]
    found: dict[str, Any] = {"settings": _settings(frame, settings, origins, judge.unscaled)}
    models: dict[str, Any] = {}
    found["models"] = models
    for name in asked:
        try:
            with bar(name, talk) as tick:
                run = _run(name, frame, origins, tick, season)
        except KeyboardInterrupt:
            found["settings"]["left_out"] = asked[len(models) :]
            return found, True
        models[name] = figures(run, judge, settings.seed)
    return found, False


def _run(name: str, frame: Frame, origins: Origins, tick: Tick, season: int) -> Run:
    if name != OURS:
        return rolling.refitted(frame, origins, peers.peer_of(name, season), tick)
    if isinstance(frame, months.Months):
        return rolling.refitted(frame, origins, months.tillstream, tick)
    return rolling.learned(frame, origins, tick)


def _settings(frame: Frame, settings: Settings, origins: Origins, unscaled: int) -> dict[str, Any]:
    """What stands beside the figures, so that they can be had again."""
    return {
        "horizon": settings.horizon,
        "step": settings.step,
        "origins": [frame.day(day).isoformat() for day in origins.at],
        "first_day": frame.day(0).isoformat(),
        "last_day": frame.day(frame.days - 1).isoformat(),
        "series": len(frame.keys),
        "series_without_scale": unscaled,
        "inputs": frame.inputs,
        "season": months.SEASON if settings.monthly else SEASON,
        "unit": settings.unit,
        "seed": settings.seed,
        "packages": {
            package: version(package)
            for package in sorted({"numpy", "river", *_packages(settings.asked)})
        },
        "left_out": [],
    }


def _packages(asked: Sequence[str]) -> Iterator[str]:
    return (peers.NEEDS[name] for name in asked if name in peers.NEEDS)


def write(found: dict[str, Any], file: Path) -> None:
    """As JSON, over what is there."""
    file.write_text(json.dumps(found, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


@contextmanager
def bar(name: str, talk: Console) -> Iterator[Callable[[float], None]]:
    """A bar that is filled by what is told it."""
    with rich.progress.Progress(
        console=talk, transient=True, disable=not talk.is_terminal
    ) as progress:
        task = progress.add_task(name, total=1.0)
        yield lambda share: progress.advance(task, share)
