"""What to recommend: sessions that went alike, tastes, what goes together and what trends, mixed
by how well each has foretold what came. What an event teaches is in the next answer.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from heapq import nlargest
from itertools import islice
from math import log2
from typing import Any

from ml_online.candidates import Allowed, Candidate, Context, Reason, ShopCandidates
from ml_online.family import ModelFamily
from ml_online.mixture import total_of
from ml_online.ranking_scores import LENGTH, RankingScores
from streams.codec import Fact
from streams.erased import is_erased
from streams.events import (
    Event,
    OrderCompleted,
    ProductAdded,
    ProductClicked,
    ProductDelisted,
    ProductListed,
    ProductViewed,
)

__all__ = ["RECOMMENDER", "Candidate", "Context", "Reason", "Recommender"]

MOST_ALIASES = 200_000
_VIEW, _ADD, _ORDER = 1.0, 3.0, 5.0  # how much more an order says of what trends
_LOOKED_AT = 2_000  # of what is new: few of them may be allowed
_ALWAYS, _EVERY = 2_000, 20
"""So many outcomes of a shop are all scored, then one of so many: an answer takes its time."""


class _Shop:
    def __init__(self) -> None:
        self.candidates = ShopCandidates()
        self.scores = RankingScores()
        self.aliases: OrderedDict[str, str] = OrderedDict()  # visitors' persons, carts' visitors
        self.came = 0

    def alias(self, old: str, name: str) -> None:
        if self.aliases.get(old) == name:
            return
        self.aliases[old] = name
        self.aliases.move_to_end(old)
        if len(self.aliases) > MOST_ALIASES:
            self.aliases.popitem(last=False)

    def known_as(self, context: Context) -> Context:
        """The same, with the person whom a visitor has turned out to be."""
        return context._replace(person=self.aliases.get(context.person, context.person))


class Recommender:
    """Implements `ml_online.family.Learner`."""

    def __init__(self) -> None:
        self._shops: dict[str, _Shop] = {}

    # What is learned.

    def learn(self, fact: Fact) -> None:
        """One product that was turned to, an order, or what is listed."""
        data, event = fact.data, fact.event
        if isinstance(data, ProductViewed | ProductClicked | ProductAdded):
            self._turned(event, data)
        elif isinstance(data, OrderCompleted):
            self._ordered(event, data)
        elif isinstance(data, ProductListed):
            self._shop(event.shop).candidates.enlist(data.product_id, data.category)
        elif isinstance(data, ProductDelisted):
            self._shop(event.shop).candidates.delist(data.product_id)

    def _shop(self, name: str) -> _Shop:
        shop = self._shops.get(name)
        if shop is None:
            shop = self._shops[name] = _Shop()
        return shop

    def _turned(self, event: Event, data: ProductViewed | ProductClicked | ProductAdded) -> None:
        if event.context is not None and event.context.bot:
            return
        shop, at = self._shop(event.shop), event.time.timestamp()
        known = shop.candidates
        key = event.subject
        if isinstance(data, ProductAdded):
            visitor = event.context.visitor if event.context is not None else None
            if visitor and not is_erased(visitor):
                shop.alias(key, visitor)
            key = shop.aliases.get(key, key)
        person = self._person(shop, event, key)
        session = known.sessions.session_of(key, at)
        product_id = data.product_id
        if data.category and not known.category.get(product_id):
            known.enlist(product_id, data.category)
        viewed = isinstance(data, ProductViewed)
        # Who clicks on a product or adds it to the cart has turned to it already.
        if viewed or not session or session[-1] != product_id:
            if session:
                self._score(shop, Context(event.shop, person, session, event.time), [product_id])
            known.step(key, product_id, at)
        known.attend(product_id, at, _ADD if isinstance(data, ProductAdded) else _VIEW)

    def _ordered(self, event: Event, data: OrderCompleted) -> None:
        shop, at = self._shop(event.shop), event.time.timestamp()
        visitor = event.context.visitor if event.context and event.context.visitor else ""
        person = self._person(shop, event, visitor)
        basket = list(dict.fromkeys(line.product_id for line in data.products))
        known = shop.candidates
        if known.tastes.baskets(person):
            self._score(shop, Context(event.shop, person, (), event.time), basket)
        known.buy(person, basket, at)
        for product_id in basket:
            known.attend(product_id, at, _ORDER)

    def _person(self, shop: _Shop, event: Event, visitor: str) -> str:
        """Who it was. What a visitor bought before they said who they are is theirs, too. Whoever
        was erased is nobody, and so is the visitor whom they were."""
        if is_erased(event.person) or (event.person is None and is_erased(visitor)):
            return ""
        if event.person is None:
            return shop.aliases.get(visitor, visitor)
        if is_erased(visitor):
            return event.person
        if visitor and visitor != event.person and shop.aliases.get(visitor) != event.person:
            shop.alias(visitor, event.person)
            shop.candidates.merge(visitor, event.person)
        return event.person

    def _score(self, shop: _Shop, context: Context, came: Sequence[str]) -> None:
        """Holds what would have been recommended to what came, and learns whom to believe."""
        shop.came += 1
        if shop.came > _ALWAYS and shop.came % _EVERY:
            return
        known = shop.candidates
        situation, found, mixed = known.asked(context)
        listed = [product_id for product_id, _ in nlargest(LENGTH, mixed.items(), key=_weight)]
        known.mixture.learn(situation, found, mixed, came)
        shop.scores.note(listed, came, self._novelty(known, listed))

    def _novelty(self, known: ShopCandidates, listed: Sequence[str]) -> float:
        """Mean surprise in bits, by what was turned to of late."""
        weights = known.popular.weights
        total = known.popular.total or 1.0
        if not listed:
            return 0.0
        bits = (-log2(max(weights.get(one, 0.0) / total, 1e-9)) for one in listed)
        return sum(bits) / len(listed)

    # What is asked.

    def recommend(
        self,
        context: Context,
        limit: int,
        allowed: Allowed | None = None,
        excluded: Collection[str] = (),
    ) -> list[Candidate]:
        """The likeliest to come next, best first; what is new, where there is nothing better.

        `allowed` is asked about every candidate before the list is cut.
        """
        shop = self._shops.get(context.shop)
        if shop is None or limit < 1:
            return []
        known, context = shop.candidates, shop.known_as(context)
        situation, found, mixed = known.asked(context)
        weights = known.mixture.weights(situation)
        shares = {
            source: weights[source] / total
            for source, scores in found.items()
            if (total := total_of(scores))
        }

        def candidate(product_id: str, score: float) -> Candidate:
            said = ((found[one].get(product_id, 0.0) * shares[one], one) for one in shares)
            source = max(said)[1]
            if source in (
                "together",
                "neighbours",
                "factors",
                "trending",
            ) and product_id in found.get("own", ()):
                source = "own"  # what goes with it may be true as well, and says less
            return Candidate(product_id, score, known.reason(context, product_id, source))

        chosen = _best(mixed, limit, allowed, excluded)
        listed = [candidate(product_id, score) for product_id, score in chosen]
        if len(listed) < limit:
            have = {*excluded, *(one.product_id for one in listed)}
            listed += self._new(known, limit - len(listed), allowed, have)
        return listed

    def _new(
        self, known: ShopCandidates, limit: int, allowed: Allowed | None, have: Collection[str]
    ) -> list[Candidate]:
        """What was listed last."""
        fresh = (
            one
            for one in islice(reversed(known.category), _LOOKED_AT)
            if one not in have and (allowed is None or allowed(one))
        )
        return [Candidate(one, 0.0, Reason("new")) for one in islice(fresh, limit)]

    def session_of(self, shop: str, session_id: str) -> Sequence[str]:
        """What the latest session of a visitor, or of a cart, has had; the latest last."""
        known = self._shops.get(shop)
        if known is None:
            return ()
        sessions = known.candidates.sessions
        return sessions.session_of(session_id) or sessions.session_of(
            known.aliases.get(session_id, session_id)
        )

    def similar_products(
        self, shop: str, product_id: str, limit: int, allowed: Allowed | None = None
    ) -> list[Candidate]:
        """Alike by who looks at them and who buys them."""
        known = self._shops.get(shop)
        if known is None:
            return []
        views, bought = known.candidates.alike(product_id)
        mixed: dict[str, float] = {}
        for scores in (views, bought):
            total = total_of(scores)
            for other, score in scores.items() if total else ():
                mixed[other] = mixed.get(other, 0.0) + score / total / 2
        kind = Reason("similar", product_id)
        return [
            Candidate(other, score, kind)
            for other, score in _best(mixed, limit, allowed, (product_id,))
        ]

    def similar_persons(self, shop: str, person: str, limit: int) -> list[tuple[str, float]]:
        """Who has bought the same, most alike first, relative to the first of them."""
        known = self._shops.get(shop)
        found = known.candidates.tastes.alike(person, limit) if known else []
        most = (found[0][1] if found else 0.0) or 1.0
        return [(other, similarity / most) for other, similarity in found]

    def trending(
        self, shop: str, limit: int, allowed: Allowed | None = None, category: str = ""
    ) -> list[Candidate]:
        """What is turned to most of late, relative to the first of them."""
        known = self._shops.get(shop)
        if known is None:
            return []
        one = known.candidates
        fading = one.of_category.get(category) if category else one.popular
        if fading is None:
            return []
        found = dict(fading.top(max(limit, 300)))
        chosen = _best(found, limit, allowed, ())
        if len(chosen) < limit and len(found) < len(fading.weights):
            chosen = _best(fading.weights, limit, allowed, ())
        reason = Reason("category") if category else Reason("trending")
        most = (chosen[0][1] if chosen else 0.0) or 1.0
        return [Candidate(name, weight / most, reason) for name, weight in chosen]

    def scores(self, shop: str) -> dict[str, Any]:
        """How good the recommendations were, each asked for before what came was learned."""
        known = self._shops.get(shop) or _Shop()
        products = len(known.candidates.popular.weights)
        return known.scores.figures(products) | {"scored_of": known.came}

    def newest(self, shop: str, category: str, limit: int, allowed: Allowed) -> list[str]:
        """What was listed last, of a category where one is named."""
        known = self._shops.get(shop)
        listed = islice(reversed(known.candidates.category.items()), _LOOKED_AT) if known else ()
        found = (one for one, within in listed if category in ("", within) and allowed(one))
        return list(islice(found, limit))

    def bought(self, shop: str, person: str) -> Collection[str]:
        """What they have bought."""
        known = self._shops.get(shop)
        return known.candidates.tastes.own(person).keys() if known else ()

    def baskets(self, shop: str, person: str) -> int:
        """How often they have bought."""
        known = self._shops.get(shop)
        return known.candidates.tastes.baskets(person) if known else 0

    def category(self, shop: str, product_id: str) -> str:
        """As it was listed, or seen; empty where it is not known."""
        known = self._shops.get(shop)
        return known.candidates.category.get(product_id, "") if known else ""

    def alike(self, shop: str, one: str, other: str) -> float:
        """How alike two products are, from 0 to 1: half by their category, half by whether they are
        bought together."""
        known = self._shops.get(shop)
        return known.candidates.likeness(one, other) if known else 0.0

    def features(self, context: Context, product_id: str) -> dict[str, float]:
        """What each source says of a product, from 0 to 1, and how popular it is."""
        return self.features_of(context, [product_id])[0]

    def features_of(self, context: Context, products: Sequence[str]) -> list[dict[str, float]]:
        """The features of several products, for little more than those of one."""
        shop = self._shops.get(context.shop) or _Shop()
        return shop.candidates.features(shop.known_as(context), products)

    # What is kept.

    def noticed(self) -> Sequence[Event]:
        return ()

    def state(self) -> Iterator[Any]:
        for name, shop in sorted(self._shops.items()):
            yield [name, "came", shop.came]
            for row in shop.candidates.state():
                yield [name, "candidates", row]
            for row in shop.scores.state():
                yield [name, "scores", row]
            for pair in shop.aliases.items():
                yield [name, "aliases", pair]

    def restore(self, state: Iterable[Any]) -> None:
        self._shops = {}
        kept: dict[str, dict[str, list[Any]]] = {}
        for name, kind, row in state:
            kept.setdefault(name, {}).setdefault(kind, []).append(row)
        for name, rows in kept.items():
            shop = self._shops[name] = _Shop()
            (shop.came,) = rows["came"]
            shop.candidates.restore(rows["candidates"])
            shop.scores.restore(rows["scores"])
            shop.aliases.update((old, new) for old, new in rows.get("aliases", ()))


def _best(
    scores: Mapping[str, float], limit: int, allowed: Allowed | None, excluded: Collection[str]
) -> list[tuple[str, float]]:
    """The highest of all that are allowed: in a few goes, since most often most of them are."""
    asked, taken = 2 * limit + len(excluded), 0
    chosen: list[tuple[str, float]] = []
    while taken < len(scores) and len(chosen) < limit:
        ranked = nlargest(asked, scores.items(), key=_weight)
        for product_id, score in ranked[taken:]:
            if product_id not in excluded and (allowed is None or allowed(product_id)):
                chosen.append((product_id, score))
                if len(chosen) == limit:
                    break
        taken, asked = len(ranked), 8 * asked
    return chosen


def _weight(item: tuple[str, float]) -> tuple[float, str]:
    return item[1], item[0]


RECOMMENDER = ModelFamily("recommender", version=2, new=Recommender)
