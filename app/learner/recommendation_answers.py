"""What the learner of the recommenders answers the API, from its models in memory."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from msgspec import Struct

from app.api import problems
from app.learner.answering import Answering
from app.learner.store import LearnerStore
from app.subscriptions import RECOMMENDERS
from ml_online.availability import AVAILABILITY, Availability, Wanted
from ml_online.candidates import Candidate
from ml_online.feedback import FEEDBACK, Feedback
from ml_online.models import Models
from ml_online.off_policy import Estimate, OffPolicy
from ml_online.recommender import RECOMMENDER, Recommender
from ml_online.slate import BEST, MIXED, Asked, Policy, Slates

_DIGITS = 6
_FEW = 30
"""Decisions, below which an interval is none: of five hits in five it would have no width."""
_encoder = msgspec.json.Encoder(enc_hook=lambda one: one.model_dump(mode="json"))  # CompleteTo


class Told(Struct, frozen=True, omit_defaults=True):
    """What is asked for, as the API sends it: for a person, a session (a visitor or a cart), or
    alike a product; for nobody, what trends. Prices in 1/10000."""

    shop: str
    unique: str = ""
    person: str = ""
    session: str = ""
    product: str = ""
    placement: str = "api"
    policy: Policy = MIXED
    category: str = ""
    least: int | None = None
    most: int | None = None
    limit: int = 10
    exclude_bought: bool = False
    diversity: float = 0.0
    explore: float = 0.0
    min_position: str = ""
    wait: float = 0.0

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.category, self.least, self.most)


def recommender_of(models: Models) -> Recommender:
    found = models.learners[RECOMMENDER.name]
    assert isinstance(found, Recommender)
    return found


def availability_of(models: Models) -> Availability:
    found = models.learners[AVAILABILITY.name]
    assert isinstance(found, Availability)
    return found


def feedback_of(models: Models) -> Feedback:
    found = models.learners[FEEDBACK.name]
    assert isinstance(found, Feedback)
    return found


def slates_of(models: Models) -> Slates:
    """Who makes answers of a group's models, which are others after a rebuild."""
    return Slates(recommender_of(models), availability_of(models), feedback_of(models))


def recommended(models: Models, told: Told, now: datetime) -> dict[str, Any]:
    """Products for a person or a session, with the answer's id."""
    slates = slates_of(models)
    session = recommender_of(models).session_of(told.shop, told.session) if told.session else ()
    made = slates.make(
        Asked(
            told.shop,
            told.unique,
            now,
            told.person,
            session,
            told.placement,
            told.policy,
            told.wanted,
            told.limit,
            told.exclude_bought,
            told.diversity,
            told.explore,
        )
    )
    drawn = {one.position: one.arm != BEST for one in made.explored}
    return {
        "shop": told.shop,
        "answer_id": made.answer_id,
        "placement": told.placement,
        "policy": told.policy,
        "known": {"session": len(session), "orders": _orders(models, told)},
        "products": [
            {**_shown(one, drawn.get(place)), "position": place, "explored": place in drawn}
            for place, one in enumerate(made.listed)
        ],
        "explored": made.explored,
    }


def _orders(models: Models, told: Told) -> int:
    return recommender_of(models).baskets(told.shop, told.person) if told.person else 0


def _shown(one: Candidate, elsewhere: bool | None = None) -> dict[str, Any]:
    """What another arm has put in its place has a score of its own, which compares with none."""
    reason = {"kind": one.reason.kind, "because": one.reason.because or None}
    score = None if elsewhere else round(one.score, _DIGITS)
    return {"product_id": one.product_id, "score": score, "reason": reason}


def _named(told: Told, listed: list[Candidate]) -> dict[str, Any]:
    """Without places drawn by lot: the answer is the same for all who ask."""
    name = f"{told.placement}.{told.policy}.{told.unique}"
    products = [{**_shown(one), "position": place} for place, one in enumerate(listed)]
    return {"shop": told.shop, "answer_id": name, "products": products}


def trending(models: Models, told: Told) -> dict[str, Any]:
    """What a shop's visitors turn to most of late."""
    allowed = slates_of(models).allowed(told.shop, told.wanted)
    found = recommender_of(models).trending(told.shop, told.limit, allowed, told.category)
    return _named(told, found)


def similar(models: Models, told: Told) -> dict[str, Any]:
    """Products alike another one."""
    allowed = slates_of(models).allowed(told.shop, told.wanted)
    found = recommender_of(models).similar_products(told.shop, told.product, told.limit, allowed)
    return {"product": told.product, **_named(told, found)}


def similar_persons(models: Models, told: Told) -> dict[str, Any]:
    """Persons alike another one."""
    found = recommender_of(models).similar_persons(told.shop, told.person, told.limit)
    rows = [{"customer": person, "score": round(score, _DIGITS)} for person, score in found]
    return {"shop": told.shop, "customer": told.person, "customers": rows}


def scores(models: Models, shop: str) -> dict[str, Any]:
    """How good the lists were, and how answers did."""
    figures = feedback_of(models).figures(shop)
    return {
        "shop": shop,
        "ranking": _rounded(recommender_of(models).scores(shop)),
        "placements": [{**one, **_rates(one)} for one in figures],
        "reranking": {
            name: _rounded(one) for name, one in feedback_of(models).reranked(shop).items()
        },
    }


def _rates(one: dict[str, Any]) -> dict[str, float | None]:
    """They may be more than 1 where answers are clicked on that nobody told as seen."""

    def share(of: str, by: str) -> float | None:
        return round(one[of] / one[by], _DIGITS) if one[by] else None

    return {
        "click_through": share("clicked", "viewed"),
        "click_rate": share("clicks", "impressions"),
        "conversion": share("orders", "viewed"),
    }


def _rounded(found: dict[str, Any]) -> dict[str, Any]:
    return {
        name: round(value, _DIGITS) if isinstance(value, float) else value
        for name, value in found.items()
    }


def policies(models: Models, shop: str, placement: str) -> dict[str, Any]:
    """What other policies would have brought."""
    found = feedback_of(models).policies(shop, placement)
    rows = [_policy(name, one) for name, one in found.items() if one is not None]
    return {"shop": shop, "placement": placement or None, "policies": rows}


def _policy(name: str, one: OffPolicy) -> dict[str, Any]:
    return {
        "policy": name,
        "decisions": one.decisions,
        "effective_decisions": round(one.effective, 1),
        "ips": _estimate(one.ips, one.decisions),
        "snips": _estimate(one.snips, one.decisions),
    }


def _estimate(one: Estimate, decisions: int) -> dict[str, float | None]:
    """Of few decisions nobody knows how far it may be off."""
    rounded = {name: round(value, _DIGITS) for name, value in one._asdict().items()}
    return rounded if decisions >= _FEW else {**rounded, "low": None, "high": None}


def create_recommendations(store: LearnerStore, partitions: int) -> FastAPI:
    """The recommenders' own small API, which only ours asks."""
    app = FastAPI(openapi_url=None)
    problems.install(app)
    answering = Answering(store, RECOMMENDERS, partitions)
    answering.digest(app)
    models = store.models
    family = RECOMMENDER

    def answered(found: dict[str, Any]) -> Response:
        told = answering.answer(family.name, family.version, **found)
        return Response(_encoder.encode(told), media_type="application/json")

    async def asked(request: Request) -> Told:
        told = msgspec.convert(dict(request.query_params), Told, strict=False)
        await answering.ready([told.min_position] if told.min_position else (), told.wait)
        return told

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"loaded": store.loaded, "learned": sum(models.next_offsets.values())}

    @app.get("/recommendations")
    async def get_recommendations(request: Request) -> Response:
        return answered(recommended(models, await asked(request), datetime.now(UTC)))

    @app.get("/trending")
    async def get_trending(request: Request) -> Response:
        return answered(trending(models, await asked(request)))

    @app.get("/similar-products")
    async def get_similar(request: Request) -> Response:
        return answered(similar(models, await asked(request)))

    @app.get("/similar-persons")
    async def get_similar_persons(request: Request) -> Response:
        return answered(similar_persons(models, await asked(request)))

    @app.get("/scores")
    async def get_scores(request: Request) -> Response:
        return answered(scores(models, (await asked(request)).shop))

    @app.get("/policies")
    async def get_policies(request: Request) -> Response:
        shop = (await asked(request)).shop
        return answered(policies(models, shop, request.query_params.get("placement", "")))

    return app
