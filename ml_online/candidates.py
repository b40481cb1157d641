"""All that one shop's events tell of what to recommend, as sources of scored candidates."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from heapq import nlargest
from math import exp, sqrt
from typing import Any, Literal, NamedTuple

from ml_online.factors import Factors
from ml_online.fading import Fading
from ml_online.followers import Followers
from ml_online.mixture import Mixture
from ml_online.session_index import SessionIndex
from ml_online.tastes import Tastes

ReasonKind = Literal[
    "session", "history", "bought_together", "similar", "trending", "category", "new"
]
Allowed = Callable[[str], bool]
Scores = Mapping[str, float]

MOST_LISTED = 200_000
MOST_CATEGORIES = 1_000
MOST_FACTORED = 12
"""And so many that are learned by the factors."""
MOST_LINES = 40
"""Products of one order that count for what goes together."""
_DAY = 86_400.0
_TREND = 3 * _DAY
_MEMORY = 90 * _DAY
_TOP = 300
_OF_CATEGORY = 50
_BEFORE = 8  # products of a session that the next one follows
_ASKED = 3  # and that are asked what follows them
_PRIOR_PAIRS = 3.0
_FACTORED = 200

SOURCES = (
    "session",
    "again",
    "next",
    "own",
    "together",
    "neighbours",
    "factors",
    "category",
    "trending",
)


class Reason(NamedTuple):
    """Why a product is recommended, and because of which other one, if of one."""

    kind: ReasonKind
    because: str = ""


class Candidate(NamedTuple):
    """A product to recommend. Scores compare within one answer only."""

    product_id: str
    score: float
    reason: Reason


class Context(NamedTuple):
    """Whom it is for: `session` is what they have looked at just now, the latest last. A person may
    be named by what they were called as a visitor."""

    shop: str
    person: str = ""
    session: Sequence[str] = ()
    at: datetime = datetime(1970, 1, 1, tzinfo=UTC)


class Asked(NamedTuple):
    """What all sources say in a situation, and what that comes to."""

    situation: str
    found: dict[str, Scores]
    mixed: dict[str, float]


class ShopCandidates:
    """What is learned of one shop, and asked. Times are seconds since 1970."""

    def __init__(self) -> None:
        self.sessions = SessionIndex()
        self.next = Followers(_MEMORY)
        self.tastes = Tastes()
        self.together = Followers(_MEMORY)
        self.factors = Factors()
        self.bought = Fading(_MEMORY, MOST_LISTED, _TOP)
        self.popular = Fading(_TREND, MOST_LISTED, _TOP)
        self.of_category: OrderedDict[str, Fading] = OrderedDict()
        self.category: OrderedDict[str, str] = OrderedDict()  # of each listed product, latest last
        self.mixture = Mixture(SOURCES)

    # What is learned.

    def enlist(self, product_id: str, category: str | None) -> None:
        """A product is for sale, in a category."""
        self.category[product_id] = category or self.category.get(product_id, "")
        self.category.move_to_end(product_id)
        if len(self.category) > MOST_LISTED:
            self.category.popitem(last=False)

    def delist(self, product_id: str) -> None:
        """A product is for sale no more."""
        self.category.pop(product_id, None)

    def attend(self, product_id: str, at: float, amount: float) -> None:
        """Somebody turned to a product: it trends, in the shop and in its category."""
        self.popular.add(product_id, at, amount)
        if category := self.category.get(product_id):
            fading = self.of_category.get(category)
            if fading is None:
                fading = self.of_category[category] = Fading(_TREND, 4 * _OF_CATEGORY, _OF_CATEGORY)
                if len(self.of_category) > MOST_CATEGORIES:
                    self.of_category.popitem(last=False)
            else:
                self.of_category.move_to_end(category)
            fading.add(product_id, at, amount)

    def step(self, key: str, product_id: str, at: float) -> None:
        """The next product of a session."""
        earlier = self.sessions.session_of(key, at)
        if earlier:
            one = self.next.one(at)
            last = enumerate(reversed(earlier[-_BEFORE:]), 1)
            self.next.follow(product_id, [(other, one / far) for far, other in last])
        self.sessions.seen(key, product_id, at)

    def buy(self, person: str, basket: Sequence[str], at: float) -> None:
        """A basket of different products; without a person nobody's taste."""
        counted = basket[:MOST_LINES]
        self.together.together(counted, self.together.one(at))
        for product_id in counted:
            self.bought.add(product_id, at)
        if person:
            self.tastes.bought(person, basket, at)
            self.factors.learn(person, basket[:MOST_FACTORED])

    def merge(self, old: str, person: str) -> None:
        """They are one person."""
        self.tastes.merge(old, person)
        self.factors.merge(old, person)

    # What is asked.

    def situation(self, context: Context) -> str:
        """What the sources' weights depend on."""
        return f"{min(4, len(context.session))}/{min(3, self.tastes.baskets(context.person))}"

    def sources(self, context: Context) -> dict[str, Scores]:
        """What each source says, those that say nothing left out."""
        session, person = context.session, context.person
        at = context.at.timestamp()
        found: dict[str, Scores] = {}
        liked = self.tastes.heaviest(person) if person else []
        if session:
            latest = list(dict.fromkeys(reversed(session)))
            found["session"] = self.sessions.scores(session, at)
            found["again"] = {one: exp(-far / 2) for far, one in enumerate(latest[:20])}
            found["next"] = self._next(latest[:_ASKED])
            found["category"] = self._of_category(session[-1])
            liked = liked or [(one, exp(-far / 2)) for far, one in enumerate(latest[:10])]
        if person:
            found["own"] = self.tastes.own(person)
            found["neighbours"] = self.tastes.of_neighbours(person)
        found["together"] = self._together(liked)
        found["trending"] = dict(self.popular.top(_TOP))
        return {source: scores for source, scores in found.items() if scores}

    def asked(self, context: Context) -> Asked:
        """All sources and their mixture. The factors are asked about the best of the others."""
        situation, found = self.situation(context), self.sources(context)
        mixed = self.mixture.mix(situation, found)
        best = nlargest(_FACTORED, mixed, key=mixed.__getitem__) if context.person else []
        if likely := self.factors.scores(context.person, best):
            found["factors"] = likely
            for product_id, score in self.mixture.mix(situation, {"factors": likely}).items():
                mixed[product_id] += score
        return Asked(situation, found, mixed)

    def _next(self, latest: Sequence[str]) -> dict[str, float]:
        found: dict[str, float] = {}
        for far, product_id in enumerate(latest):
            for other, weight in self.next.of(product_id).items():
                found[other] = found.get(other, 0.0) + weight * 0.4**far
        return found

    def _of_category(self, product_id: str) -> dict[str, float]:
        fading = self.of_category.get(self.category.get(product_id, ""))
        return dict(fading.top(_OF_CATEGORY)) if fading else {}

    def _together(self, liked: Iterable[tuple[str, float]]) -> dict[str, float]:
        """Cosines of what goes with what is liked, drawn to zero where few orders speak for it."""
        found: dict[str, float] = {}
        known, sold = found.get, self.bought.weights
        prior = _PRIOR_PAIRS * self.together.latest
        for product_id, weight in liked:
            own = sold.get(product_id)
            if not own:
                continue
            for other, pair in self.together.of(product_id).items():
                if of_other := sold.get(other):
                    alike = pair / (sqrt(own) * sqrt(of_other)) * pair / (pair + prior)
                    found[other] = known(other, 0.0) + weight * alike
        return found

    def alike(self, product_id: str) -> tuple[Scores, Scores]:
        """Products in sessions with a product, and in orders with it."""
        views = self.sessions.scores([product_id], self.sessions.now)
        together = self._together([(product_id, 1.0)])
        return _without(views, product_id), together

    def likeness(self, one: str, other: str) -> float:
        """How alike two products are, from 0 to 1."""
        category, sold = self.category.get(one), self.bought.weights
        same = bool(category) and category == self.category.get(other)
        pair = self.together.of(one).get(other)
        near = 0.0
        if pair and one in sold and other in sold:  # the roots one by one: a product may be 0
            near = min(1.0, pair / (sqrt(sold[one]) * sqrt(sold[other])))
        return 0.5 * same + 0.5 * near

    def features(self, context: Context, products: Sequence[str]) -> list[dict[str, float]]:
        """What each source says of each product, as a share of what it says of its first; and how
        much the product is turned to."""
        rows = [dict.fromkeys(SOURCES, 0.0) for _ in products]
        for source, scores in self.asked(context).found.items():
            most = max(scores.values())
            for row, product_id in zip(rows, products, strict=True):
                row[source] = scores.get(product_id, 0.0) / most if most > 0 else 0.0
        most = max((weight for _, weight in self.popular.top(1)), default=0.0) or 1.0
        for row, product_id in zip(rows, products, strict=True):
            row["popularity"] = self.popular.weights.get(product_id, 0.0) / most
        return rows

    def reason(self, context: Context, product_id: str, source: str) -> Reason:
        """In what a source's candidate is founded."""
        if source in ("session", "again", "next"):
            return Reason("session", self._led_to(context.session, product_id))
        if source == "own":
            return Reason("history", product_id)
        if source == "together":
            liked = [one for one, _ in self.tastes.heaviest(context.person)]
            liked = liked or list(reversed(context.session))
            weights = ((self.together.of(one).get(product_id, 0.0), one) for one in liked)
            return Reason("bought_together", max(weights, default=(0.0, ""))[1])
        if source in ("neighbours", "factors"):
            return Reason("similar")
        if source == "category":
            return Reason("category", context.session[-1])
        return Reason("trending")

    def _led_to(self, session: Sequence[str], product_id: str) -> str:
        latest = list(dict.fromkeys(reversed(session)))[:_BEFORE]
        best = max(latest, key=lambda one: self.next.of(one).get(product_id, 0.0), default="")
        return best if self.next.of(best).get(product_id) else latest[0] if latest else ""

    # What is kept.

    def parts(self) -> Mapping[str, Any]:
        """All that has a state of its own, by name."""
        return {
            "sessions": self.sessions,
            "next": self.next,
            "tastes": self.tastes,
            "together": self.together,
            "factors": self.factors,
            "bought": self.bought,
            "popular": self.popular,
            "mixture": self.mixture,
        }

    def state(self) -> Iterator[Any]:
        for name, part in self.parts().items():
            for row in part.state():
                yield [name, row]
        for product_id, category in self.category.items():
            yield ["listed", [product_id, category]]
        for category, fading in self.of_category.items():
            yield ["category", [category, list(fading.state())]]

    def restore(self, state: Iterable[Any]) -> None:
        rows: dict[str, list[Any]] = {}
        for name, row in state:
            rows.setdefault(name, []).append(row)
        for name, part in self.parts().items():
            part.restore(rows.get(name, []))
        for product_id, category in rows.get("listed", ()):
            self.category[product_id] = category
        for category, kept in rows.get("category", ()):
            fading = self.of_category[category] = Fading(_TREND, 4 * _OF_CATEGORY, _OF_CATEGORY)
            fading.restore(kept)


def _without(scores: Scores, product_id: str) -> Scores:
    return {one: score for one, score in scores.items() if one != product_id}
