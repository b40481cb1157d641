"""Looked at as often as one likes: what is not there is seldom seen, and what is there is found."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from loadtests import peeking
from loadtests.peeking import ALPHA, ever, sequence, stops, unsound, z_test
from ml_online.confidence_sequences import (
    TUNED_TO,
    Sample,
    difference,
    multiplier,
    ratio_evidence,
)

RUNS = 1000
SAME = (0.05, 0.05)


NULLS: Mapping[str, Callable[[], peeking.Looks]] = {
    "a look at each unit": lambda: peeking.conversions(RUNS, 3000, 1, SAME, 1),
    "many units": lambda: peeking.conversions(RUNS, 500, 200, SAME, 2),
    "rare outcomes": lambda: peeking.conversions(RUNS, 500, 200, (0.004, 0.004), 3),
    "revenue": lambda: peeking.revenues(RUNS, 50, 50, (0.1, 0.1), 4),
    "late outcomes": lambda: peeking.late_conversions(RUNS, 100, 3000, SAME, 5),
}


@pytest.mark.parametrize("of", NULLS)
def test_of_a_thousand_a_a_runs_looked_at_all_the_time_five_in_a_hundred_err_at_most(
    of: str,
) -> None:
    looks = NULLS[of]()
    assert ever(sequence(looks)) <= ALPHA
    assert ever(z_test(looks)) > 3 * ALPHA  # what happens without
    assert unsound(looks) <= 0.01


def test_the_truth_is_inside_at_all_looks_where_there_is_a_difference() -> None:
    looks = peeking.conversions(RUNS, 300, 200, (0.07, 0.05), 7)
    found = sequence(looks)
    outside = (found.lower > 0.02) | (found.upper < 0.02)
    assert outside.any(axis=1).mean() <= ALPHA


def test_a_difference_is_found_about_when_a_fixed_size_would_have_found_it() -> None:
    fixed = peeking.fixed_looks(0.07)
    at = stops(sequence(peeking.conversions(RUNS, 5 * fixed, 100, (0.07, 0.05), 8))) + 1
    assert (at <= 5 * fixed).mean() > 0.99
    assert np.median(at) < 1.2 * fixed
    assert (at <= fixed).mean() > 0.4


def test_units_of_other_shares_than_planned_raise_the_alarm() -> None:
    looks = peeking.conversions(RUNS, 400, 200, SAME, 9)
    assert unsound(looks, share=0.48) > 0.99
    assert unsound(looks, share=0.5) <= 0.01


def test_evidence_on_the_ratio_adds_up_over_phases_and_leaves_out_arms_of_no_weight() -> None:
    first, second = ([0.5, 0.5], [60, 40]), ([0.8, 0.2], [70, 30])
    both = ratio_evidence([first, second])
    assert both == pytest.approx(ratio_evidence([first]) + ratio_evidence([second]))
    with_none = ratio_evidence([([0.5, 0.0, 0.5], [60, 5, 40])])
    assert with_none == pytest.approx(ratio_evidence([first]))
    assert ratio_evidence([]) == 0
    assert ratio_evidence([([0.5, 0.5], [0, 0])]) == 0


def test_the_interval_is_what_the_paper_says() -> None:
    """Theorem 2.2 of arXiv:2103.06476 in its own words, with outcomes for its t."""
    control, treated = Sample(500, 250, 250, 250), Sample(500, 300, 300, 300)
    found = difference(treated, control, 0.05)
    assert found.estimate == pytest.approx(0.1)
    variance = (0.6 * 0.4 + 0.5 * 0.5) / 499
    outcomes = 1000**2 * variance / 4
    rho = (np.log(1 / 0.05**2) + np.log(np.log(1 / 0.05**2) + 1)) / TUNED_TO
    boundary = np.sqrt(
        2 * (outcomes * rho + 1) / (outcomes * rho) * np.log(np.sqrt(outcomes * rho + 1) / 0.05)
    )
    assert found.upper - found.estimate == pytest.approx(np.sqrt(variance) * boundary)
    assert found.estimate - found.lower == pytest.approx(np.sqrt(variance) * boundary)


def test_its_price_is_least_where_it_is_tuned_to() -> None:
    around = TUNED_TO * np.geomspace(0.02, 50, 101)
    told = multiplier(around, 0.05)
    assert told.min() > 1.96
    assert multiplier(np.array(TUNED_TO), 0.05) == pytest.approx(3.03, abs=0.01)
    assert told[0] > 1.3 * told[50]
    assert told[-1] > told[50]


@pytest.mark.parametrize(
    ("treated", "control"),
    [
        (Sample(0, 0, 0, 0), Sample(0, 0, 0, 0)),
        (Sample(1, 1, 1, 1), Sample(100, 10, 10, 10)),
        (Sample(100, 0, 0, 0), Sample(100, 0, 0, 0)),
        (Sample(100, 100, 100, 100), Sample(100, 100, 100, 100)),
    ],
)
def test_of_what_says_nothing_nothing_is_said(treated: Sample, control: Sample) -> None:
    found = difference(treated, control, 0.05)
    assert np.isneginf(found.lower)
    assert np.isposinf(found.upper)
