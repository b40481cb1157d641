"""How events travel: some overtake others, some come late, some twice, and a few lie.

Whatever the disorder, it is seeded, and what was done on purpose is counted.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

_NEAR = 400
"""Within so many others an event may be overtaken."""
_LATE = (1_000, 20_000)
_AGAIN = (1, 5_000)

Sending = Mapping[str, Any]


class Disorder(NamedTuple):
    """Shares of all events, from 0 to 1."""

    shuffle: float = 0.2
    late: float = 0.05
    duplicates: float = 0.03
    contradictions: float = 0.01
    """Of completed orders: those whose id comes again with another content."""


IN_ORDER = Disorder(0, 0, 0, 0)


class Traffic(NamedTuple):
    """Events in the order in which they are sent, and what was done to them."""

    events: Sequence[Sending]
    moved: int
    late: int
    duplicates: int
    contradictions: Sequence[str]
    """The ids that come a second time with another content, once each."""


def disordered(events: Sequence[Sending], disorder: Disorder, seed: int) -> Traffic:
    """Events as they would arrive. A contradiction always comes after what it contradicts, and
    repeats come soon enough to be known as such."""
    rng = Random(f"traffic {seed}")
    queue: list[tuple[float, int, Sending]] = []
    counts = dict.fromkeys(("moved", "late", "duplicates"), 0)
    lies: list[str] = []
    for number, event in enumerate(events):
        place = float(number)
        if rng.random() < disorder.late:
            place += rng.uniform(*_LATE)
            counts["late"] += 1
        elif rng.random() < disorder.shuffle:
            place += rng.uniform(0, _NEAR)
            counts["moved"] += 1
        queue.append((place, len(queue), event))
        if event["type"] == "OrderCompleted" and rng.random() < disorder.contradictions:
            queue.append((place + rng.uniform(*_AGAIN), len(queue), contradiction(event)))
            lies.append(event["id"])
        elif rng.random() < disorder.duplicates:
            queue.append((place + rng.uniform(*_AGAIN), len(queue), event))
            counts["duplicates"] += 1
    queue.sort(key=lambda sending: sending[:2])
    return Traffic([event for _, _, event in queue], **counts, contradictions=lies)


def contradiction(order: Sending) -> Sending:
    """The same id, and another story: everything at ten times the quantity."""
    data = order["data"]
    lines = [line | {"quantity": line["quantity"] * 10} for line in data["products"]]
    return {**order, "data": data | {"products": lines}}
