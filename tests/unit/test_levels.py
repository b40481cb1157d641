"""Levels that add up: to the last unit, whatever each series had said by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ml_online.daily import QUANTILES, Array, Forecasts
from ml_online.levels import Level, add_up

DAYS = 3
UNIT = 0.01
_NORMAL = np.array([-1.96, -1.2816, -0.6745, 0.0, 0.6745, 1.2816, 1.96])


def forecasts(points: Array, spread: Array) -> Forecasts:
    quantiles = np.maximum(points[..., None] + spread[..., None] * _NORMAL, 0)
    return Forecasts(points, quantiles)


def numbers(rows: int) -> st.SearchStrategy[Array]:
    some = st.sampled_from([0.0, 0.001, 0.5, 3.0, 1 / 3, 17.25, 1e6]) | st.floats(0, 1e5)
    return arrays(np.float64, (rows, DAYS), elements=some)


@st.composite
def trees(draw: st.DrawFn) -> list[Level]:
    """A total, its categories and their products, and its countries."""
    categories, countries = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    lying = draw(st.lists(st.integers(-1, categories - 1), min_size=1, max_size=9))
    shapes = [
        (-1, [-1]),
        (0, [0] * categories),
        (1, lying),
        (0, [0] * countries),
    ]
    found = []
    for above, parent in shapes:
        points = draw(numbers(len(parent)))
        if above >= 0 and draw(st.booleans()):
            points[draw(st.integers(0, len(parent) - 1))] = np.nan
        told = forecasts(points, draw(numbers(len(parent))))
        found.append(Level(told, above, np.array(parent, dtype=np.int64)))
    return found


@settings(max_examples=120, deadline=None)
@given(trees())
def test_every_level_comes_to_the_one_above_exactly(tree: list[Level]) -> None:
    found = add_up(tree, UNIT)
    for level, whole in zip(tree, found, strict=True):
        assert (whole.point >= 0).all()
        assert (np.diff(whole.quantiles, axis=2) >= 0).all()
        assert whole.quantiles.shape == (*whole.point.shape, len(QUANTILES))
        if level.above < 0:
            continue
        for row in range(len(found[level.above].point)):
            parts = whole.point[(level.parent == row) & whole.known]
            if len(parts):
                np.testing.assert_array_equal(parts.sum(axis=0), found[level.above].point[row])


@settings(max_examples=40, deadline=None)
@given(trees())
def test_what_adds_up_already_stays_as_it_is(tree: list[Level]) -> None:
    """The own forecasts of each level are made those of its parts."""
    products = tree[2]
    whole = [np.nan_to_num(level.forecasts.point) for level in tree]
    lying = products.parent >= 0
    of_products = np.zeros_like(whole[1])
    np.add.at(of_products, products.parent[lying], whole[2][lying])
    alone = np.setdiff1d(np.arange(len(whole[1])), products.parent)
    of_products[alone] = whole[1][alone]
    total = of_products.sum(axis=0, keepdims=True)
    equal = np.repeat(total / len(whole[3]), len(whole[3]), axis=0)
    told = [
        Level(forecasts(points, np.ones_like(points)), level.above, level.parent)
        for level, points in zip(tree, (total, of_products, whole[2], equal), strict=True)
    ]
    found = add_up(told, UNIT)
    for level, one in zip(told, found, strict=True):
        np.testing.assert_allclose(one.point * UNIT, level.forecasts.point, atol=UNIT, rtol=1e-9)


def test_who_is_sure_of_it_moves_least() -> None:
    """By hand: 100 ± 1 above, 30 ± 1 and 40 ± 3 below. Variances 1, 1, 9: the sum is drawn from 70
    toward 100 by 10/11, and what is missing below is shared 1 : 9."""
    top = forecasts(np.array([[100.0]]), np.array([[1.0]]))
    parts = forecasts(np.array([[30.0], [40.0]]), np.array([[1.0], [3.0]]))
    tree = [
        Level(top, -1, np.array([-1])),
        Level(parts, 0, np.array([0, 0])),
    ]
    above, below = add_up(tree, UNIT)
    assert above.point[0, 0] * UNIT == pytest.approx(70 + 30 * 10 / 11, abs=0.01)
    assert below.point[0, 0] * UNIT == pytest.approx(30 + 30 / 11, abs=0.01)
    assert below.point[1, 0] * UNIT == pytest.approx(40 + 9 * 30 / 11, abs=0.01)


def test_an_interval_keeps_its_width_relative_to_its_point() -> None:
    top = forecasts(np.array([[200.0]]), np.array([[0.001]]))
    parts = forecasts(np.array([[50.0], [50.0]]), np.array([[10.0], [10.0]]))
    tree = [Level(top, -1, np.array([-1])), Level(parts, 0, np.array([0, 0]))]
    _, below = add_up(tree, UNIT)
    expected = parts.quantiles[0, 0] * below.point[0, 0] * UNIT / 50
    np.testing.assert_allclose(below.quantiles[0, 0] * UNIT, expected, atol=UNIT)
