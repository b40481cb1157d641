"""Whose arm is whose: the same for ever, in the shares that were planned, and few are moved."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from ml_online.experiments import PLACES, Experiment, arm, choice, spans_of
from streams.events import (
    ExperimentArm,
    ExperimentSpan,
    ExperimentStarted,
    ExperimentStopped,
)

UNITS = [f"visitor-{number}" for number in range(20_000)]
NOW = datetime(2026, 5, 4, tzinfo=UTC)
WEIGHTS = st.lists(st.integers(0, 9), min_size=2, max_size=6).filter(any)


def arms(weights: Sequence[int]) -> list[ExperimentArm]:
    return [ExperimentArm(name=f"a{n}", weight=weight) for n, weight in enumerate(weights)]


def terms(weights: Sequence[int] = (1, 1), name: str = "x", **more: str) -> ExperimentStarted:
    of = arms(weights)
    told = {"experiment_id": name, "flag": "offers", "currency": "EUR", **more}
    return msgspec.convert(
        {**told, "arms": msgspec.to_builtins(of), "spans": msgspec.to_builtins(spans_of(of))},
        ExperimentStarted,
    )


def experiment(weights: Sequence[int] = (1, 1), name: str = "x", **more: str) -> Experiment:
    return Experiment("main", terms(weights, name, **more))


def arms_of(of: Experiment) -> list[str | None]:
    return [its.name if (its := arm(of, unit)) else None for unit in UNITS]


def as_planned(counted: Mapping[str | None, int], shares: Mapping[str, float]) -> bool:
    """By a chi-squared test at 1 in 10,000."""
    whole = sum(counted.values())
    off = sum((counted[name] - whole * p) ** 2 / (whole * p) for name, p in shares.items())
    return bool(off < chi2.ppf(0.9999, len(shares) - 1)) and counted.keys() == shares.keys()


def test_units_fall_to_the_arms_by_their_weights() -> None:
    found = Counter(arms_of(experiment((5, 3, 2))))
    assert as_planned(found, {"a0": 0.5, "a1": 0.3, "a2": 0.2})


def test_a_unit_has_the_arm_that_it_ever_had() -> None:
    """Written down: what changes these changes the experience of everyone in an experiment."""
    of = experiment((1, 1, 1))
    told = [(its := arm(of, unit)) and its.name for unit in UNITS[:12]]
    assert told == GOLDEN


GOLDEN = ["a1", "a2", "a2", "a2", "a0", "a1", "a0", "a1", "a0", "a2", "a1", "a0"]


def test_another_experiment_salt_or_shop_is_another_draw() -> None:
    one = experiment()
    others = [
        experiment(name="y"),
        experiment(salt="again"),
        msgspec.structs.replace(one, shop="other"),
    ]
    for other in others:
        both = Counter(zip(arms_of(one), arms_of(other), strict=True))
        quarters = {(a, b): 0.25 for a in ("a0", "a1") for b in ("a0", "a1")}
        off = sum((both[key] - 5000) ** 2 / 5000 for key in quarters)
        assert off < chi2.ppf(0.9999, 3)


def test_more_traffic_adds_units_and_moves_none() -> None:
    before: list[str | None] = [None] * len(UNITS)
    for traffic, share in (("0", 0.0), ("0.1", 0.1), ("0.5", 0.5), ("1", 1.0)):
        found = arms_of(experiment((1, 1), traffic=traffic))
        assert all(was in (None, now) for was, now in zip(before, found, strict=True))
        taking = sum(one is not None for one in found)
        assert abs(taking - share * len(UNITS)) < 4 * 71  # four standard deviations
        if taking:
            assert as_planned(Counter(filter(None, found)), {"a0": 0.5, "a1": 0.5})
        before = found


def shares(spans: Sequence[ExperimentSpan]) -> Counter[str]:
    found, begun = Counter[str](), 0
    for span in spans:
        found[span.arm] += span.until - begun
        begun = span.until
    assert begun == PLACES
    return found


def moved(before: Sequence[ExperimentSpan], after: Sequence[ExperimentSpan]) -> int:
    def at(spans: Sequence[ExperimentSpan], place: int) -> str:
        return next(span.arm for span in spans if place < span.until)

    edges = sorted({span.until for span in (*before, *after)})
    return sum(
        until - begun
        for begun, until in zip([0, *edges], edges, strict=False)
        if at(before, begun) != at(after, begun)
    )


@given(st.lists(WEIGHTS, min_size=2, max_size=8))
def test_as_weights_change_no_more_units_move_than_have_to(told: list[list[int]]) -> None:
    spans = spans_of(arms(told[0]))
    for weights in told[1:]:
        after = spans_of(arms(weights), spans)
        was, now = shares(spans), shares(after)
        for number, weight in enumerate(weights):
            assert abs(now[f"a{number}"] - PLACES * weight / sum(weights)) < 1
        assert moved(spans, after) == sum((now - was).values())
        assert all(one.arm != other.arm for one, other in pairwise(after))
        spans = after


def test_of_several_over_a_flag_the_first_that_a_unit_takes_part_in_counts() -> None:
    first = Experiment("main", terms(name="x", traffic="0.25"))
    second = Experiment("main", terms(name="y"))
    in_first = {unit for unit in UNITS if arm(first, unit)}
    assert 0 < len(in_first) < len(UNITS)
    for unit in UNITS[:200]:
        found = choice([first, second], unit)
        assert found is not None
        assert found[0] == (first if unit in in_first else second)
        assert found[1] == arm(found[0], unit)


def test_of_a_stopped_one_everyone_has_what_was_left_or_nothing() -> None:
    left = Experiment("main", terms(name="x"), ExperimentStopped(experiment_id="x", arm="a1"))
    assert {one.name for unit in UNITS[:50] if (one := arm(left, unit))} == {"a1"}
    stopped = Experiment("main", terms(name="y"), ExperimentStopped(experiment_id="y"))
    assert arm(stopped, "visitor-1") is None
    assert choice([stopped], "visitor-1") is None
