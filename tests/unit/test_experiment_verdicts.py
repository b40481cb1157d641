"""What is said of an experiment: who is better, what is broken, and when to believe nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ml_online.confidence_sequences import Sample, difference
from ml_online.experiment_verdicts import Judgement, judge, metrics_of
from streams.events import ExperimentArm, ExperimentTerms, GuardRail

EVEN = {"usual": 10_000, "new": 10_000, "newer": 10_000}


def terms(arms: Sequence[str] = ("usual", "new"), **more: Any) -> ExperimentTerms:
    of = [ExperimentArm(name=name) for name in arms]
    told = {"experiment_id": "x", "flag": "f", "arms": of, "spans": [], "currency": "EUR"}
    return ExperimentTerms(**{**told, **more})


def buyers(count: int, units: int = 10_000) -> Sample:
    return Sample(units, count, count, count)


def judged(of: ExperimentTerms, **metrics: Mapping[str, int]) -> Judgement:
    """By how many units of each arm have an outcome, of each metric that is told."""
    arms = [one.name for one in of.arms]
    samples = {
        arm: {name: buyers(metrics.get(name, {}).get(arm, 500)) for name in metrics_of(of)}
        for arm in arms
    }
    phase = dict.fromkeys(arms, 1 / len(arms)), {arm: EVEN[arm] for arm in arms}
    return judge(of, samples, [phase])


def test_it_is_open_until_the_goal_singles_out_an_arm() -> None:
    assert judged(terms())[2:] == ("open", None)
    assert judged(terms(), conversion={"new": 560})[2:] == ("open", None)
    assert judged(terms(), conversion={"new": 700})[2:] == ("decided", "new")
    assert judged(terms(), conversion={"new": 300})[2:] == ("decided", "usual")
    assert judged(terms(), orders={"new": 700})[2:] == ("open", None)
    assert judged(terms(goal="refunds"), refunds={"new": 300})[2:] == ("decided", "new")
    assert judged(terms(goal="refunds"), refunds={"new": 700})[2:] == ("decided", "usual")


def test_of_several_arms_each_is_compared_at_its_share_of_alpha() -> None:
    three = terms(("usual", "new", "newer"))
    found = judged(three, conversion={"new": 700, "newer": 720})
    assert found[2:] == ("decided", "newer")
    line = next(one for one in found.lines if (one.arm, one.metric) == ("new", "conversion"))
    apart = difference(buyers(700), buyers(500), 0.025)
    assert (line.lower, line.upper) == (float(apart.lower), float(apart.upper))
    assert line.lift == pytest.approx(0.4)
    assert judged(three, conversion={"new": 300, "newer": 500}).state == "open"
    assert judged(three, conversion={"new": 300, "newer": 310})[2:] == ("decided", "usual")


def test_a_broken_guard_rail_keeps_an_arm_from_being_chosen() -> None:
    railed = terms(("usual", "new", "newer"), guard_rails=[GuardRail(metric="orders")])
    found = judged(railed, conversion={"new": 900, "newer": 700}, orders={"new": 300})
    assert found[2:] == ("decided", "newer")
    two = terms(guard_rails=[GuardRail(metric="orders")])
    assert judged(two, conversion={"new": 900}, orders={"new": 300})[2:] == ("decided", "usual")


@pytest.mark.parametrize(
    ("metric", "count", "margin", "verdict"),
    [
        ("orders", 500, "0", "open"),
        ("orders", 500, "0.3", "kept"),
        ("orders", 300, "0.1", "broken"),
        ("orders", 300, "0.4", "open"),
        ("refunds", 500, "0.3", "kept"),
        ("refunds", 700, "0.1", "broken"),
        ("refunds", 300, "0", "kept"),
    ],
)
def test_a_guard_rail_bears_its_margin(metric: Any, count: int, margin: str, verdict: str) -> None:
    railed = terms(guard_rails=[GuardRail(metric=metric, margin=margin)])
    found = judged(railed, **{metric: {"new": count}})
    line = next(one for one in found.lines if (one.arm, one.metric) == ("new", metric))
    assert (line.role, line.verdict) == ("guard_rail", verdict)


def test_nothing_is_decided_where_units_did_not_fall_as_planned() -> None:
    of = terms()
    samples = {
        arm: {name: buyers(count) for name in metrics_of(of)}
        for arm, count in (("usual", 500), ("new", 900))
    }
    even, odd = {"usual": 5000, "new": 5000}, {"usual": 5000, "new": 5600}
    half = {"usual": 0.5, "new": 0.5}
    assert judge(of, samples, [(half, even)]).state == "decided"
    found = judge(of, samples, [(half, even), (half, odd)])
    assert (found.state, found.arm, found.ratio.alarm) == ("unsound", None, True)
    assert found.ratio.chance < 0.01
    # The same units, where that was the plan from some moment on.
    planned = {"usual": 0.472, "new": 0.528}
    assert not judge(of, samples, [(half, even), (planned, odd)]).ratio.alarm


def test_before_anybody_came_there_is_nothing_to_say() -> None:
    of = terms()
    nobody = {arm: dict.fromkeys(metrics_of(of), Sample(0, 0, 0, 0)) for arm in ("usual", "new")}
    found = judge(of, nobody, [({"usual": 0.5, "new": 0.5}, {})])
    assert (found.state, found.arm, found.ratio) == ("open", None, (1.0, False))
    assert {(one.mean, one.lower, one.upper, one.lift) for one in found.lines} == {(None,) * 4}
