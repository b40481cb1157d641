"""An answer: what to recommend to whom, of what can be offered, with some places drawn by lot.

Whatever is by chance is seeded by the answer's id, so that an answer can be made again.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from random import Random
from typing import Literal, NamedTuple

import xxhash

from ml_online.availability import Availability, Wanted
from ml_online.candidates import Candidate, Context, Reason
from ml_online.diversity import diversified
from ml_online.feedback import Feedback, answer_id
from ml_online.recommender import Recommender
from streams.events import ExploredSlot

Policy = Literal["mixed", "trending"]
MIXED: Policy = "mixed"
BEST = "best"
"""The arm that fills a place as it would be filled anyway."""

_MORE = 3  # candidates for each place of an answer that is to be diverse
_MOST_EXPLORED = 10
_OFFERED_NEW = 50  # of what is new in a category, among which the lot decides


class Asked(NamedTuple):
    """Whom an answer is for, and what is wanted of it. `unique` makes its id."""

    shop: str
    unique: str
    at: datetime
    person: str = ""
    session: Sequence[str] = ()
    placement: str = "api"
    policy: Policy = MIXED
    wanted: Wanted = Wanted()
    limit: int = 10
    exclude_bought: bool = False
    diversity: float = 0.0
    explore: float = 0.0


class Slate(NamedTuple):
    """An answer; `explored` are its places that were drawn by lot."""

    answer_id: str
    listed: Sequence[Candidate]
    explored: Sequence[ExploredSlot]


class Slates:
    """Makes answers of what the three learners know. It changes nothing in them."""

    def __init__(
        self, recommender: Recommender, availability: Availability, feedback: Feedback
    ) -> None:
        self._recommender = recommender
        self._availability = availability
        self._feedback = feedback

    def allowed(self, shop: str, wanted: Wanted) -> Callable[[str], bool]:
        """Whether a product can be offered and is as wanted. What was never listed has the category
        that it was seen in."""
        if not wanted.category:
            return self._availability.allowed(shop, wanted)
        within = self._availability.allowed(shop, wanted)
        besides = self._availability.allowed(shop, wanted._replace(category=""))
        category, listed = self._recommender.category, self._availability.attributes
        return lambda one: (
            within(one)
            or (
                not listed(shop, one)[0] and category(shop, one) == wanted.category and besides(one)
            )
        )

    def make(self, asked: Asked) -> Slate:
        """The answer to what is asked."""
        name = answer_id(asked.placement, asked.policy, asked.unique)
        allowed = self.allowed(asked.shop, asked.wanted)
        bought = asked.exclude_bought and asked.person
        excluded = set(self._recommender.bought(asked.shop, asked.person)) if bought else set()
        ranked = self._ranked(asked, allowed, excluded)
        listed = diversified(
            self._reranked(asked, ranked),
            asked.limit,
            asked.diversity,
            lambda one, other: self._recommender.alike(asked.shop, one, other),
        )
        if not asked.explore:
            return Slate(name, listed, ())
        return self._explored(name, asked, listed, allowed, excluded)

    def _ranked(
        self, asked: Asked, allowed: Callable[[str], bool], excluded: set[str]
    ) -> list[Candidate]:
        """The best first; where little is known, what trends; and then what is new."""
        most = asked.limit * (_MORE if asked.diversity > 0 else 1)
        shop, wanted = asked.shop, asked.wanted.category
        if asked.policy == "trending":
            return self._trending(shop, most, allowed, excluded, wanted)
        context = Context(shop, asked.person, asked.session, asked.at)
        found = self._recommender.recommend(context, most, allowed, excluded)
        known = [one for one in found if one.reason.kind != "new"]
        if len(known) < asked.limit and wanted:
            have = {*excluded, *(one.product_id for one in known)}
            left = asked.limit - len(known)
            more = self._trending(shop, left, allowed, have, wanted)
            known += [one._replace(score=0.0) for one in more]
        have = {one.product_id for one in known}
        return known + [one for one in found if one.product_id not in have]

    def _reranked(self, asked: Asked, ranked: list[Candidate]) -> list[Candidate]:
        """By what was clicked where they are going to be shown, as far as that is known."""
        reranker = self._feedback.reranker(asked.shop, asked.placement)
        if reranker is None or not reranker.strength or asked.policy != MIXED:
            return ranked
        context = Context(asked.shop, asked.person, asked.session, asked.at)
        products = [one.product_id for one in ranked]
        features = self._recommender.features_of(context, products)
        scores = reranker.moved([(one.score, of) for one, of in zip(ranked, features, strict=True)])
        moved = [one._replace(score=score) for one, score in zip(ranked, scores, strict=True)]
        return sorted(moved, key=lambda one: -one.score)  # equal ones as they were

    def _trending(
        self,
        shop: str,
        limit: int,
        allowed: Callable[[str], bool],
        excluded: set[str],
        category: str = "",
    ) -> list[Candidate]:
        return self._recommender.trending(
            shop, limit, lambda one: one not in excluded and allowed(one), category
        )

    # Places that are drawn by lot.

    def _explored(
        self,
        name: str,
        asked: Asked,
        listed: list[Candidate],
        allowed: Callable[[str], bool],
        excluded: set[str],
    ) -> Slate:
        seed = xxhash.xxh3_64_intdigest(name.encode())
        lots = Random(seed)  # noqa: S311  (nothing secret hangs on it)
        places = [place for place in range(len(listed)) if lots.random() < asked.explore]
        bandit, found = self._feedback.bandit(asked.shop), []
        for place in places[:_MOST_EXPLORED]:
            have = {*excluded, *(one.product_id for one in listed)}
            arms = {BEST: listed[place], **self._others(asked, allowed, have, lots)}
            if len(arms) < 2:
                continue
            features = self._features(asked, place)
            drawn = bandit.draw(list(arms), features, seed + place)
            listed[place] = arms[drawn.arm]
            products = {arm: one.product_id for arm, one in arms.items()}
            found.append(
                ExploredSlot(
                    position=place,
                    arm=drawn.arm,
                    products=products,
                    propensities=drawn.propensities,
                    features=features,
                )
            )
        return Slate(name, listed, found)

    def _others(
        self, asked: Asked, allowed: Callable[[str], bool], have: set[str], lots: Random
    ) -> dict[str, Candidate]:
        """What the other arms would put in a place, each something else."""
        shop, found = asked.shop, {}
        liked = asked.session[-1] if asked.session else self._latest(asked)

        def free(one: str) -> bool:
            return one not in have and allowed(one)

        def take(arm: str, candidates: Sequence[Candidate]) -> None:
            if candidates:
                found[arm] = candidates[0]
                have.add(candidates[0].product_id)

        category = self._recommender.category(shop, liked) if liked else ""
        fresh = self._recommender.newest(shop, category, _OFFERED_NEW, free)
        if fresh:
            take("new", [Candidate(lots.choice(fresh), 0.0, Reason("new", liked))])
        take("trending", self._recommender.trending(shop, 1, free))
        if category:
            take("category", self._recommender.trending(shop, 1, free, category))
        if liked:
            take("similar", self._recommender.similar_products(shop, liked, 1, free))
        return found

    def _latest(self, asked: Asked) -> str:
        bought = self._recommender.bought(asked.shop, asked.person) if asked.person else ()
        return next(reversed(list(bought)), "")

    def _features(self, asked: Asked, place: int) -> dict[str, float]:
        baskets = self._recommender.baskets(asked.shop, asked.person) if asked.person else 0
        return {
            "one": 1.0,
            "session": min(len(asked.session), 5) / 5,
            "baskets": min(baskets, 5) / 5,
            "place": place / asked.limit,
        }
