"""Who else recommends: what is popular, item-kNN, V-SKNN, bought together, implicit's ALS and BPR.

Popularity, V-SKNN and bought together learn visit by visit, as ours does. Item-kNN, ALS and BPR are
fitted to all of the past when the first visit is judged, and again at even distances; what came
since is in their questions, but not in their models.
"""

import warnings
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from math import log
from typing import Any

import numpy as np
from scipy import sparse

from loadtests.evaluate.recommending import Question, Ranker, Task, best
from loadtests.evaluate.visits import Visit
from ml_online.bought_together import BoughtTogether

REFITS = 4
SEED = 20_111_209
NEEDS: Mapping[str, str] = {"als": "implicit", "bpr": "implicit"}
"""The package that a peer is made by."""


class Popularity:
    """What was taken most often."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._ranked: list[str] = []
        self._stale = 0

    def learn(self, visit: Visit) -> None:
        self._counts.update(visit.items)
        self._stale -= 1

    def rank(self, question: Question, limit: int) -> Sequence[str]:  # noqa: ARG002
        if self._stale < 0 or len(self._ranked) < min(limit, len(self._counts)):
            self._ranked = [one for one, _ in self._counts.most_common(limit + 500)]
            self._stale = 50  # visits later it is ranked anew
        return self._ranked[:limit]


class SessionNeighbours:
    """V-SKNN (Ludewig and Jannach 2018): sessions that share items, the latest items most."""

    SAMPLE = 1_000
    NEIGHBOURS = 100

    def __init__(self) -> None:
        self._sessions: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._holders: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=self.SAMPLE))

    def learn(self, visit: Visit) -> None:
        key = visit.user or visit.session
        items = self._sessions[key]
        for item in visit.items:
            if item not in items:
                self._holders[item].append(key)
            items[item] = len(items)

    def rank(self, question: Question, limit: int) -> Sequence[str]:
        items = list(question.session) or list(self._sessions.get(question.user, ()))
        places = {item: place for place, item in enumerate(items, 1)}
        alike: defaultdict[str, float] = defaultdict(float)
        for item, place in sorted(places.items(), key=lambda one: one[1])[-50:]:
            for key in self._holders.get(item, ()):
                alike[key] += place / len(items)
        near = sorted(((weight, key) for key, weight in alike.items()), reverse=True)
        found: defaultdict[str, float] = defaultdict(float)
        count = len(self._sessions)
        for weight, key in near[: self.NEIGHBOURS]:
            neighbour = self._sessions[key]
            if len(neighbour) == len(places) and neighbour.keys() == places.keys():
                continue  # itself
            last = max(place for item, place in places.items() if item in neighbour)
            decay = 1 / (1 + len(items) - last)
            for item in neighbour:
                rare = 1 + 5 * log(count / len(self._holders[item])) / log(count + 1)
                found[item] += weight * decay * rare
        return list(best(found, limit))


class Together:
    """What stands in a shop already: what is bought with each product of the last basket."""

    def __init__(self) -> None:
        from loadtests.evaluate.served_recommender import Served

        self._served = Served("baskets")
        self._served.model = BoughtTogether()  # type: ignore[assignment]
        self._latest: dict[str, Sequence[str]] = {}

    def learn(self, visit: Visit) -> None:
        self._served.learn(visit)
        self._latest[visit.user] = visit.items

    def rank(self, question: Question, limit: int) -> Sequence[str]:
        model: Any = self._served.model
        found: defaultdict[str, float] = defaultdict(float)
        for item in self._latest.get(question.user, ())[:40]:
            for one in model.related("main", item, 64)[1]:
                found[one.product_id] += one.score
        return list(best(found, limit))


class Fitted:
    """Whatever is fitted to a matrix of who took what. `fit` is given rows by items, and returns
    what scores all items, given a row's number or None, and how often it has which items."""

    def __init__(self, fit: "Fit", task: Task) -> None:
        self._fit = fit
        every = max(1, -(-(len(task.visits) - task.first) // REFITS))
        self._moments = {task.first + every * number for number in range(REFITS)}
        self._told = 0
        self._taken: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._items: list[str] = []
        self._columns: dict[str, int] = {}
        self._rows: dict[str, int] = {}
        self._scores: Callable[[int | None, Mapping[int, int]], Any] | None = None

    def learn(self, visit: Visit) -> None:
        self._taken[visit.user or visit.session].update(visit.items)
        self._told += 1
        if self._told in self._moments:
            self._refit()

    def _refit(self) -> None:
        self._items = sorted({item for taken in self._taken.values() for item in taken})
        self._columns = {item: column for column, item in enumerate(self._items)}
        self._rows = {name: row for row, name in enumerate(self._taken)}
        row, column, value = [], [], []
        for name, taken in self._taken.items():
            for item, count in taken.items():
                row.append(self._rows[name])
                column.append(self._columns[item])
                value.append(1.0 + log(count))
        shape = (len(self._rows), len(self._items))
        matrix = sparse.csr_matrix((value, (row, column)), shape=shape, dtype=np.float32)
        self._scores = self._fit(matrix)

    def rank(self, question: Question, limit: int) -> Sequence[str]:
        if self._scores is None:
            self._refit()
            assert self._scores is not None
        # The latest item of a session first.
        has = Counter(reversed(question.session)) or self._taken.get(question.user, Counter())
        columns = {self._columns[item]: n for item, n in has.items() if item in self._columns}
        row = None if question.session else self._rows.get(question.user)
        scores = np.asarray(self._scores(row, columns)).ravel()
        limit = min(limit, len(scores))
        top = np.argpartition(-scores, limit - 1)[:limit]
        ranked = top[np.argsort(-scores[top], kind="stable")]
        return [self._items[column] for column in ranked if scores[column] > -np.inf]


Fit = Callable[[Any], Callable[[int | None, Mapping[int, int]], Any]]


def item_knn(last: bool) -> Fit:
    """Cosine of items by who took both: of the last item of a session, or of all of a customer's,
    their 100 nearest each, and they themselves, since repeats are allowed."""

    def fit(matrix: Any) -> Callable[[int | None, Mapping[int, int]], Any]:
        taken = matrix.copy()
        taken.data[:] = 1
        lengths = np.sqrt(np.asarray(taken.sum(axis=0)).ravel())
        scaled = taken @ sparse.diags(1 / np.maximum(lengths, 1))
        alike = (scaled.T @ scaled).tocsr()
        for row in range(alike.shape[0]):
            own = alike.data[alike.indptr[row] : alike.indptr[row + 1]]
            if len(own) > 100:
                own[own < np.partition(own, -100)[-100]] = 0
        alike.eliminate_zeros()

        def scores(_row: int | None, columns: Mapping[int, int]) -> Any:
            if not columns:
                return np.zeros(alike.shape[0])
            chosen = list(columns)[:1] if last else list(columns)
            return alike[chosen].sum(axis=0)

        return scores

    return fit


def als(matrix: Any) -> Callable[[int | None, Mapping[int, int]], Any]:
    """Alternating least squares; whoever is asked about is folded in with all they have by now."""
    from implicit.als import AlternatingLeastSquares

    with warnings.catch_warnings():
        # That BLAS has threads of its own concerns its speed alone.
        warnings.simplefilter("ignore", RuntimeWarning)
        model = AlternatingLeastSquares(
            factors=64, regularization=0.05, alpha=10, iterations=15, random_state=SEED,
            num_threads=1,
        )  # fmt: skip
    model.fit(matrix, show_progress=False)

    def scores(_row: int | None, columns: Mapping[int, int]) -> Any:
        if not columns:
            return np.zeros(matrix.shape[1])
        values = np.array([1.0 + log(count) for count in columns.values()], dtype=np.float32)
        places = (np.zeros(len(columns), dtype=int), list(columns))
        row = sparse.csr_matrix((values, places), shape=(1, matrix.shape[1]))
        return model.item_factors @ np.asarray(model.recalculate_user(0, row)).ravel()

    return scores


def bpr(matrix: Any) -> Callable[[int | None, Mapping[int, int]], Any]:
    """Bayesian personalised ranking; whom it was not fitted to has the mean of their items."""
    from implicit.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(
        factors=63, learning_rate=0.05, regularization=0.01, iterations=100,
        random_state=SEED, num_threads=1,
    )  # fmt: skip
    model.fit(matrix, show_progress=False)

    def scores(row: int | None, columns: Mapping[int, int]) -> Any:
        if row is not None:
            return model.item_factors @ model.user_factors[row]
        if not columns:
            return np.zeros(matrix.shape[1])
        return model.item_factors @ model.item_factors[list(columns)].mean(axis=0)

    return scores


def installed() -> list[str]:
    """The peers that can be asked here."""
    there = ["popularity", "item_knn", "v_sknn", "bought_together"]
    return [*there, *(name for name, package in NEEDS.items() if find_spec(package))]


def peer_of(name: str, task: Task) -> Ranker:
    """A peer by its name. Raises ImportError where its package is not installed."""
    fits: dict[str, Fit] = {"item_knn": item_knn(task.kind == "clicks"), "als": als, "bpr": bpr}
    if name in fits:
        return Fitted(fits[name], task)
    plain: dict[str, Callable[[], Ranker]] = {
        "popularity": Popularity,
        "v_sknn": SessionNeighbours,
        "bought_together": Together,
    }
    return plain[name]()
