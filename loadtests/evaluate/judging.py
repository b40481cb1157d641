"""What the forecasts of a run are worth, in the figures that are reported."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from loadtests.evaluate.frame import Frame
from loadtests.evaluate.rolling import Origins, Run, actual
from ml_online import accuracy
from ml_online.accuracy import Array
from ml_online.daily import QUANTILES, SEASON

_ENDS = {50: (2, 4), 80: (1, 5), 95: (0, 6)}
"""Which of QUANTILES the ends of an interval are, by its level in percent."""


class Judge(NamedTuple):
    """What runs are held against. Scales are of the period up to the first origin, by series."""

    actual: Array
    scale: Array
    squared_scale: Array
    total_scale: float
    season: int = SEASON

    @property
    def unscaled(self) -> int:
        """Judged series that have no scale: they did not change from week to week before."""
        judged = ~np.isnan(self.actual).all(axis=(0, 2))
        return int((judged & ~(self.scale > 0)).sum())


def judge_of(frame: Frame, origins: Origins, season: int = SEASON) -> Judge:
    """Held against what was, in units of the seasonal naive's error before the first origin."""
    past = frame.values[:, : origins.at[0] + 1]
    total = accuracy.seasonal_error(np.nansum(past, axis=0)[None], season)
    return Judge(
        actual(frame, origins),
        accuracy.seasonal_error(past, season),
        accuracy.seasonal_error(past, season, power=2),
        float(total[0]),
        season,
    )


def figures(run: Run, judge: Judge, seed: int) -> dict[str, Any]:
    """Every figure of a run; None where it cannot be told."""
    was, point = _by_series(judge.actual), _by_series(run.point)
    each = accuracy.mase(was, point, judge.scale)
    low, high = accuracy.bootstrap_mean(each, seed=seed)
    quantiles = np.stack(
        [_by_series(run.quantiles[..., number]) for number in range(len(QUANTILES))], axis=-1
    )
    found: dict[str, Any] = {
        "mase": _mean(each),
        "mase_low": low,
        "mase_high": high,
        "rmsse": _mean(accuracy.rmsse(was, point, judge.squared_scale)),
        "wape": accuracy.wape(was, point),
        "r2": accuracy.r_squared(was, point, judge.scale),
        "total_mase": _total(run, judge),
        "crps": _mean(accuracy.scaled(accuracy.crps(was, quantiles, QUANTILES), judge.scale)),
    }
    for level, (bottom, top) in _ENDS.items():
        ends = quantiles[..., bottom], quantiles[..., top]
        score = accuracy.interval_score(was, *ends, level / 100)
        width = np.where(np.isnan(was), np.nan, ends[1] - ends[0])
        found[f"coverage_{level}"] = accuracy.coverage(was, *ends)
        found[f"width_{level}"] = _mean(accuracy.scaled(width, judge.scale))
        found[f"interval_score_{level}"] = _mean(accuracy.scaled(score, judge.scale))
    found["seconds_per_update"] = run.seconds_per_update
    found["unanswered"] = run.unanswered
    pairs = zip(judge.actual, run.point, strict=True)
    found["by_origin"] = [_mean(accuracy.mase(*pair, judge.scale)) for pair in pairs]
    found["by_week" if judge.season == SEASON else "by_year"] = [
        _mean(accuracy.mase(_by_series(judge.actual[..., week]), _by_series(run.point[..., week]),
                            judge.scale))
        for week in _seasons(run.point.shape[2], judge.season)
    ]  # fmt: skip
    return {name: _told(value) for name, value in found.items()}


def _by_series(values: Array) -> Array:
    """[origin, series, day ahead] as [series, pair]."""
    return np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)


def _seasons(horizon: int, season: int) -> Sequence[slice]:
    return [slice(first, first + season) for first in range(0, horizon, season)]


def _mean(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _total(run: Run, judge: Judge) -> float:
    """MASE of the sum of all series that are known of on a day."""
    known = ~np.isnan(judge.actual)
    was = np.where(known, judge.actual, 0).sum(axis=1)
    foretold = np.where(known, run.point, 0).sum(axis=1)
    missed = float(np.abs(was - foretold)[known.any(axis=1)].mean()) if known.any() else math.nan
    return missed / judge.total_scale if judge.total_scale else math.nan


def _told(value: Any) -> Any:
    """As JSON has it: no NaN."""
    if isinstance(value, list):
        return [_told(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
