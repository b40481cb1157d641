"""What there is in stock against what is sold: how long it lasts, how much of it goes, what does
not. Pure functions over units by key, a key being a product or a variant."""

from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

COVER_DAYS = 28  # full days of the shop


class Level(NamedTuple):
    """Units of one key in the house, and those of them that no order has."""

    product: str
    on_hand: int
    available: int


class Cover(NamedTuple):
    """How many days what is available lasts, at the mean of what was sold daily; None where nothing
    was. `units` are those of all the days together."""

    key: str
    level: Level
    units: int
    days: Fraction | None


class Share(NamedTuple):
    """Units sold of those that were sold or are there still; None where there are neither."""

    key: str
    on_hand: int
    units: int
    share: Fraction | None


def cover(
    levels: Mapping[str, Level], units: Mapping[str, int], days: int = COVER_DAYS
) -> list[Cover]:
    """For each level; what runs out first comes first, what is not sold last. Fewer than none are
    none."""
    found = [
        Cover(
            key,
            level,
            sold := units.get(key, 0),
            Fraction(max(0, level.available) * days, sold) if sold else None,
        )
        for key, level in levels.items()
    ]
    return sorted(found, key=lambda one: (one.days is None, one.days or 0, one.key))


def sell_through(levels: Mapping[str, Level], units: Mapping[str, int]) -> list[Share]:
    """For each key that is in stock or was sold; the greatest share first."""
    found = []
    for key in {*levels, *units}:
        on_hand = max(0, levels[key].on_hand) if key in levels else 0
        sold = units.get(key, 0)
        share = Fraction(sold, sold + on_hand) if sold + on_hand else None
        found.append(Share(key, on_hand, sold, share))
    return sorted(found, key=lambda one: (one.share is None, -(one.share or 0), one.key))


def slowest(levels: Mapping[str, Level], units: Mapping[str, int]) -> list[tuple[str, int, int]]:
    """Key, units sold and units in the house of all there is or ever was: what sold least first,
    and of that what there is most of."""
    found = [
        (key, units.get(key, 0), max(0, levels[key].on_hand) if key in levels else 0)
        for key in {*levels, *units}
    ]
    return sorted(found, key=lambda one: (one[1], -one[2], one[0]))
