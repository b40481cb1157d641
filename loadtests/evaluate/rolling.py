"""Origins that roll over a past: at each a model has seen the days up to it, and foretells more.

What is known beforehand (promotions, prices, holidays) is given for the days ahead, as the file has
it. Of the values nothing after an origin is seen.
"""

from collections.abc import Callable, Sequence
from time import process_time
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from loadtests.evaluate.frame import Frame
from loadtests.evaluate.sheet import BadTable
from ml_online.accuracy import Array
from ml_online.daily import HORIZON, QUANTILES, SEASON, DailyForecaster, Forecasts

SHORTEST_PAST = 4 * SEASON
"""Days before the first origin, at the least: of fewer there is no scale worth the name."""


class Origins(NamedTuple):
    """Where forecasts are asked for. `at` are days of the frame: the last that was seen."""

    at: Sequence[int]
    horizon: int


class Run(NamedTuple):
    """What a model foretold: point [origin, series, day ahead], quantiles [..., level]."""

    point: Array
    quantiles: Array
    seconds_per_update: float
    """Of CPU, for each series and day that was learned; of a peer, for each series and refit."""
    unanswered: int = 0
    """Series and origins that it had no forecast of its own for."""


class Tick(Protocol):
    """Told how much more is done, in parts of one run."""

    def __call__(self, share: float, /) -> None: ...


Peer = Callable[[Frame, int, int, NDArray[np.bool_], Tick], tuple[Forecasts, int]]
"""Frame, origin, horizon, series that are judged -> forecasts of all series, how many are not its
own. Only the values up to the origin may be looked at."""


def origins_of(
    days: int,
    horizon: int,
    count: int,
    step: int,
    shortest: int = SHORTEST_PAST,
    unit: str = "days",
) -> Origins:
    """The last `count` origins, `step` days apart, that have `horizon` days after them.

    Raises BadTable where there are not enough days.
    """
    first = days - 1 - horizon - (count - 1) * step
    if first + 1 < shortest:
        room = (days - shortest - horizon) // step + 1
        hint = f"--origins {room} would do" if room > 0 else "a longer past is needed"
        raise BadTable(
            f"{days:,} {unit} are too few for {count} origins, {step} {unit} apart, of {horizon}"
            f" {unit} each, after {shortest} to learn from: {hint}"
        )
    return Origins([first + number * step for number in range(count)], horizon)


def plan(frame: Frame, day: int) -> Array | None:
    """Known inputs of the days after one [series, HORIZON, input]; None where there are none.

    Beyond the end of the file they are those of the same weekday of its last week.
    """
    if not frame.inputs:
        return None
    days = day + 1 + np.arange(HORIZON)
    beyond = np.maximum(days - frame.days + 1, 0)
    days = np.maximum(days - -(-beyond // SEASON) * SEASON, 0)
    return frame.known[:, days]


def actual(frame: Frame, origins: Origins) -> Array:
    """What was, as the forecasts are laid out [origin, series, day ahead].

    NaN where it is not known, and where a series had not begun at the origin: nobody can foretell
    what nobody knows of.
    """
    found = []
    for origin in origins.at:
        ahead = frame.values[:, origin + 1 : origin + 1 + origins.horizon].copy()
        ahead[np.isnan(frame.values[:, : origin + 1]).all(axis=1)] = np.nan
        found.append(ahead)
    return np.stack(found)


def learned(frame: Frame, origins: Origins, tick: Tick) -> Run:
    """The served model: every day is closed, one after the other, and each origin asked."""
    model = DailyForecaster(frame.inputs)
    model.rows(frame.keys)
    found: list[Forecasts] = []
    seconds, days = 0.0, origins.at[-1] + 1
    for day in range(days):
        ahead = plan(frame, day)
        known = frame.known[:, day].copy() if frame.inputs else None
        values = frame.values[:, day].copy()
        start = process_time()
        model.close(frame.first + day, values, known, ahead)
        seconds += process_time() - start
        if day in origins.at:
            found.append(model.forecast(origins.horizon, ahead))
        tick(1 / days)
    return _run(found, seconds / (len(frame.keys) * days), frame, origins)


def refitted(frame: Frame, origins: Origins, peer: Peer, tick: Tick) -> Run:
    """A peer, which is fitted anew at each origin."""
    judged = np.asarray(~np.isnan(actual(frame, origins)).all(axis=2), dtype=np.bool_)
    found, borrowed, start = [], 0, process_time()
    for number, origin in enumerate(origins.at):
        seen = frame._replace(values=frame.values.copy())
        seen.values[:, origin + 1 :] = np.nan
        forecasts, others = peer(
            seen, origin, origins.horizon, judged[number], lambda share: tick(share / len(judged))
        )
        found.append(forecasts)
        borrowed += others
    seconds = (process_time() - start) / max(int(judged.sum()), 1)
    return _run(found, seconds, frame, origins, borrowed)


def _run(
    found: Sequence[Forecasts], seconds: float, frame: Frame, origins: Origins, borrowed: int = 0
) -> Run:
    """All origins in one. What a model has no answer for counts as a forecast of nothing."""
    point = np.stack([one.point for one in found])
    quantiles = np.stack([one.quantiles for one in found])
    expected = (len(origins.at), len(frame.keys), origins.horizon, len(QUANTILES))
    assert point.shape == expected[:3], point.shape
    assert quantiles.shape == expected, quantiles.shape
    judged = ~np.isnan(actual(frame, origins))
    silent = int((np.isnan(point) & judged).any(axis=2).sum())
    return Run(np.nan_to_num(point), np.nan_to_num(quantiles), seconds, borrowed + silent)
