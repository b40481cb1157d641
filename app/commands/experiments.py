"""What the staff has compared."""

from typing import Any
from urllib.parse import quote

from app.commands.execute import Answer, Call, check_version
from app.commands.work import Work
from app.domain import experiment
from app.domain.experiment import EXPERIMENT, Change, Experiment
from streams.events import ExperimentStarted, ExperimentTerms


async def start_experiment(work: Work, said: ExperimentStarted) -> Answer:
    """A new experiment, which runs from now on."""
    name = said.experiment_id
    work.tell(*experiment.start(await work.find(EXPERIMENT, name), said))
    location = f"/v1/experiments/{quote(name, safe='')}"
    return _answer(work, name)._replace(status=201, location=location)


async def change_experiment(work: Work, call: Call, name: str, wanted: Change) -> Answer:
    """Other weights, traffic or name for one that runs."""
    known = await work.get(EXPERIMENT, name, "id")
    check_version(call, work.version(EXPERIMENT, name))
    work.tell(*experiment.change(known, wanted))
    return _answer(work, name)


async def stop_experiment(
    work: Work, call: Call, name: str, arm: str | None, reason: str | None
) -> Answer:
    """An experiment is over."""
    known = await work.get(EXPERIMENT, name, "id")
    check_version(call, work.version(EXPERIMENT, name))
    work.tell(*experiment.stop(known, arm, reason))
    return _answer(work, name)


def as_told(known: Experiment) -> dict[str, Any]:
    """An experiment with all it says, what was not said among it."""
    stopped = known.stopped
    return {
        **terms_told(known.terms),
        "started_at": known.started_at,
        "stopped_at": known.stopped_at,
        "left_to_everyone": stopped and stopped.arm,
        "reason": stopped and stopped.reason,
    }


def terms_told(terms: ExperimentTerms) -> dict[str, Any]:
    """What an experiment compares, and how."""
    return {
        "id": terms.experiment_id,
        "flag": terms.flag,
        "name": terms.name,
        "unit": terms.unit,
        "arms": [
            {"name": one.name, "weight": one.weight, "value": one.value} for one in terms.arms
        ],
        "traffic": terms.traffic,
        "goal": terms.goal,
        "guard_rails": [
            {"metric": rail.metric, "margin": rail.margin} for rail in terms.guard_rails
        ],
        "alpha": terms.alpha,
        "currency": terms.currency,
    }


def _answer(work: Work, name: str) -> Answer:
    return Answer(as_told(work.state(EXPERIMENT, name)), version=work.version(EXPERIMENT, name))
