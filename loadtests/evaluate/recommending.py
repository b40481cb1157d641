"""Recommendations held to what came: asked first, then told, visit by visit in order of time.

Every item of a visit is a target of one list of k, which is made of all that came before the visit,
over the full catalogue. `hr@k` is the share of all targets that stood in their list, `mrr@k` the
mean of 1 / rank over all targets (0 where it was not in it), `ndcg@k` the mean over lists, `any@k`
the share of lists with at least one target. Repeats are allowed; `without_repeats` leaves out of
lists and targets what the session had, or of baskets, what the customer had.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from math import log2
from time import perf_counter, process_time
from typing import Any, NamedTuple, Protocol

import numpy as np

from loadtests.evaluate.visits import Kind, Visit
from ml_online.ranking_scores import outcome

Tick = Callable[[float], None]


class Question(NamedTuple):
    """What a list is asked for: a session so far (latest last), or whose basket comes next."""

    user: str
    session: Sequence[str]
    at: float


class Ranker(Protocol):
    """A model of what comes next."""

    def learn(self, visit: Visit) -> None:
        """What came."""

    def rank(self, question: Question, limit: int) -> Sequence[str]:
        """The likeliest items, best first. Changes nothing."""


class Task(NamedTuple):
    """The visits, from which on they are judged, and how."""

    visits: Sequence[Visit]
    first: int
    kind: Kind
    k: int


class _Tally:
    """Sums over lists."""

    def __init__(self) -> None:
        self.lists = self.targets = self.hits = self.any = 0
        self.reciprocal = self.ndcg = 0.0

    def note(self, listed: Sequence[str], targets: Sequence[str]) -> None:
        one = outcome(listed, targets)
        self.lists += 1
        self.targets += one.targets
        self.hits += one.hits
        self.any += one.hits > 0
        self.reciprocal += one.reciprocal_ranks
        self.ndcg += one.ndcg

    def figures(self, k: int) -> dict[str, Any]:
        def mean(value: float, count: int) -> float | None:
            return value / count if count else None

        return {
            f"hr@{k}": mean(self.hits, self.targets),
            f"mrr@{k}": mean(self.reciprocal, self.targets),
            f"ndcg@{k}": mean(self.ndcg, self.lists),
            f"any@{k}": mean(self.any, self.lists),
            "targets": self.targets,
            "lists": self.lists,
        }


class Past:
    """What was there before a visit, for whoever asks: sessions so far, customers' items."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._sessions: defaultdict[str, list[str]] = defaultdict(list)
        self._users: defaultdict[str, set[str]] = defaultdict(set)
        self.counts: Counter[str] = Counter()
        self.total = 0

    def asked(self, visit: Visit) -> tuple[Question, set[str], bool] | None:
        """The question, what would be a repeat, and whether it is about a customer who comes back;
        None where there is nothing to go by."""
        seen = visit.user in self._users if visit.user else False
        session = self._sessions.get(visit.session, []) if self._kind == "clicks" else []
        if not session and not seen:
            return None
        had = set(session) if session else self._users[visit.user]
        return Question(visit.user, list(session), visit.at), had, not session

    def note(self, visit: Visit) -> None:
        if self._kind == "clicks":
            self._sessions[visit.session] += visit.items
        if visit.user:
            self._users[visit.user].update(visit.items)
        self.counts.update(visit.items)
        self.total += len(visit.items)


def judged(model: Ranker, task: Task, tick: Tick, *, learning: bool = True) -> dict[str, Any]:
    """What a model's lists come to. It has learned nothing yet; or, if it is not `learning`, all
    that comes before the first visit that is judged."""
    past, all_, fresh, back = Past(task.kind), _Tally(), _Tally(), _Tally()
    shown: set[str] = set()
    bits, listed_items, seconds = 0.0, 0, 0.0
    told, begun = 0, 0.0
    times: list[float] = []
    for number, visit in enumerate(task.visits):
        if number >= task.first and (asked := past.asked(visit)):
            question, had, returning = asked
            begun = perf_counter()
            ranked = model.rank(question, task.k + len(had))
            times.append(perf_counter() - begun)
            listed = ranked[: task.k]
            whose = back if returning and task.kind == "clicks" else all_
            whose.note(listed, visit.items)
            new = [one for one in visit.items if one not in had]
            if new and whose is all_:
                fresh.note([one for one in ranked if one not in had][: task.k], new)
            shown.update(listed)
            listed_items += len(listed)
            bits += sum(log2(past.total / max(1, past.counts[one])) for one in listed)
        if learning:
            begun = process_time()
            model.learn(visit)
            seconds += process_time() - begun
            told += len(visit.items)
        past.note(visit)
        tick(1 / len(task.visits))
    found = all_.figures(task.k) | {
        "without_repeats": fresh.figures(task.k),
        "coverage": len(shown & past.counts.keys()) / max(1, len(past.counts)),
        "novelty": bits / listed_items if listed_items else None,
        "answer_ms_p50": _percentile(times, 50),
        "answer_ms_p99": _percentile(times, 99),
        "learned_per_second": told / seconds if seconds else None,
    }
    return found | ({"first_of_returning": back.figures(task.k)} if back.lists else {})


def _percentile(times: Sequence[float], share: float) -> float | None:
    return float(np.percentile(times, share)) * 1e3 if times else None


def learned(model: Ranker, visits: Sequence[Visit], tick: Tick) -> Ranker:
    """A model that was told these."""
    for visit in visits:
        model.learn(visit)
        tick(1 / len(visits))
    return model


def best(scores: dict[str, float], limit: int) -> Iterator[str]:
    """The highest, ties by name."""
    from heapq import nlargest

    return (one for _, one in nlargest(limit, ((score, one) for one, score in scores.items())))
