"""Experiments: which there are, and how their arms do."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field

from app.reports.report import Asked, Column, Key, Kind, Moment, Report
from app.reports.wording import shown
from ml_online.confidence_sequences import RATIO_ALPHA, Sample
from ml_online.experiment_verdicts import Judgement, Line, judge, level, metrics_of
from projections import experiment_results
from projections.clock import instant
from projections.experiment_results import Figures, Sums
from projections.experiment_terms import Known, experiments
from projections.read_model import Transaction

GROUP = "activity"
_MONEY = frozenset({"revenue", "refunds"})


class AskedResults(Asked):
    """Which experiment; without one, all that run."""

    experiment: Annotated[
        Key | None, Field(description="only this experiment; else all that run")
    ] = None


# Those that there are.


async def _experiments(
    transaction: Transaction, _moment: Moment, asked: Asked
) -> Sequence[Mapping[str, Any]]:
    units = await experiment_results.units(transaction, asked.shop)
    found = await experiments(transaction, asked.shop)
    behind = _behind(found)
    return [
        {
            "id": known.terms.experiment_id,
            "name": known.terms.name,
            "flag": known.terms.flag,
            "goal": known.terms.goal,
            "arms": ", ".join(one.name for one in known.terms.arms),
            "traffic": shown(Decimal(known.terms.traffic), "share"),
            "state": "stopped" if known.stopped else "running",
            "units": units.get(known.terms.experiment_id, 0),
            "started_at": _time(known.started_at),
            "stopped_at": _time(known.stopped_at),
            "left_to_everyone": known.stopped and known.stopped.arm,
            "behind": behind.get(known.terms.experiment_id),
        }
        for known in found
    ]


def _behind(found: Sequence[Known]) -> Mapping[str, str]:
    """Of running experiments, by their start, those that another over the same flag leaves no units
    to, with which that is."""
    whole: dict[str, str] = {}  # by flag: who takes all units
    behind: dict[str, str] = {}
    for terms in (known.terms for known in found if known.stopped is None):
        if terms.flag in whole:
            behind[terms.experiment_id] = whole[terms.flag]
        elif Decimal(terms.traffic) == 1:
            whole[terms.flag] = terms.experiment_id
    return behind


_COLUMNS = (
    *(Column("id"), Column("name"), Column("flag"), Column("goal"), Column("arms")),
    *(Column("traffic", "share"), Column("state"), Column("units", "count")),
    *(Column("started_at", "time"), Column("stopped_at", "time"), Column("left_to_everyone")),
    Column("behind"),
)


# How their arms do.


async def _results(
    transaction: Transaction, moment: Moment, asked: AskedResults
) -> Sequence[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    for known in await experiments(transaction, asked.shop, asked.experiment):
        if asked.experiment is None and known.stopped is not None:
            continue
        hour = instant(moment.clock.hour(known.started_at))
        metrics = metrics_of(known.terms)
        found = await experiment_results.figures(transaction, asked.shop, known, metrics, hour)
        judged = judge(known.terms, _samples(found), _phases(known, found))
        rows += [_row(known, found, judged, line) for line in judged.lines]
    return rows


def _samples(found: Figures) -> dict[str, dict[str, Sample]]:
    return {
        arm: {metric: _sample(counted.units, sums) for metric, sums in counted.metrics.items()}
        for arm, counted in found.arms.items()
    }


def _sample(units: int, sums: Sums) -> Sample:
    return Sample(units, sums.active, float(sums.total), float(sums.squares))


def _phases(known: Known, found: Figures) -> list[tuple[Mapping[str, float], Mapping[str, int]]]:
    return [(phase.shares, fell) for phase, fell in zip(known.phases, found.fell, strict=True)]


def _row(known: Known, found: Figures, judged: Judgement, line: Line) -> Mapping[str, Any]:
    counted = found.arms[line.arm]
    sums = counted.metrics[line.metric]
    return {
        "experiment": known.terms.experiment_id,
        "metric": line.metric,
        "role": line.role,
        "arm": line.arm,
        "units": counted.units,
        "active": sums.active,
        "total": shown(Decimal(sums.total), "money" if line.metric in _MONEY else "number"),
        "mean": _number(line.mean),
        "difference": _number(line.difference),
        "lower": _number(line.lower),
        "upper": _number(line.upper),
        "lift": _number(line.lift),
        "verdict": line.verdict,
        "alpha": _number(level(known.terms)),
        "crossed": counted.crossed,
        "other_currencies": counted.elsewhere,
        "left_out": found.left_out,
        "fell": sum(units.get(line.arm, 0) for units in found.fell),
        "ratio_chance": _number(judged.ratio.chance),
        "ratio_alarm": "yes" if judged.ratio.alarm else "no",
        "state": judged.state,
        "decided_for": judged.arm,
    }


def _number(value: float | None) -> str | int | None:
    return None if value is None else shown(Decimal(repr(float(value))), "number")


def _time(at: Any) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None


_KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("experiment", "metric", "role", "arm"), "text"),
    **dict.fromkeys(("units", "active"), "count"),
    **dict.fromkeys(("total", "mean", "difference", "lower", "upper", "lift"), "number"),
    "verdict": "text",
    "alpha": "number",
    **dict.fromkeys(("crossed", "other_currencies", "left_out", "fell"), "count"),
    "ratio_chance": "number",
    **dict.fromkeys(("ratio_alarm", "state", "decided_for"), "text"),
}


def heads(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is to be seen first of one experiment's rows, and how to take it."""
    first = rows[0]
    arms = {row["arm"]: row for row in rows}
    return {
        "decision": {"state": first["state"], "arm": first["decided_for"]},
        "sample_ratio": {
            "alarm": first["ratio_alarm"] == "yes",
            "chance": first["ratio_chance"],
            "alpha": str(RATIO_ALPHA),
            "units": {name: row["fell"] for name, row in arms.items()},
        },
        "guard_rails": [
            {"metric": row["metric"], "arm": row["arm"], "verdict": row["verdict"]}
            for row in rows
            if row["role"] == "guard_rail" and row["verdict"]
        ],
        "correction": f"Bonferroni: each of {len(arms) - 1} comparisons at {first['alpha']}",
    }


RESULTS: Report[AskedResults] = Report(
    name="experiment_results",
    says="how the arms of experiments do by each metric, beside the control: the difference, and "
    "bounds that hold at all moments at once, however often somebody looks; whether units fell to "
    "the arms as planned, and whether it is decided",
    path="/v1/reports/experiment_results",
    group=GROUP,
    asked=AskedResults,
    columns=lambda _: [Column(name, kind) for name, kind in _KINDS.items()],
    key=lambda _: ("experiment", "metric", "arm"),
    rows=_results,
    tag="experiments",
    also=("sales",),
    slow=True,
)
REPORTS: Sequence[Report[Any]] = (
    Report(
        name="experiments",
        says="the experiments that run and those that are over, and how many units have come to "
        "see an arm; one `behind` another sees none while that takes all who ask for the flag",
        path="/v1/experiments",
        group=GROUP,
        asked=Asked,
        columns=lambda _: _COLUMNS,
        key=lambda _: ("id",),
        rows=_experiments,
        tag="experiments",
    ),
    RESULTS,
)
