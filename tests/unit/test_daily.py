"""The core of daily forecasts: what it promises whatever the days bring."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from ml_online.daily import (
    CONTENDERS,
    HORIZON,
    MENDED,
    QUANTILES,
    SERVED,
    DailyForecaster,
    Forecasts,
)

Array = NDArray[np.float64]

BEGIN = 734_000  # a Monday is 734_000 − 734_000 % 7 + 1
WEEK = np.array([0.7, 0.8, 0.9, 1.0, 1.4, 1.7, 0.5])


def market(seed: int, series: int, days: int, noise: float = 0.15) -> Array:
    """[series, day]: a weekly course, each at its own level."""
    random = np.random.default_rng(seed)
    level = random.uniform(5, 5_000, series)[:, None]
    course = WEEK[(BEGIN + np.arange(days)) % 7]
    found: Array = level * course * np.exp(random.normal(0, noise, (series, days)))
    return found


def learned(
    values: Array, known: Sequence[str] = (), inputs: Array | None = None
) -> DailyForecaster:
    """All days closed; `inputs` [series, day, input] reach HORIZON days further than values."""
    forecaster = DailyForecaster(known)
    forecaster.rows([f"s{number}" for number in range(len(values))])
    closed(forecaster, values, inputs)
    return forecaster


def closed(
    forecaster: DailyForecaster, values: Array, inputs: Array | None = None, first: int = 0
) -> None:
    for day in range(first, values.shape[1]):
        if inputs is None:
            forecaster.close(BEGIN + day, values[:, day])
        else:
            ahead = inputs[:, day + 1 : day + 1 + HORIZON]
            forecaster.close(BEGIN + day, values[:, day], inputs[:, day], ahead)


def written(forecaster: DailyForecaster) -> bytes:
    return msgspec.json.encode(list(forecaster.state()))


def same(one: Forecasts, other: Forecasts) -> bool:
    return np.array_equal(one.point, other.point, equal_nan=True) and np.array_equal(
        one.quantiles, other.quantiles, equal_nan=True
    )


def test_the_state_is_the_forecaster() -> None:
    values = market(1, 6, 130)
    through, kept = learned(values[:, :90]), DailyForecaster()
    kept.restore(msgspec.json.decode(written(through)))
    assert written(kept) == written(through)
    for forecaster in (through, kept):
        closed(forecaster, values, first=90)
    assert written(kept) == written(through)
    assert same(kept.forecast(), through.forecast())


def test_a_forecast_changes_nothing_and_a_part_is_of_the_whole() -> None:
    forecaster = learned(market(2, 6, 60))
    before = written(forecaster)
    whole = forecaster.forecast()
    part = forecaster.forecast(10, rows=[4, 2])
    assert written(forecaster) == before
    assert np.allclose(part.point, whole.point[[4, 2], :10], rtol=1e-12)
    assert np.allclose(part.quantiles, whole.quantiles[[4, 2], :10], rtol=1e-12)


def test_the_same_sale_every_week_leaves_the_seasonal_naive_no_error() -> None:
    values = np.tile(np.array([[5955.01], [0.1], [3.0]]), (1, 40))
    forecaster = learned(values)
    assert forecaster.scale.tolist() == [0.0, 0.0, 0.0]


def test_something_is_said_from_the_first_sale_on() -> None:
    forecaster = DailyForecaster()
    assert forecaster.forecast().point.shape == (0, HORIZON)
    forecaster.rows(["a"])
    assert np.isnan(forecaster.forecast().point).all()
    forecaster.close(BEGIN, np.array([5.0]))
    assert (forecaster.forecast().point > 0).all()


def test_days_come_one_after_the_other() -> None:
    forecaster = learned(market(3, 1, 3))
    with pytest.raises(ValueError, match=r"does not follow"):
        forecaster.close(BEGIN + 5, np.array([1.0]))


def test_inputs_must_be_given_and_fit() -> None:
    forecaster = DailyForecaster(["promotion"])
    forecaster.rows(["a"])
    with pytest.raises(ValueError, match=r"promotion are missing"):
        forecaster.close(BEGIN, np.array([1.0]))
    with pytest.raises(ValueError, match=r"shape"):
        forecaster.close(BEGIN, np.array([1.0]), np.zeros((1, 2)), np.zeros((1, HORIZON, 1)))


def test_quantiles_are_in_order_and_never_below_zero() -> None:
    values = np.random.default_rng(4).poisson(0.4, (20, 120)).astype(float)
    found = learned(values).forecast()
    assert found.quantiles.shape == (20, HORIZON, len(QUANTILES))
    assert (np.diff(found.quantiles, axis=2) >= 0).all()
    assert (found.point >= 0).all()
    assert (found.quantiles >= 0).all()


def test_a_weekly_course_is_found_and_last_week_beaten() -> None:
    values = market(5, 30, 300)
    scores = learned(values).scored.window(BEGIN + 150)
    ours, naive = scores[SERVED], scores["seasonal_naive"]
    assert ours.mase is not None
    assert naive.mase is not None
    assert ours.mase < 0.8 * naive.mase


@pytest.mark.parametrize("means", [1.0, 0.0], ids=["closed", "open"])
def test_days_on_which_nothing_is_ever_sold_are_known_by_their_inputs(means: float) -> None:
    values = market(6, 10, 200)
    shut = np.random.default_rng(6).random((1, 200 + HORIZON)) < 0.06
    values[:, shut[0, :200]] = 0
    inputs = np.where(shut, means, 1 - means)[..., None] * np.ones((10, 1, 1))
    forecaster = learned(values, ["state"], inputs)
    ahead = inputs[:, 200:]
    found = forecaster.forecast(ahead=ahead)
    assert (found.point[:, shut[0, 200:]] == 0).all()
    assert (found.point[:, ~shut[0, 200:]] > 0).all()


def test_what_a_promotion_does_is_learned_from_all_and_for_each() -> None:
    random = np.random.default_rng(7)
    promoted = (random.random((1, 240 + HORIZON, 1)) < 0.3) * np.ones((12, 1, 1))
    effect = np.linspace(1.1, 1.9, 12)[:, None]
    values = market(7, 12, 240, 0.05) * np.where(promoted[:, :240, 0] > 0, effect, 1.0)
    forecaster = learned(values, ["promotion"], promoted)
    without = forecaster.forecast(28, np.zeros((12, HORIZON, 1))).point
    with_it = forecaster.forecast(28, np.ones((12, HORIZON, 1))).point
    assert (with_it / without).mean(axis=1) == pytest.approx(effect[:, 0], rel=0.12)


def test_nothing_is_known_of_days_to_come() -> None:
    values = market(8, 5, 100)
    other = values.copy()
    other[:, 80:] *= 3
    one, another = learned(values[:, :80]), learned(other[:, :80])
    assert same(one.forecast(), another.forecast())
    closed(one, values, first=80)
    closed(another, other, first=80)
    assert not same(one.forecast(), another.forecast())
    # What was said before these days is scored as it was said.
    before = one.scored.window(last=BEGIN + 79)
    assert before == another.scored.window(last=BEGIN + 79)


@pytest.mark.parametrize("late", [0, 1, MENDED])
def test_a_corrected_day_is_scored_as_if_it_had_come_so(late: int) -> None:
    # With a day of others' between, what was said meanwhile is of another history: so nothing is.
    values = market(9, 4, 90)
    wrong = values.copy()
    wrong[2, 85] *= 4
    right, mended = learned(values[:, :86]), learned(wrong[:, :86])
    for forecaster in (right, mended):
        for day in range(86, 86 + late):
            forecaster.close(BEGIN + day, np.full(4, np.nan))
    mended.correct(BEGIN + 85, 2, values[2, 85])
    for model, score in right.scored.window().items():
        found = mended.scored.window()[model]
        assert found.pairs == score.pairs
        assert found.mae == pytest.approx(score.mae)
        assert found.mase == pytest.approx(score.mase)
        assert found.rmse == pytest.approx(score.rmse)
    assert np.array_equal(mended.history(12), right.history(12), equal_nan=True)


def test_a_series_is_longer_than_was_known() -> None:
    values = market(10, 1, 30)
    values[0, :10] = 0
    forecaster = learned(values)
    assert np.isnan(forecaster.history(30)[0, :10]).all()
    forecaster.correct(BEGIN + 5, 0, 7.0)
    found = forecaster.history(30)[0]
    assert np.isnan(found[:5]).all()
    assert found[5:10].tolist() == [7.0, 0, 0, 0, 0]
    forecaster.correct(BEGIN - 5_000, 0, 7.0)  # long before what is kept
    assert np.array_equal(forecaster.history(30)[0], found, equal_nan=True)


def test_unknown_days_teach_nothing() -> None:
    values = market(11, 8, 200, 0.05)
    gaps = values.copy()
    gaps[3, 150:190:2] = np.nan
    full, gapped = learned(values).forecast(14), learned(gaps).forecast(14)
    assert gapped.point[3] == pytest.approx(full.point[3], rel=0.15)


def test_what_is_new_sells_like_others_when_they_were() -> None:
    values = market(12, 20, 120, 0.1)
    values[:, :60] = 0
    values[10:, :90] = 0  # ten begin later
    forecaster = learned(values)
    row = forecaster.rows(["new"])
    forecaster.close(BEGIN + 120, np.append(values[:, 119], 0.0))
    found = forecaster.forecast(7, rows=row.tolist()).point[0]
    assert np.isfinite(found).all()
    assert (found > 0).all()


def launched(grouped: bool) -> tuple[DailyForecaster, Array, NDArray[np.int64]]:
    """Cheap and dear items, of which some begin later; and what these sell on their first days."""
    random = np.random.default_rng(20)
    groups = ["cheap", "dear"] * 40
    usual = np.where(np.arange(80) % 2, 200.0, 4.0) * np.exp(random.normal(0, 0.3, 80))
    begins = np.where(np.arange(80) < 30, 0, random.integers(60, 150, 80))
    values = 4 * random.poisson(usual[:, None] / 4, (80, 190)).astype(np.float64)
    values[np.arange(190) < begins[:, None]] = np.nan
    forecaster = DailyForecaster()
    forecaster.rows([f"series {row}" for row in range(80)])
    errors = []
    for day in range(160):
        forecaster.close(BEGIN + day, values[:, day], groups=groups if grouped else None)
        new = np.flatnonzero(begins == day)
        if day and len(new):
            found = forecaster.forecast(28, rows=new.tolist()).point
            errors.append(np.abs(found - values[new, day + 1 : day + 29]) / usual[new, None])
    return forecaster, np.concatenate(errors), begins


def test_what_is_new_begins_like_others_of_its_group() -> None:
    _, by_group, begins = launched(grouped=True)
    _, by_all, _ = launched(grouped=False)
    assert len(by_group) == (begins > 0).sum()
    assert by_group.mean() < 0.6 * by_all.mean()


def test_what_is_new_has_intervals_of_its_own() -> None:
    """Of items that sell something on one day of five, and are known since one of them."""
    random = np.random.default_rng(21)
    values = random.poisson(1.5, (200, 230)).astype(np.float64)
    values[random.random(values.shape) > 0.2] = 0
    begins = np.where(np.arange(200) < 60, 0, random.integers(40, 200, 200))
    values[np.arange(230) < begins[:, None]] = 0
    begins = np.argmax(values > 0, axis=1)
    forecaster = DailyForecaster()
    forecaster.rows([f"series {row}" for row in range(200)])
    within = []
    for day in range(200):
        forecaster.close(BEGIN + day, values[:, day])
        new = np.flatnonzero(begins == day)
        if day > 80 and len(new):
            found = forecaster.forecast(28, rows=new.tolist()).quantiles
            came = values[new, day + 1 : day + 29]
            within.append((found[..., 1] <= came) & (came <= found[..., 5]))
    assert np.concatenate(within).mean() > 0.75  # as few other items would have it: a half


def coverage(values: Array, since: int) -> dict[str, float]:
    scores = learned(values).scored.window(BEGIN + since)[SERVED]
    assert scores.coverage is not None
    return dict(scores.coverage)


@pytest.mark.parametrize(
    "make",
    [
        lambda: market(13, 40, 260, 0.3),
        lambda: np.random.default_rng(13).poisson(1.5, (40, 260)).astype(float),
    ],
    ids=["rough", "counts"],
)
def test_intervals_hold_what_they_promise(make: Callable[[], Array]) -> None:
    found = coverage(make(), 120)
    assert found["80"] == pytest.approx(0.8, abs=0.05)
    assert found["95"] == pytest.approx(0.95, abs=0.03)


def test_intervals_hold_again_after_a_shift() -> None:
    values = market(14, 40, 330, 0.15)
    random = np.random.default_rng(14)
    values[:, 200:] *= 0.6 * np.exp(random.normal(0, 0.35, (40, 130)))
    found = coverage(values, 285)  # all horizons reach over it by then
    assert found["80"] == pytest.approx(0.8, abs=0.04)
    assert found["95"] == pytest.approx(0.95, abs=0.03)


def test_who_errs_less_is_served() -> None:
    # Each week repeats the last but for its noise of a day: nothing beats saying it again.
    random = np.random.default_rng(15)
    steps = random.normal(0, 1, (30, 40, 7)).cumsum(axis=1)
    values = (100 * np.exp(0.5 * steps)).reshape(30, 280)
    forecaster = learned(values)
    scores = forecaster.scored.window(BEGIN + 200)
    ours, naive = scores[SERVED].mase, scores["seasonal_naive"].mase
    assert ours is not None
    assert naive is not None
    assert ours <= 1.02 * naive
    assert forecaster.served in CONTENDERS


def test_on_noise_no_skill_is_claimed() -> None:
    values = np.random.default_rng(16).uniform(5, 50, (1, 366))
    score = learned(values).scored.window(BEGIN + 60)[SERVED]
    assert score.r2 is not None
    assert score.r2 == pytest.approx(0, abs=0.1)
    assert score.coverage is not None
    assert score.coverage["95"] == pytest.approx(0.95, abs=0.04)


def test_very_many_series_take_a_sparser_grid() -> None:
    values = np.random.default_rng(17).poisson(2.0, (2_050, 20)).astype(float)
    forecaster = learned(values)
    assert forecaster.forecast(28).point.shape == (2_050, 28)
    assert {span.first for span in forecaster.scored.by_horizon() if span.scores[SERVED].pairs} == {
        1,
        7,
        14,
    }


def test_a_planned_closed_day_is_believed_before_one_was_seen() -> None:
    forecaster = learned(market(18, 1, 100), ["closed"], np.zeros((1, 100 + HORIZON, 1)))
    ahead = np.zeros((1, HORIZON, 1))
    ahead[0, 4] = 1
    found = forecaster.forecast(7, ahead).point[0]
    assert found[4] == 0
    assert (np.delete(found, 4) > 0).all()


def test_a_corrected_gap_stays_a_gap_around_it() -> None:
    values = market(19, 1, 60)
    values[0, 40:50] = np.nan
    forecaster = learned(values)
    forecaster.correct(BEGIN + 40, 0, 3.0)
    found = forecaster.history(20)[0]
    assert found[0] == 3.0
    assert np.isnan(found[1:10]).all()
