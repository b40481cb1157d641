"""Who else is asked: the seasonal naive, and what is installed of StatsForecast and LightGBM."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from loadtests.evaluate.frame import Frame
from loadtests.evaluate.rolling import Peer, Tick
from ml_online.accuracy import Array
from ml_online.daily import QUANTILES, SEASON, Forecasts

NEEDS: Mapping[str, str] = {
    "auto_ets": "statsforecast",
    "auto_theta": "statsforecast",
    "lightgbm": "lightgbm",
}
"""The package that a peer is made by."""
_RESIDUAL_SEASONS = 52


def installed() -> list[str]:
    """The peers that can be asked here."""
    return ["seasonal_naive", *(name for name, package in NEEDS.items() if find_spec(package))]


def peer_of(name: str, season: int = SEASON) -> Peer:
    """A peer by its name. Raises ImportError where its package is not installed."""
    if name == "seasonal_naive":
        return partial(seasonal_naive, season=season)
    if name == "lightgbm":
        from loadtests.evaluate.gradient_boosting import lightgbm

        return lightgbm
    return statistical(name, season)


def whole(values: Array, season: int = SEASON) -> Array:
    """Series [series, day] without gaps: a day takes what was a season before it, else the mean.

    NaN where a series has no known day at all.
    """
    filled = values.copy()
    for day in range(season, filled.shape[1]):
        gap = np.isnan(filled[:, day])
        filled[gap, day] = filled[gap, day - season]
    some = ~np.isnan(values).all(axis=1)
    mean = np.full(len(values), np.nan)
    mean[some] = np.nanmean(values[some], axis=1)
    return np.where(np.isnan(filled), mean[:, None], filled)


def seasonal_naive(
    frame: Frame,
    origin: int,
    horizon: int,
    _judged: NDArray[np.bool_],
    tick: Tick,
    season: int = SEASON,
) -> tuple[Forecasts, int]:
    """The last season again; its intervals are quantiles of each series' own errors of it, by
    season ahead, over the last 52. Where it has none so far ahead, those of the season before."""
    seen = frame.values[:, : origin + 1]
    if seen.shape[1] < season:
        seen = np.hstack([np.full((len(seen), season), np.nan), seen])
    filled = whole(seen, season)
    seasons = np.arange(horizon) // season
    point = filled[:, -season:][:, np.arange(horizon) % season]
    spread = np.zeros((len(seen), int(seasons[-1]) + 1, len(QUANTILES)))
    for number in range(spread.shape[1]):
        back = season * (number + 1)
        errors = (seen[:, back:] - seen[:, :-back])[:, -_RESIDUAL_SEASONS * season :]
        some = ~np.isnan(errors).all(axis=1)
        if number:
            spread[:, number] = spread[:, number - 1]
        if some.any():
            spread[some, number] = np.nanquantile(errors[some], QUANTILES, axis=1).T
    quantiles = point[..., None] + spread[:, seasons]
    tick(1.0)
    return _above_zero(Forecasts(point, quantiles), seen), 0


def _above_zero(forecasts: Forecasts, seen: Array) -> Forecasts:
    """No less than nothing, for whoever never had less: as ours are."""
    low = np.nanmin(np.where(np.isnan(seen), np.inf, seen), axis=1)
    floor = np.where(low >= 0, 0.0, -np.inf)
    return Forecasts(
        np.maximum(forecasts.point, floor[:, None]),
        np.maximum(forecasts.quantiles, floor[:, None, None]),
    )


def statistical(name: str, season: int = SEASON) -> Peer:
    """StatsForecast's AutoETS or AutoTheta, fitted to each series by itself.

    They know nothing of known inputs. Where one fails, or has less than two seasons to go by, the
    seasonal naive answers, and that is counted.
    """
    from statsforecast.models import AutoETS, AutoTheta

    make: Callable[..., object] = {"auto_ets": AutoETS, "auto_theta": AutoTheta}[name]

    def answer(
        frame: Frame, origin: int, horizon: int, judged: NDArray[np.bool_], tick: Tick
    ) -> tuple[Forecasts, int]:
        naive, _ = seasonal_naive(frame, origin, horizon, judged, lambda _: None, season)
        seen = frame.values[:, : origin + 1]
        filled, borrowed = whole(seen, season), 0
        for row in np.flatnonzero(judged):
            begin = int((~np.isnan(seen[row])).argmax())
            history = filled[row, begin:]
            found = None
            if len(history) >= 2 * season:
                found = _forecast(make(season_length=season), history, horizon)
            if found is None:
                borrowed += 1
            else:
                naive.point[row], naive.quantiles[row] = found
            tick(1 / len(seen))
        return _above_zero(naive, seen), borrowed

    return answer


def _forecast(model: object, history: Array, horizon: int) -> tuple[Array, Array] | None:
    """Mean and quantiles; None where the model cannot say."""
    levels = [50, 80, 95]
    try:
        found = model.forecast(y=history, h=horizon, level=levels)  # type: ignore[attr-defined]
    except Exception:  # whatever a fit fails with
        return None
    ends = [found[f"lo-{level}"] for level in reversed(levels)]
    ends += [found["mean"], *(found[f"hi-{level}"] for level in levels)]
    quantiles = np.stack([np.asarray(one, dtype=np.float64) for one in ends], axis=1)
    point = np.asarray(found["mean"], dtype=np.float64)
    if not (np.isfinite(point).all() and np.isfinite(quantiles).all()):
        return None
    return point, np.sort(quantiles, axis=1)
