"""What may be said of an experiment at this moment: which arm does better, and whether to trust it.

Each arm is compared with the control. Of several, each comparison gets its share of `alpha`
(Bonferroni's correction, which holds however the arms' figures depend on one another): so with a
probability of 1 - alpha at least, all intervals of a metric hold, for all arms and at all moments.
Metrics are not corrected for one another: the goal was named before, and it alone decides. A guard
rail only ever keeps an arm from being chosen.
"""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

from ml_online.confidence_sequences import (
    RATIO_ALPHA,
    Interval,
    Sample,
    difference,
    ratio_evidence,
)
from streams.events import ExperimentTerms

ALWAYS = ("conversion", "orders", "revenue", "refunds")
"""Metrics that are counted whatever the goal is."""
_LESS_IS_BETTER = frozenset({"refunds"})

Role = Literal["goal", "guard_rail", "also"]
Verdict = Literal["better", "worse", "kept", "broken", "open"]
State = Literal["open", "decided", "unsound"]


class Line(NamedTuple):
    """An arm by a metric: what a unit comes to on the mean, and how much more than the control's;
    None for the control itself. The bounds are None where too little was seen for any."""

    arm: str
    metric: str
    role: Role
    sample: Sample
    mean: float | None
    difference: float | None = None
    lower: float | None = None
    upper: float | None = None
    lift: float | None = None
    verdict: Verdict | None = None


class Ratio(NamedTuple):
    """Whether units fell to the arms as they should. `chance` is how likely at most it was, at all
    moments together, to see what was seen if they did."""

    chance: float
    alarm: bool


class Judgement(NamedTuple):
    """All lines, metric by metric; the `state` is decided once the goal's intervals single out an
    `arm`, and unsound where the ratio is: then nothing is to be believed."""

    lines: Sequence[Line]
    ratio: Ratio
    state: State
    arm: str | None


def metrics_of(terms: ExperimentTerms) -> dict[str, Role]:
    """The metrics of an experiment, the goal first."""
    found: dict[str, Role] = {terms.goal: "goal"}
    for rail in terms.guard_rails:
        found.setdefault(rail.metric, "guard_rail")
    for metric in ALWAYS:
        found.setdefault(metric, "also")
    return found


def level(terms: ExperimentTerms) -> float:
    """The alpha of one comparison."""
    return float(terms.alpha) / (len(terms.arms) - 1)


def judge(
    terms: ExperimentTerms,
    samples: Mapping[str, Mapping[str, Sample]],
    phases: Sequence[tuple[Mapping[str, float], Mapping[str, int]]],
) -> Judgement:
    """`samples` by arm and metric; of each phase the shares that were planned, and the units that
    came, by arm."""
    ratio = _ratio(terms, phases)
    lines = [
        line
        for metric, role in metrics_of(terms).items()
        for line in _lines(terms, {arm: of[metric] for arm, of in samples.items()}, metric, role)
    ]
    if ratio.alarm:
        return Judgement(lines, ratio, "unsound", None)
    chosen = _chosen(terms, lines)
    return Judgement(lines, ratio, "decided" if chosen else "open", chosen)


def _ratio(
    terms: ExperimentTerms, phases: Sequence[tuple[Mapping[str, float], Mapping[str, int]]]
) -> Ratio:
    names = [one.name for one in terms.arms]
    counted = [
        ([shares.get(name, 0.0) for name in names], [units.get(name, 0) for name in names])
        for shares, units in phases
    ]
    evidence = float(ratio_evidence(counted))
    return Ratio(min(1.0, math.exp(-max(evidence, 0.0))), evidence >= -math.log(RATIO_ALPHA))


def _lines(
    terms: ExperimentTerms, samples: Mapping[str, Sample], metric: str, role: Role
) -> list[Line]:
    control, *others = (one.name for one in terms.arms)
    usual = samples[control]
    found = [Line(control, metric, role, usual, _mean(usual))]
    margin = next((rail.margin for rail in terms.guard_rails if rail.metric == metric), "0")
    for name in others:
        its = samples[name]
        mean, base = _mean(its), _mean(usual)
        seen = difference(its, usual, level(terms))
        apart = None if mean is None or base is None else mean - base
        found.append(
            Line(
                name,
                metric,
                role,
                its,
                mean,
                apart,
                _finite(seen.lower),
                _finite(seen.upper),
                apart / base if apart is not None and base else None,
                _kept(its, usual, terms, metric, margin)
                if role == "guard_rail"
                else _compared(seen, metric),
            )
        )
    return found


def _compared(seen: Interval, metric: str) -> Verdict:
    good, bad = float(seen.lower) > 0, float(seen.upper) < 0
    if metric in _LESS_IS_BETTER:
        good, bad = bad, good
    return "better" if good else "worse" if bad else "open"


def _kept(its: Sample, usual: Sample, terms: ExperimentTerms, metric: str, margin: str) -> Verdict:
    """Against so much of the control's as is still to be borne."""
    less = metric in _LESS_IS_BETTER
    share = 1 + Decimal(margin) * (1 if less else -1)
    found = _compared(difference(its, usual, level(terms), float(share)), metric)
    told: Mapping[Verdict, Verdict] = {"better": "kept", "worse": "broken"}
    return told.get(found, "open")


def _chosen(terms: ExperimentTerms, lines: Sequence[Line]) -> str | None:
    """The arm that the goal singles out: the best of those that are better than the control and
    break no guard rail, or the control where all others are worse."""
    broken = {line.arm for line in lines if line.verdict == "broken"}
    of_goal = [line for line in lines if line.role == "goal" and line.verdict is not None]
    sign = -1 if terms.goal in _LESS_IS_BETTER else 1
    better = [
        (sign * (line.difference or 0.0), line.arm)
        for line in of_goal
        if line.verdict == "better" and line.arm not in broken
    ]
    if better:
        return max(better)[1]
    if all(line.verdict == "worse" or line.arm in broken for line in of_goal):
        return terms.arms[0].name
    return None


def _mean(sample: Sample) -> float | None:
    return float(sample.total) / float(sample.units) if sample.units else None


def _finite(value: object) -> float | None:
    number = float(value)  # type: ignore[arg-type]
    return number if math.isfinite(number) else None
