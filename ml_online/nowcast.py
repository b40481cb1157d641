"""What a month comes to that is not over yet: what was sold on its closed days, and the rest."""

from typing import NamedTuple

import numpy as np

from ml_online.month_model import Array


class Rest(NamedTuple):
    """What is expected of the days that are left: a value, and quantiles in rising order."""

    point: float
    quantiles: Array


def nowcast(month_so_far: float, expected_rest: Rest) -> Rest:
    """The whole month. Of its closed days all is known: only the rest is uncertain."""
    return Rest(month_so_far + expected_rest.point, month_so_far + expected_rest.quantiles)


def expected_rest(month_so_far: float, closed: int, days: int, foretold: Rest) -> Rest:
    """What is expected of the `days - closed` that are left, from what was `foretold` of the whole
    month before it began and from the pace of its closed days, which counts for more the more of
    them there are. Days differ by themselves: the deviation goes with the root of their number.

    Raises ValueError where not 0 <= closed <= days.
    """
    if not 0 <= closed <= days or not days:
        raise ValueError(f"{closed} of {days} days")
    left = 1 - closed / days
    pace = month_so_far / closed * days if closed else 0.0
    point = left * (left * foretold.point + (1 - left) * pace)
    quantiles = point + np.sqrt(left) * (foretold.quantiles - foretold.point)
    if foretold.quantiles[0] >= 0:  # of what is never below zero
        point, quantiles = max(0.0, point), np.maximum(quantiles, 0)
    return Rest(point, quantiles if left else np.full_like(quantiles, point))
