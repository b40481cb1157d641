"""Scores of any window, recounted from all that was said and came, as a textbook has them."""

import math
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ml_online.daily import Array
from ml_online.daily_intervals import QUANTILES
from ml_online.daily_scores import BUCKETS, DAYS, HORIZONS, DailyScores, Score

FIRST = 700_000


class Said(NamedTuple):
    """Of one day, by one model."""

    day: int
    model: str
    horizons: list[int]
    actual: Array
    point: Array
    scale: Array
    quantiles: Array | None


def said(seed: int, days: int, series: int = 3) -> list[Said]:
    """Two models, of which the second has no quantiles; here and there nothing is known."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(days):
        actual = random.uniform(0, 100, series)
        actual[random.random(series) < 0.1] = np.nan
        horizons = [h for h in HORIZONS if h <= number + 1]
        for model in ("ours", "naive"):
            point = random.uniform(0, 100, (len(horizons), series))
            point[random.random(point.shape) < 0.1] = np.nan
            scale = random.choice([0.0, 5.0, 20.0], point.shape)
            spread = random.uniform(0, 40, point.shape)
            quantiles = point[..., None] + spread[..., None] * (np.array(QUANTILES) - 0.5)
            told = quantiles if model == "ours" else None
            found.append(Said(FIRST + number, model, horizons, actual, point, scale, told))
    return found


def added(everything: list[Said]) -> DailyScores:
    scores = DailyScores()
    for one in everything:
        scores.add(*one)
    return scores


def recounted(
    everything: list[Said], model: str, days: range, ahead: range, only: int | None = None
) -> Score:
    pairs = []
    known: dict[int, list[float]] = {}
    for one in everything:
        means = {row: sum(values) / len(values) for row, values in known.items()}
        for row, actual in enumerate(one.actual):
            for at, horizon in enumerate(one.horizons):
                point = one.point[at, row]
                wanted = one.day in days and horizon in ahead and only in (None, row)
                if one.model == model and wanted and not math.isnan(point + actual):
                    told = None if one.quantiles is None else one.quantiles[at, row]
                    pairs.append((actual, point, one.scale[at, row], told, means.get(row)))
        if one.model == "naive":
            for row, actual in enumerate(one.actual):
                if not math.isnan(actual):
                    known.setdefault(row, []).append(actual)
    errors = [point - actual for actual, point, *_ in pairs]
    scaled = [(point - actual) / scale for actual, point, scale, *_ in pairs if scale]
    about = [(p - a, a - mean) for a, p, _, _, mean in pairs if mean is not None]
    told = [(a, quantiles) for a, _, _, quantiles, _ in pairs if quantiles is not None]
    losses = [
        max(level * (a - q), (level - 1) * (a - q))
        for a, quantiles in told
        for level, q in zip(QUANTILES, quantiles, strict=True)
    ]
    within = {"50": (2, 4), "80": (1, 5), "95": (0, 6)}
    return Score(
        pairs=len(pairs),
        mae=sum(map(abs, errors)) / len(errors),
        rmse=math.sqrt(sum(e * e for e in errors) / len(errors)),
        r2=1 - sum(e * e for e, _ in about) / sum(d * d for _, d in about) if about else None,
        wape=sum(map(abs, errors)) / sum(abs(a) for a, *_ in pairs),
        mase=sum(map(abs, scaled)) / len(scaled),
        rmsse=math.sqrt(sum(s * s for s in scaled) / len(scaled)),
        crps=2 * sum(losses) / len(losses) if told else None,
        coverage={
            name: sum(q[low] <= a <= q[high] for a, q in told) / len(told)
            for name, (low, high) in within.items()
        }
        if told
        else None,
    )


def same(one: Score, other: Score) -> None:
    for name in Score.__struct_fields__:
        mine, its = getattr(one, name), getattr(other, name)
        assert mine == (its if its is None else pytest.approx(its, rel=1e-9)), name


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), begin=st.integers(0, 50), length=st.integers(4, 60))
def test_any_window_is_what_was_said_and_came_in_it(seed: int, begin: int, length: int) -> None:
    everything = said(seed, 60)
    scores = added(everything)
    first, last = FIRST + begin, min(FIRST + begin + length, FIRST + 59)
    days, ahead = range(first, last + 1), range(1, 46)
    for model in ("ours", "naive"):
        same(scores.window(first, last)[model], recounted(everything, model, days, ahead))
        for low, high, found in scores.by_bucket(first, last):
            if found[model].pairs > 3:
                of_bucket = recounted(everything, model, days, range(low, high + 1))
                same(found[model], of_bucket)
    whole = range(FIRST, FIRST + 60)
    same(scores.of_series(1)["ours"], recounted(everything, "ours", whole, ahead, only=1))


def test_parts_of_a_window_are_as_many_pairs_as_the_window() -> None:
    scores = added(said(3, 60))
    first, last = FIRST + 10, FIRST + 40
    pairs = scores.window(first, last)["ours"].pairs
    assert pairs > 100
    for parts in (
        scores.by_bucket(first, last),
        scores.by_horizon(first, last),
        scores.by_day(first, last),
    ):
        assert sum(part.scores["ours"].pairs for part in parts) == pairs
    assert [part[:2] for part in scores.by_bucket()] == list(BUCKETS)
    assert [part.first for part in scores.by_day(first, last)] == list(range(first, last + 1))


def test_old_days_stay_in_what_is_told_of_all_days_and_memory_is_bounded() -> None:
    everything = [
        one._replace(horizons=[1], point=one.point[:1], scale=one.scale[:1], quantiles=None)
        for one in said(5, DAYS + 170, series=2)
    ]
    scores = added(everything)
    ours = sum(
        np.sum(~np.isnan(one.point + one.actual)) for one in everything if one.model == "ours"
    )
    assert scores.window()["ours"].pairs == ours
    kept = scores.by_day()
    assert DAYS <= len(kept) <= DAYS + 50
    assert kept[-1].last == scores.last == FIRST + DAYS + 169
    assert scores.window(scores.first)["ours"].pairs < ours
    size = len(msgspec.json.encode(list(scores.state())))
    for one in everything[-2:]:
        for later in range(1, 200):
            scores.add(*one._replace(day=one.day + later))
    assert len(msgspec.json.encode(list(scores.state()))) < 1.2 * size


def test_what_is_taken_back_leaves_what_would_have_been() -> None:
    everything = said(8, 30)
    scores = added(everything)
    wrong = everything[-6]
    right = wrong._replace(actual=wrong.actual + 7)
    scores.add(*wrong, sign=-1)
    scores.add(*right)
    expected = added([*everything[:-6], right, *everything[-5:]])
    found, wanted = (one.window()[wrong.model] for one in (scores, expected))
    # What R² compares with is the mean of all that is known by now.
    same(replace(found, r2=None), replace(wanted, r2=None))


@settings(max_examples=10, deadline=None)
@given(kills=st.sets(st.integers(0, 60)))
def test_killed_anywhere_and_going_on_gives_the_same_bits(kills: set[int]) -> None:
    everything = said(2, 30)
    scores = DailyScores()
    for number, one in enumerate(everything):
        if number in kills:
            state = msgspec.json.decode(msgspec.json.encode(list(scores.state())))
            scores = DailyScores()
            scores.restore(state)
        scores.add(*one)
    assert list(scores.state()) == list(added(everything).state())


def test_errors_are_those_of_the_first_model_a_day_ahead() -> None:
    everything = said(4, 12)
    scores = added(everything)
    one = everything[-2]
    scale = np.where(one.scale[0] > 0, one.scale[0], np.nan)
    expected = (one.actual - one.point[0]) / scale
    np.testing.assert_allclose(scores.errors, expected)


def test_a_forecast_without_skill_has_an_r2_of_nothing() -> None:
    """The mean of what is known, where series differ a hundredfold: it explains nothing."""
    random = np.random.default_rng(1)
    levels = np.array([1.0, 100.0])
    scores, sums = DailyScores(), np.zeros(2)
    for number in range(300):
        actual = levels * random.uniform(0.5, 1.5, 2)
        if number:
            point = (sums / number)[None]
            scores.add(FIRST + number, "ours", [1], actual, point, np.ones((1, 2)))
        sums += actual
    found = scores.window()["ours"].r2
    assert found is not None
    assert abs(found) < 0.02
