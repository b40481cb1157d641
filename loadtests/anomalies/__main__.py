"""`python -m loadtests.anomalies`: false alarms and detections of the served detector, beside
River's half-space trees on the same residuals, with the threshold that gives as many false alarms.

A shop sells by hour of the day and of the week; its days are better or worse than that by a sixth,
its hours by a tenth. An incident begins at a random moment of a shop's open hours.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from river.anomaly import HalfSpaceTrees

from ml_online.metric_watch import LEAST_SLOTS, Metric
from ml_online.slot_rates import SCALES

_DAYS, _SLOTS = 90, 144
_SHOPS = 12
_AT = 70 * _SLOTS


class Incident(NamedTuple):
    name: str
    slots: int
    factor: float


INCIDENTS = (
    Incident("nothing for an hour", 6, 0.0),
    Incident("half for six hours", 36, 0.5),
    Incident("threefold for an hour", 6, 3.0),
)
VOLUMES = (2.0, 20.0, 200.0)  # an hour


class Shop(NamedTuple):
    """What is expected of each slot, and what came."""

    mean: np.ndarray
    came: np.ndarray


def shop(volume: float, seed: int) -> Shop:
    random = np.random.default_rng(seed)
    slots = np.arange(_DAYS * _SLOTS)
    hour = slots / 6 % 24
    day = 1 + 0.6 * np.cos((hour - 19) * math.pi / 12) * (1 + 0.2 * np.cos(hour * math.pi / 6))
    week = 1 + 0.2 * np.sin(slots / _SLOTS * 2 * math.pi / 7)
    days = np.repeat(random.lognormal(0, 0.16, _DAYS), _SLOTS)
    hours = np.repeat(random.lognormal(0, 0.1, _DAYS * 24), 6)
    mean = volume / 6 * np.clip(day, 0.05, None) * week * days * hours
    return Shop(mean, random.poisson(mean))


def hit(whole: Shop, incident: Incident, seed: int) -> np.ndarray:
    """The same shop, with an incident in its open hours."""
    random = np.random.default_rng(seed + 10_000)
    start = _AT + 11 * 6 + int(random.integers(0, 48))
    came = whole.came.copy()
    span = slice(start, start + incident.slots)
    came[span] = random.poisson(whole.mean[span] * incident.factor)
    return came


def served(came: Sequence[int]) -> list[int]:
    """The slots at which something was noticed."""
    metric = Metric()
    return [
        slot
        for slot, value in enumerate(came)
        if metric.close("orders", slot, slot // 6 % 168, 1.0, float(value), {})
    ]


class Trees:
    """Half-space trees on what is left of a slot, an hour and six hours, as shares of the usual."""

    def __init__(self) -> None:
        self._trees = HalfSpaceTrees(n_trees=25, height=8, window_size=1008, seed=1)
        self._watch = Metric()

    def scores(self, came: Sequence[int]) -> Iterator[float]:
        for slot, value in enumerate(came):
            self._watch.close("orders", slot, slot // 6 % 168, 1.0, float(value), {})
            sums = [self._watch._sum(scale) for scale in SCALES]
            left = {
                str(number): 1 / (1 + math.exp(-(value - usual.mean) / _scale(usual)))
                for number, (value, usual) in enumerate(sums)
            }
            yield self._trees.score_one(left)
            self._trees.learn_one(left)


def _scale(usual: tuple[float, float]) -> float:
    return 2 * math.sqrt(max(usual[0] * usual[1], 1.0))


def _quietly(at: Sequence[int]) -> int:
    """Alarms after the two weeks; those that follow within a day are one."""
    count, last = 0, -_SLOTS
    for slot in at:
        if slot >= LEAST_SLOTS and slot - last >= _SLOTS:
            count, last = count + 1, slot
    return count


def _of_trees(threshold: float) -> Callable[[Sequence[int]], list[int]]:
    def found(came: Sequence[int]) -> list[int]:
        scores = Trees().scores(came)
        return [slot for slot, score in enumerate(scores) if score > threshold]

    return found


def main() -> None:
    console = Console()
    table = Table(
        "orders an hour", "detector", "false alarms a month", *(i.name for i in INCIDENTS)
    )
    months = _SHOPS * (_DAYS - 14) / 30
    for volume in VOLUMES:
        shops = [shop(volume, seed) for seed in range(_SHOPS)]
        alarms = sum(_quietly(served(list(one.came))) for one in track(shops, console=console))
        scores = [list(Trees().scores(list(one.came))) for one in track(shops[:4], console=console)]
        flat = np.sort(np.concatenate([one[LEAST_SLOTS:] for one in scores]))
        # As many alarms as a month may have: one.
        threshold = float(flat[-max(2, int(len(scores) * (_DAYS - 14) / 30))])
        for name, detect, rate in (
            ("tillstream", served, alarms / months),
            ("half-space trees", _of_trees(threshold), float("nan")),
        ):
            seen = []
            some = shops if name == "tillstream" else shops[:4]
            for incident in INCIDENTS:
                delays = [_delay(detect, one, incident, n) for n, one in enumerate(some)]
                there = [delay for delay in delays if delay is not None]
                after = f", after {10 * float(np.median(there)):.0f} min" if there else ""
                seen.append(f"{len(there)}/{len(some)}{after}")
            table.add_row(f"{volume:g}", name, f"{rate:.2f}", *seen)
    console.print(table)


def _delay(
    detect: Callable[[Sequence[int]], list[int]], whole: Shop, incident: Incident, seed: int
) -> int | None:
    """How many slots after its beginning an incident was noticed; None if it was not."""
    came = hit(whole, incident, seed)
    start = int(np.flatnonzero(came != whole.came)[0])
    found = [slot for slot in detect(list(came[: start + incident.slots + 6])) if slot >= start]
    return found[0] - start + 1 if found else None


if __name__ == "__main__":
    main()
