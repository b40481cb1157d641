"""What became of recommendations: seen, clicked, bought; and what the explored places teach.

An answer names its placement and policy in its id, so that what comes back counts for them also
where the answer itself is not on the log. Of one that is, nothing counts that it did not have, and
no place teaches whose chances cannot be. A click counts once for each product of an answer; a
purchase counts for the answer that its line names, else for the one that last led the buyer to the
product within a week. What was drawn by lot and seen teaches the bandit: at once where it was
clicked, as a miss once half an hour has passed. Estimates of policies take both only then: sooner
there would be too many hits among them. A click without a view decides nothing: misses are known by
views alone, and clicks alone would be all hits. What was seen and clicked also teaches who re-ranks
a placement's candidates.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import xxhash
from msgspec import Struct, field, to_builtins

from ml_online.bandit import Bandit
from ml_online.family import ModelFamily
from ml_online.off_policy import Log, OffPolicy, could_be, estimate
from ml_online.recommender import RECOMMENDER, Context, Recommender
from ml_online.reranking import Reranker
from streams.codec import Fact
from streams.erased import is_erased
from streams.events import (
    Event,
    ExploredSlot,
    OrderCompleted,
    ProductAdded,
    ProductRemoved,
    RecommendationClicked,
    RecommendationsServed,
    RecommendationsViewed,
)

MOST_ANSWERS = 20_000
"""Of one shop, that may still be clicked on."""
MOST_LEADS = 50_000
"""Of one shop: who was led to which product by which answer."""
MOST_DECISIONS = 5_000
"""Of one shop: the latest places drawn by lot whose outcome is known."""
MOST_RERANKED = 16
"""Placements that have a re-ranking of their own; all further ones share another."""
MOST_POLICIES = 64
"""Pairs of placement and policy that are told apart."""
OTHER = "other"

_USUAL = "best"  # fills a place for which an arm has nothing
_LONGEST = 100  # products of an answer
_ALWAYS, _EVERY = 5_000, 10
"""So many products that were seen all teach who re-ranks a placement, then those of one answer of
so many: to know what spoke for them takes as long as an answer."""
_PATIENCE = 1_800.0  # seconds for a click
_LED = 7 * 86_400.0  # seconds in which a click or a place in the cart leads to a purchase
_COUNTS = ("served", "viewed", "clicked", "impressions", "clicks", "purchases", "orders")


def answer_id(placement: str, policy: str, unique: str) -> str:
    """An answer's id, which says of itself what it was for."""
    return f"{placement}.{policy}.{unique}"


def placed(told: str) -> tuple[str, str]:
    """The placement and policy that an id names."""
    placement, _, rest = told.partition(".")
    policy, dot, _ = rest.partition(".")
    return (placement, policy) if dot else (OTHER, OTHER)


class Decision(NamedTuple):
    """A place that was drawn by lot, and whether it was clicked on."""

    placement: str
    arm: str
    propensities: dict[str, float]
    features: dict[str, float]
    reward: float


class _Answer(Struct):
    """`listed` is what it had, as far as the log has told that; `hit` what was drawn by lot, seen
    and clicked on."""

    at: float
    viewed: list[str] = field(default_factory=list)
    clicked: list[str] = field(default_factory=list)
    explored: list[ExploredSlot] = field(default_factory=list)
    listed: list[str] | None = None
    hit: list[ExploredSlot] = field(default_factory=list)

    def had(self, product_id: str) -> bool:
        return self.listed is None or product_id in self.listed


class _Shop:
    def __init__(self) -> None:
        self.answers: OrderedDict[str, _Answer] = OrderedDict()
        self.leads: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self.figures: dict[tuple[str, str], dict[str, int]] = {}
        self.decisions: deque[Decision] = deque(maxlen=MOST_DECISIONS)
        self.logged = Log(MOST_DECISIONS)  # the same, as estimates need it
        self.bandit = Bandit()
        self.rerankers: dict[str, Reranker] = {}
        self.now = 0.0

    def count(self, told: str, name: str, number: int = 1) -> None:
        where = placed(told)
        if where not in self.figures and len(self.figures) >= MOST_POLICIES:
            where = OTHER, OTHER
        found = self.figures.setdefault(where, dict.fromkeys(_COUNTS, 0))
        found[name] += number

    def reranker(self, placement: str) -> Reranker:
        if placement not in self.rerankers and len(self.rerankers) >= MOST_RERANKED:
            placement = OTHER
        return self.rerankers.setdefault(placement, Reranker())

    def answer(self, told: str, at: float) -> _Answer:
        """What is known of an answer, whichever of its events comes first."""
        found = self.answers.get(told)
        if found is None:
            found = self.answers[told] = _Answer(at)
            if len(self.answers) > MOST_ANSWERS:
                self.settle(*self.answers.popitem(last=False))
        return found

    def settle(self, told: str, answer: _Answer) -> None:
        """It was there for long enough: what was seen and not clicked on is not going to be, and
        what was clicked on without a view is not judged."""
        for slot in answer.hit:
            self.decide(_decision(told, slot, 1.0))
        for slot in answer.explored:
            if slot.products.get(slot.arm) in answer.viewed:
                self.bandit.learn(slot.arm, slot.features, 0.0)
                self.decide(_decision(told, slot, 0.0))
        answer.hit, answer.explored = [], []

    def reward(self, answer: _Answer) -> None:
        """What was seen and clicked on, whichever was on the log first, is a hit."""
        left = []
        for slot in answer.explored:
            product_id = slot.products.get(slot.arm)
            if product_id in answer.clicked and product_id in answer.viewed:
                self.bandit.learn(slot.arm, slot.features, 1.0)
                answer.hit.append(slot)
            else:
                left.append(slot)
        answer.explored = left

    def decide(self, decision: Decision) -> None:
        self.decisions.append(decision)
        self.logged.add(decision.arm, decision.propensities, decision.reward)

    def lead(self, who: str | None, product_id: str, told: str, at: float) -> None:
        """Nobody's who was erased."""
        if not who or is_erased(who):
            return
        key = f"{who}\0{product_id}"
        self.leads[key] = told, at
        self.leads.move_to_end(key)
        if len(self.leads) > MOST_LEADS:
            self.leads.popitem(last=False)


class Feedback:
    """Implements `ml_online.family.Learner`."""

    def __init__(self, recommender: Recommender) -> None:
        self._recommender = recommender
        self._shops: dict[str, _Shop] = {}

    def learn(self, fact: Fact) -> None:
        """One answer, or what came of it."""
        data, event = fact.data, fact.event
        match data:
            case RecommendationsServed():
                self._served(self._at(event), data)
            case RecommendationsViewed():
                self._viewed(self._at(event), event, data)
            case RecommendationClicked():
                self._clicked(self._at(event), event, data)
            case ProductRemoved():
                pass
            case ProductAdded(recommendation_id=str(told)):
                shop = self._at(event)
                for who in (event.subject, event.person):
                    shop.lead(who, data.product_id, told, event.time.timestamp())
            case OrderCompleted():
                if event.shop in self._shops or any(one.recommendation_id for one in data.products):
                    self._ordered(self._at(event), event, data)
            case _:
                pass

    def _at(self, event: Event) -> _Shop:
        """The shop, with what is settled by then."""
        shop = self._shops.get(event.shop)
        if shop is None:
            shop = self._shops[event.shop] = _Shop()
        shop.now = max(shop.now, min(event.time, event.received_at).timestamp())
        while shop.answers:
            told, first = next(iter(shop.answers.items()))
            if shop.now - first.at <= _PATIENCE:
                break
            del shop.answers[told]
            shop.settle(told, first)
        return shop

    def _served(self, shop: _Shop, data: RecommendationsServed) -> None:
        shop.count(data.answer_id, "served")
        answer = shop.answer(data.answer_id, shop.now)
        answer.listed = list(data.products)
        places = {one.position: one for one in reversed(data.explored) if _is_possible(one)}
        answer.explored = [places[position] for position in sorted(places)]
        shop.reward(answer)

    def _viewed(self, shop: _Shop, event: Event, data: RecommendationsViewed) -> None:
        answer = shop.answer(data.answer_id, shop.now)
        had = [one for one in dict.fromkeys(data.products) if answer.had(one)]
        seen = [one for one in had if one not in answer.viewed]
        if had and not answer.viewed:
            shop.count(data.answer_id, "viewed")
            self._shown(shop, event, data.answer_id, had)
        seen = seen[: _LONGEST - len(answer.viewed)]
        shop.count(data.answer_id, "impressions", len(seen))
        answer.viewed += seen
        shop.reward(answer)

    def _shown(self, shop: _Shop, event: Event, told: str, products: Sequence[str]) -> None:
        """Has the placement's re-ranking wait for a click on what is seen first of an answer."""
        reranker = shop.reranker(placed(told)[0])
        if reranker.shown > _ALWAYS and not _is_drawn(told):
            return
        session = self._recommender.session_of(event.shop, event.subject)
        context = Context(event.shop, event.person or "", session, event.time)
        features = self._recommender.features_of(context, products)
        reranker.viewed(told, list(zip(products, features, strict=True)), shop.now)

    def _clicked(self, shop: _Shop, event: Event, data: RecommendationClicked) -> None:
        answer = shop.answer(data.answer_id, shop.now)
        if not answer.had(data.product_id):
            return
        at = event.time.timestamp()
        for who in (event.subject, event.person):
            shop.lead(who, data.product_id, data.answer_id, at)
        if data.product_id in answer.clicked or len(answer.clicked) >= _LONGEST:
            return
        if not answer.clicked:
            shop.count(data.answer_id, "clicked")
        shop.count(data.answer_id, "clicks")
        shop.reranker(placed(data.answer_id)[0]).clicked(data.answer_id, data.product_id)
        answer.clicked.append(data.product_id)
        shop.reward(answer)

    def _ordered(self, shop: _Shop, event: Event, data: OrderCompleted) -> None:
        visitor = event.context.visitor if event.context else None
        buyers = [who for who in (visitor, event.person, data.cart_id) if who]
        at, answers = event.time.timestamp(), set()
        for line in data.products:
            told = line.recommendation_id or self._led(shop, buyers, line.product_id, at)
            if told:
                shop.count(told, "purchases")
                if (where := placed(told)) not in answers:
                    answers.add(where)
                    shop.count(told, "orders")

    def _led(self, shop: _Shop, buyers: Sequence[str], product_id: str, at: float) -> str | None:
        found = (shop.leads.get(f"{who}\0{product_id}") for who in buyers)
        leads = [lead for lead in found if lead and abs(at - lead[1]) <= _LED]
        return max(leads, key=lambda lead: (lead[1], lead[0]))[0] if leads else None

    # What is asked.

    def bandit(self, shop: str) -> Bandit:
        """What was learned of the arms."""
        known = self._shops.get(shop)
        return known.bandit if known else Bandit()

    def reranker(self, shop: str, placement: str) -> Reranker | None:
        """Who moves a placement's candidates, once somebody has seen some."""
        known = self._shops.get(shop)
        return known.rerankers.get(placement, known.rerankers.get(OTHER)) if known else None

    def reranked(self, shop: str) -> dict[str, Any]:
        """By what each placement's candidates are moved, and how far."""
        known = self._shops.get(shop)
        return (
            {name: one.figures() for name, one in sorted(known.rerankers.items())} if known else {}
        )

    def figures(self, shop: str) -> list[dict[str, Any]]:
        """How answers did, by placement and policy."""
        known = self._shops.get(shop)
        rows = sorted(known.figures.items()) if known else []
        return [
            {"placement": placement, "policy": policy, **counts}
            for (placement, policy), counts in rows
        ]

    def policies(self, shop: str, placement: str = "") -> dict[str, OffPolicy | None]:
        """What always the same arm, all evenly, and the one that has acted would
        have brought: clicks for each place, by what was drawn by lot and seen of late."""
        known = self._shops.get(shop)
        if known is None:
            return {}
        counted = [one.placement == placement for one in known.decisions] if placement else None
        if not (known.decisions if counted is None else any(counted)):
            return {}
        told = known.logged.policies(_USUAL, counted)
        return {name: estimate(*weighed) for name, weighed in told.items()}

    # What is kept.

    def noticed(self) -> Sequence[Event]:
        return ()

    def state(self) -> Iterator[Any]:
        for name, shop in sorted(self._shops.items()):
            yield [name, "now", shop.now]
            for where, counts in sorted(shop.figures.items()):
                yield [name, "figures", [*where, counts]]
            for told, one in shop.answers.items():
                explored, hit = to_builtins((one.explored, one.hit))
                kept = [told, one.at, one.viewed, one.clicked, explored, one.listed, hit]
                yield [name, "answer", kept]
            for key, (told, at) in shop.leads.items():
                yield [name, "lead", [key, told, at]]
            for decision in shop.decisions:
                yield [name, "decision", list(decision)]
            for placement, reranker in sorted(shop.rerankers.items()):
                yield [name, "reranker", [placement, list(reranker.state())]]
            for row in shop.bandit.state():
                yield [name, "bandit", row]

    def restore(self, state: Iterable[Any]) -> None:
        self._shops = {}
        arms: dict[str, list[Any]] = {}
        for name, kind, row in state:
            shop = self._shops.setdefault(name, _Shop())
            match kind:
                case "now":
                    shop.now = float(row)
                case "figures":
                    placement, policy, counts = row
                    shop.figures[placement, policy] = dict(counts)
                case "answer":
                    told, at, viewed, clicked, explored, listed, hit = row
                    slots, hits = ([_slot(slot) for slot in slots] for slots in (explored, hit))
                    shop.answers[told] = _Answer(
                        at, list(viewed), list(clicked), slots, listed, hits
                    )
                case "lead":
                    key, told, at = row
                    shop.leads[key] = told, at
                case "decision":
                    shop.decide(Decision(*row))
                case "reranker":
                    placement, rows = row
                    shop.rerankers[placement] = Reranker()
                    shop.rerankers[placement].restore(rows)
                case _:
                    arms.setdefault(name, []).append(row)
        for name, drawn in arms.items():
            self._shops[name].bandit.restore(drawn)


def _decision(told: str, slot: ExploredSlot, reward: float) -> Decision:
    chances, features = dict(slot.propensities), dict(slot.features)
    return Decision(placed(told)[0], slot.arm, chances, features, reward)


def _is_drawn(told: str) -> bool:
    return xxhash.xxh3_64_intdigest(told.encode()) % _EVERY == 0


def _is_possible(slot: ExploredSlot) -> bool:
    return slot.arm in slot.products and could_be(slot.propensities, slot.arm)


def _slot(told: Mapping[str, Any]) -> ExploredSlot:
    return ExploredSlot(**{"features": {}, **told})


FEEDBACK = ModelFamily("recommendation_feedback", version=3, new=Feedback, of=(RECOMMENDER.name,))
