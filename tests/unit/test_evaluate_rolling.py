"""Origins that roll: what is asked when, what may be seen, and what runs come to."""

from collections.abc import Sequence
from datetime import date
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from loadtests.evaluate import months, peers, rolling
from loadtests.evaluate.frame import Frame
from loadtests.evaluate.judging import figures, judge_of
from loadtests.evaluate.rolling import Origins, Run
from loadtests.evaluate.sheet import BadTable
from ml_online.accuracy import Array
from ml_online.daily import HORIZON, QUANTILES, DailyForecaster

FIRST = date(2024, 1, 1).toordinal()
NAN = np.nan


def silent(_share: float) -> None:
    """Nobody looks on."""


def frame_of(series: int = 3, days: int = 140, inputs: int = 1) -> Frame:
    """Weekly series with a switch that doubles them; the last one begins later."""
    generator = np.random.default_rng(7)
    known = (generator.random((series, days, inputs)) < 0.3).astype(np.float64)
    weekly = 10 + 5 * np.sin(np.arange(days) * 2 * np.pi / 7)
    values = generator.poisson(weekly * (1 + known.sum(axis=2))).astype(np.float64)
    values[-1, : days // 2] = NAN
    keys = [f"s{number}" for number in range(series)]
    return Frame(keys, FIRST, values, [f"x{number}" for number in range(inputs)], known)


def test_the_last_origins_have_a_horizon_after_them() -> None:
    assert rolling.origins_of(200, 28, 3, 14) == Origins([143, 157, 171], 28)


def test_too_short_a_past_says_what_would_do() -> None:
    with pytest.raises(BadTable, match="100 days are too few for 6 origins.*--origins 2 would do"):
        rolling.origins_of(100, 28, 6, 28)
    assert rolling.origins_of(100, 28, 2, 28).at[0] >= rolling.SHORTEST_PAST - 1
    with pytest.raises(BadTable, match="a longer past is needed"):
        rolling.origins_of(40, 28, 1, 28)


def test_the_plan_is_that_of_the_days_ahead() -> None:
    frame = frame_of(days=100)
    known = rolling.plan(frame, 40)
    assert known is not None
    assert np.array_equal(known, frame.known[:, 41 : 41 + HORIZON])


def test_beyond_the_file_the_plan_is_that_of_its_last_week() -> None:
    frame = frame_of(days=100)
    known = rolling.plan(frame, 97)
    assert known is not None
    assert known.shape == (3, HORIZON, 1)
    assert np.array_equal(known[:, :2], frame.known[:, 98:])
    for ahead in range(2, HORIZON):
        assert np.array_equal(known[:, ahead], frame.known[:, 93 + (98 + ahead - 93) % 7]), ahead


def test_the_forecaster_is_told_all_days_up_to_the_last_origin_and_their_plans(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[Any, ...]] = []
    asked: list[tuple[int, int]] = []

    class Told(DailyForecaster):
        def close(
            self,
            day: int,
            values: Array,
            known: Array | None = None,
            ahead: Array | None = None,
            groups: Sequence[str] | None = None,
        ) -> None:
            told.append((day, values, known, ahead))
            super().close(day, values, known, ahead, groups)

        def forecast(
            self,
            horizon: int = HORIZON,
            ahead: Array | None = None,
            rows: Sequence[int] | None = None,
            days: Sequence[int] | None = None,
            contender: str | None = None,
        ) -> Any:
            asked.append((self.last, horizon))
            return super().forecast(horizon, ahead, rows, days, contender)

    monkeypatch.setattr(rolling, "DailyForecaster", Told)
    frame, origins = frame_of(), Origins([60, 90], 14)
    run = rolling.learned(frame, origins, silent)
    assert run.point.shape == (2, 3, 14)
    assert asked == [(FIRST + 60, 14), (FIRST + 90, 14)]
    assert [day for day, *_ in told] == [FIRST + number for number in range(91)]
    for number, (_, values, known, ahead) in enumerate(told):
        assert np.array_equal(values, frame.values[:, number], equal_nan=True)
        assert np.array_equal(known, frame.known[:, number])
        planned = rolling.plan(frame, number)
        assert planned is not None
        assert np.array_equal(ahead, planned)


def asked_of(name: str, frame: Frame, origins: Origins) -> Run:
    if name == "tillstream":
        return rolling.learned(frame, origins, silent)
    package = peers.NEEDS.get(name)
    if package is not None and find_spec(package) is None:
        pytest.skip(f"{package} is not installed: uv sync --inexact --group peers")
    return rolling.refitted(frame, origins, peers.peer_of(name), silent)


MODELS = ("tillstream", "seasonal_naive", *peers.NEEDS)


@pytest.mark.parametrize("name", MODELS)
def test_no_model_sees_what_comes_after_an_origin(name: str) -> None:
    frame, origins = frame_of(), Origins([83, 111], 28)
    first = asked_of(name, frame, origins)
    for number, origin in enumerate(origins.at):
        after = frame.values.copy()
        after[:, origin + 1 :] = 1e6 - after[:, origin + 1 :]
        again = asked_of(name, frame._replace(values=after), origins)
        upto = slice(0, number + 1)
        assert np.array_equal(first.point[upto], again.point[upto])
        assert np.array_equal(first.quantiles[upto], again.quantiles[upto])
    # Had it been looking at nothing at all, nothing would change here either.
    before = frame.values.copy()
    before[:, :84] *= 3
    again = asked_of(name, frame._replace(values=before), origins)
    assert not np.array_equal(first.point, again.point)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_answers_for_every_series(name: str) -> None:
    frame = frame_of(5)
    frame.values[0] = 0
    frame.values[1, 20:60] = NAN
    frame.values[2, 90:] = NAN
    frame.values[3, :111] = NAN
    frame.values[3, 111] = 4
    run = asked_of(name, frame, Origins([111], 28))
    assert np.isfinite(run.point).all()
    assert (np.diff(run.quantiles, axis=-1) >= 0).all()
    assert (run.quantiles >= 0).all()
    assert (run.point >= 0).all()


def test_the_seasonal_naive_is_the_last_week_with_quantiles_of_its_own_errors() -> None:
    values = np.tile(np.arange(7.0), 10)[None] + 20
    values[0, ::14] += 4  # every other Monday
    frame = Frame(["a"], FIRST, values, [], np.zeros((1, 70, 0)))
    forecasts, borrowed = peers.seasonal_naive(frame, 62, 7, np.array([True]), silent)
    assert borrowed == 0
    assert forecasts.point[0].tolist() == values[0, 56:63].tolist()
    errors = (values[0, 7:63] - values[0, :56]).tolist()
    expected = values[0, 56] + np.quantile(errors, QUANTILES)
    assert forecasts.quantiles[0, 0] == pytest.approx(expected)


def test_what_had_not_begun_at_an_origin_is_not_judged() -> None:
    frame = frame_of()
    frame.values[-1, :100] = NAN
    was = rolling.actual(frame, Origins([83, 111], 28))
    assert np.isnan(was[0, -1]).all()
    assert not np.isnan(was[1, -1]).any()
    assert np.array_equal(was[0, 0], frame.values[0, 84:112])


def run_of(point: Array, spread: float) -> Run:
    normal = np.array([-1.96, -1.2816, -0.6745, 0.0, 0.6745, 1.2816, 1.96])
    return Run(point, point[..., None] + spread * normal, 1e-6)


def test_figures_of_the_truth_and_of_one_that_is_off_by_the_scale() -> None:
    frame, origins = frame_of(2), Origins([83, 97, 111], 28)
    frame.values[-1, :70] = frame.values[0, :70] * 2
    judge = judge_of(frame, origins)
    best = figures(run_of(judge.actual, 0.0), judge, seed=1)
    assert [best[key] for key in ("mase", "rmsse", "wape", "total_mase")] == [0, 0, 0, 0]
    assert [best[key] for key in ("r2", "coverage_50", "coverage_80", "coverage_95")] == [
        1,
        1,
        1,
        1,
    ]
    assert [best["width_80"], best["interval_score_80"], best["crps"]] == [0, 0, 0]
    off = judge.actual + judge.scale[None, :, None]
    missed = figures(run_of(off, 1e-9), judge, seed=1)
    assert missed["mase"] == pytest.approx(1)
    assert missed["by_origin"] == pytest.approx([1, 1, 1])
    assert missed["by_week"] == pytest.approx([1, 1, 1, 1])
    assert missed["coverage_95"] == 0
    assert missed["interval_score_80"] == pytest.approx(10, rel=1e-3)


def test_intervals_of_the_right_width_hold_what_they_say() -> None:
    generator = np.random.default_rng(3)
    values = 100 + 10 * generator.standard_normal((40, 200))
    frame = Frame([str(one) for one in range(40)], FIRST, values, [], np.zeros((40, 200, 0)))
    origins = Origins([143, 171], 28)
    judge = judge_of(frame, origins)
    found = figures(run_of(np.full((2, 40, 28), 100.0), 10.0), judge, seed=1)
    for level in (50, 80, 95):
        assert found[f"coverage_{level}"] == pytest.approx(level / 100, abs=0.03)
    assert found["r2"] == pytest.approx(0, abs=0.03)
    assert found["mase_low"] < found["mase"] < found["mase_high"]
    # The seasonal naive's error has √2 of the deviation.
    assert found["mase"] == pytest.approx(1 / np.sqrt(2), rel=0.05)


def test_series_without_a_scale_are_left_out_and_counted() -> None:
    frame, origins = frame_of(3), Origins([111], 28)
    frame.values[1, :112] = 5
    judge = judge_of(frame, origins)
    assert judge.unscaled == 1
    run = run_of(np.zeros((1, 3, 28)), 1.0)
    found = figures(run, judge, seed=1)
    kept = [0, 2]
    alone = judge._replace(
        actual=judge.actual[:, kept], scale=judge.scale[kept],
        squared_scale=judge.squared_scale[kept],
    )  # fmt: skip
    others = figures(run_of(np.zeros((1, 2, 28)), 1.0), alone, seed=1)
    assert found["mase"] == pytest.approx(others["mase"])
    assert found["wape"] == 1


def test_months_are_whole_and_sums_of_days_that_are_all_known() -> None:
    values = np.ones((2, 100))
    values[1, :10] = NAN
    frame = Frame(["a", "b"], FIRST - 1, values, [], np.zeros((2, 100, 0)))
    found = months.by_month(frame)  # 31 December to 8 April
    assert found.values.tolist()[0] == [31, 29, 31]
    assert np.isnan(found.values[1, 0])
    assert found.values[1, 1:].tolist() == [29, 31]
    assert [found.day(number).isoformat() for number in (0, 2)] == ["2024-01-01", "2024-03-01"]
    with pytest.raises(BadTable, match="no whole month"):
        months.by_month(frame._replace(values=values[:, :20]))


def test_the_monthly_model_sees_nothing_ahead() -> None:
    values = np.random.default_rng(5).gamma(9, 10, (2, 40))
    values[1, :6] = NAN
    frame = months.Months(["a", "b"], 2020 * 12 + 3, values, [], np.zeros((2, 40, 0)))
    origins = Origins([27], 12)
    first = rolling.refitted(frame, origins, months.tillstream, silent)
    changed = values.copy()
    changed[:, 28:] = 1e6
    again = rolling.refitted(frame._replace(values=changed), origins, months.tillstream, silent)
    assert np.array_equal(first.point, again.point)
    assert np.array_equal(first.quantiles, again.quantiles)
    assert (np.diff(first.quantiles, axis=-1) >= 0).all()
    changed = values.copy()
    changed[:, 20:28] *= 2
    again = rolling.refitted(frame._replace(values=changed), origins, months.tillstream, silent)
    assert not np.array_equal(first.point, again.point)


def test_a_naive_without_errors_of_two_seasons_takes_those_of_one() -> None:
    values = 1_000 + np.random.default_rng(5).gamma(9, 10, (1, 20))
    frame = Frame(["a"], FIRST, values, [], np.zeros((1, 20, 0)))
    found, _ = peers.seasonal_naive(frame, 19, 24, np.array([True]), silent, season=12)
    width = found.quantiles[0, :, -1] - found.quantiles[0, :, 0]
    assert width[0] > 0
    assert width == pytest.approx(np.full(24, width[0]))
