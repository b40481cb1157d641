"""`/v1/recommendations`, and what is alike: what the recommenders answer, passed on."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import orjson
import uuid_utils
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import access
from app.api.access import Actor, Role
from app.api.amounts import Amount
from app.api.completeness import Figures, MinPosition, Wait, parse_positions
from app.api.customers import CustomerId, Whoever, seen_by, without_erased
from app.api.forecasts import AWAY, Shop
from app.api.problems import Problem, known_parameters
from app.api.served import Served
from app.exposures import Exposures
from app.learner.client import LearnerClient
from app.queries.experiments import Running
from app.settings import Settings
from app.subscriptions import RECOMMENDERS
from ml_online.experiments import Experiment, arm
from projections.postgres import AWAY as AWAY_ERRORS
from streams import codec
from streams.events import (
    Context,
    Event,
    ExperimentArm,
    ExploredSlot,
    RecommendationsServed,
)

router = APIRouter(tags=["recommendations"])
_KNOWN = [Depends(known_parameters)]  # where they are told one by one: models refuse others

_NO_NUL = r"^[^\x00]*$"
_PLACE = r"^[A-Za-z0-9_-]+$"
MOST = 50

# What is asked for may come to stand on the log, and addresses are not to.
Subject = Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[^\x00@]+$")]
ProductId = Annotated[str, Path(max_length=128, pattern=_NO_NUL)]
Anyone = Annotated[Actor, Depends(access.ANYONE)]
Visitor = Annotated[Actor, Depends(access.VISITORS)]
Staff = Annotated[Actor, Depends(access.FIGURES)]
Policy = Literal["mixed", "trending"]
MIXED: Policy = "mixed"
FLAG = "recommender"
"""Experiments over this flag are of recommendations: an arm's value is a policy."""


class Filters(BaseModel):
    """Which products may be in an answer: those alone that can be bought now."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shop: Shop = "main"
    category: Annotated[
        str, Field(max_length=128, pattern=_NO_NUL, description="it and all within it")
    ] = ""
    min_price: Amount | None = None
    max_price: Amount | None = None
    limit: Annotated[int, Field(ge=1, le=MOST)] = 10
    placement: Annotated[
        str,
        Field(
            min_length=1,
            max_length=32,
            pattern=_PLACE,
            description="where it is shown, such as `home`: its figures are told by it",
        ),
    ] = "api"
    min_position: MinPosition = []
    wait: Wait = 2.0


class Wishes(Filters):
    """What is wanted of an answer for somebody."""

    policy: Annotated[
        Policy | None,
        Field(description="unset: as an experiment over the flag `recommender` says, else mixed"),
    ] = None
    exclude_bought: bool = False
    diversity: Annotated[
        float,
        Field(ge=0, le=1, description="0: the likeliest; more: less of one kind (MMR)"),
    ] = 0.2
    explore: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="share of places drawn by lot, for staff and storefronts; unset: as the "
            "settings say",
        ),
    ] = None


class WishesOfCustomer(Wishes):
    """The same of somebody who is known, and may be in a session."""

    visitor: Annotated[
        str,
        Field(max_length=128, pattern=r"^[^\x00@]*$", description="whose session counts besides"),
    ] = ""


Filtered = Annotated[Filters, Query()]
Wished = Annotated[Wishes, Query()]


@router.get("/v1/recommendations/trending", operation_id="recommendations_trending", responses=AWAY)
async def recommendations_trending(request: Request, _actor: Anyone, filters: Filtered) -> Response:
    """What visitors turn to most of late, relative to the first; of a category, where one is
    asked for."""
    return await _ask(request, "/trending", filters)


@router.get(
    "/v1/recommendations/session/{session_id}",
    operation_id="recommendations_session",
    responses=AWAY,
)
async def recommendations_session(
    request: Request, actor: Visitor, session_id: Subject, wishes: Wished
) -> Response:
    """What is likely to come next in a session, by the id of its visitor or of its cart.

    Every event of the session is in the next answer. Each product says why it is there: `because`
    of which other one. Tell `RecommendationsViewed` and `RecommendationClicked` with the
    `answer_id`, and name it as `recommendation_id` on lines of carts and orders.
    """
    return await _made(request, actor, wishes, session=session_id)


@router.get(
    "/v1/recommendations/scores",
    operation_id="recommendations_scores",
    dependencies=_KNOWN,
    responses=AWAY,
)
async def recommendations_scores(
    request: Request,
    _actor: Staff,
    shop: Shop = "main",
    min_position: MinPosition = [],  # noqa: B006  (FastAPI copies it)
    wait: Wait = 2.0,
) -> Response:
    """How good recommendations are: what was listed against what came next, each list asked for
    before that was learned; and what became of answers, by placement and policy."""
    return await _figures(request, "/scores", shop, min_position, wait)


@router.get(
    "/v1/recommendations/policies",
    operation_id="recommendations_policies",
    dependencies=_KNOWN,
    responses=AWAY,
)
async def recommendations_policies(
    request: Request,
    _actor: Staff,
    shop: Shop = "main",
    placement: Annotated[str, Query(max_length=32, pattern=_NO_NUL)] = "",
    min_position: MinPosition = [],  # noqa: B006
    wait: Wait = 2.0,
) -> Response:
    """What other policies would have brought: clicks for each place drawn by lot and seen, of the
    latest 5,000, by inverse propensity (IPS) and self-normalised (SNIPS), with 95 % intervals."""
    return await _figures(request, "/policies", shop, min_position, wait, placement=placement)


@router.get(
    "/v1/recommendations/{customer_id}",
    operation_id="recommendations_customer",
    responses=AWAY,
)
async def recommendations_customer(
    request: Request,
    actor: Whoever,
    customer_id: CustomerId,
    wishes: Annotated[WishesOfCustomer, Query()],
) -> Response:
    """What a customer is likely to want, by what they and others have bought and looked at.

    Of whom nothing is known the answer is what trends, in the category that is asked for; and what
    is new.
    """
    person = seen_by(request, actor, wishes.shop, customer_id)
    return await _made(request, actor, wishes, person=person, session=wishes.visitor)


@router.get(
    "/v1/products/{product_id:path}/similar", operation_id="products_similar", responses=AWAY
)
async def products_similar(
    request: Request, _actor: Anyone, product_id: ProductId, filters: Filtered
) -> Response:
    """Products that are looked at in the same sessions and bought by the same persons."""
    return await _ask(request, "/similar-products", filters, product=product_id)


@router.get(
    "/v1/customers/{customer_id}/similar",
    operation_id="customers_similar",
    dependencies=_KNOWN,
    responses=AWAY,
)
async def customers_similar(
    request: Request,
    actor: Staff,
    customer_id: CustomerId,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 10,
    shop: Shop = "main",
    min_position: MinPosition = [],  # noqa: B006
    wait: Wait = 2.0,
) -> Response:
    """Customers who buy the same, by their pseudonyms; most alike first, relative to the first."""
    person = seen_by(request, actor, shop, customer_id)
    answer = await _figures(
        request, "/similar-persons", shop, min_position, wait, person=person, limit=limit
    )
    return without_erased(request, shop, answer)


# Asking.


async def _in_the_log(request: Request, min_position: list[str], wait: float) -> str:
    if not min_position:
        return ""
    settings: Settings = request.app.state.settings
    figures: Figures = request.app.state.figures
    found = await figures.in_the_log(RECOMMENDERS, min_position, wait)
    parse_positions(RECOMMENDERS, found, settings.partitions)
    return ",".join(found)


async def _figures(
    request: Request, path: str, shop: str, min_position: list[str], wait: float, **more: Any
) -> Response:
    recommender: LearnerClient = request.app.state.recommender
    places = await _in_the_log(request, min_position, wait)
    asked = {"shop": shop, "min_position": places, "wait": wait, **more}
    return await recommender.ask(path, asked, wait)


async def _ask(request: Request, path: str, filters: Filters, **more: Any) -> Response:
    least, most = filters.min_price, filters.max_price
    if least is not None and most is not None and least > most:
        reason = "is less than min_price"
        error = {"field": "max_price", "reason": reason}
        raise Problem(422, "invalid", f"max_price: {reason}", [error])
    recommender: LearnerClient = request.app.state.recommender
    asked = {
        "shop": filters.shop,
        "unique": uuid_utils.uuid7().hex,
        "category": filters.category,
        "least": None if least is None else int(least),
        "most": None if most is None else int(most),
        "limit": filters.limit,
        "placement": filters.placement,
        "min_position": await _in_the_log(request, filters.min_position, filters.wait),
        "wait": filters.wait,
        **more,
    }
    return await recommender.ask(path, asked, filters.wait)


_TOLD = frozenset({Role.CUSTOMER, Role.STAFF, Role.ADMIN, Role.WRITER})
"""Whose answers the log hears of. Whoever need not say who they are could have it told anything:
their answers have no place drawn by lot, and take part in no experiment."""


async def _made(
    request: Request, actor: Actor, wishes: Wishes, person: str = "", session: str = ""
) -> Response:
    """An answer for somebody. Where it explored, or is drawn as a sample, it is told on the log."""
    settings: Settings = request.app.state.settings
    told = actor.role in _TOLD
    explore = settings.explore if told else 0.0
    if wishes.explore is not None:
        free = actor.role in (Role.STAFF, Role.ADMIN, Role.WRITER)
        explore = wishes.explore if free else min(explore, wishes.explore)
    policy, arms = wishes.policy or MIXED, dict[str, str]()
    taken = None
    if told and wishes.policy is None:
        taken = await _taken(request, wishes.shop, person, session)
    if taken is not None:
        experiment, its, unit = taken
        policy, arms = _policy_of(its), {experiment.terms.experiment_id: its.name}
        exposures: Exposures = request.app.state.exposures
        exposures.record_later(experiment, its, unit, datetime.now(UTC), person or None)
    answer = await _ask(
        request,
        "/recommendations",
        wishes,
        person=person,
        session=session,
        policy=policy,
        exclude_bought=str(wishes.exclude_bought).lower(),
        diversity=wishes.diversity,
        explore=explore,
    )
    if answer.status_code != 200:
        return answer
    found = orjson.loads(bytes(answer.body))
    slots = found.pop("explored")
    if told and (slots or _is_sample(found["answer_id"], settings.sample_answers)):
        served: Served = request.app.state.served
        served.tell(_told(found, slots, arms, person, session))
    return Response(orjson.dumps(found), media_type="application/json")


async def _taken(
    request: Request, shop: str, person: str, session: str
) -> tuple[Experiment, ExperimentArm, str] | None:
    """The experiment over recommenders that somebody takes part in, their arm, and by which name of
    theirs. While nothing is known of experiments, everybody has what is usual."""
    running: Running = request.app.state.experiments
    try:
        over = await running.of_flag(shop, FLAG)
    except AWAY_ERRORS:
        return None
    for one in over:
        unit = person if one.terms.unit == "person" else session
        if unit and (its := arm(one, unit)) is not None:
            return one, its, unit
    return None


def _policy_of(its: ExperimentArm) -> Policy:
    """An arm's value names the policy; one that names none has what is usual."""
    return "trending" if its.value == "trending" else MIXED


def _is_sample(answer_id: str, share: float) -> bool:
    """Drawn by the answer's own id, the end of which is by chance."""
    return int(answer_id[-8:], 16) < share * 2**32


def _told(
    found: dict[str, Any],
    slots: list[dict[str, Any]],
    arms: dict[str, str],
    person: str,
    session: str,
) -> Event:
    data = RecommendationsServed(
        answer_id=found["answer_id"],
        placement=found["placement"],
        policy=found["policy"],
        products=[one["product_id"] for one in found["products"]],
        explored=[ExploredSlot(**slot) for slot in slots],
        arms=arms,
    )
    now = datetime.now(UTC)
    return Event(
        id=f"served.{data.answer_id}"[:128],
        type="RecommendationsServed",
        shop=found["shop"],
        subject=session or person,
        person=person or None,
        context=Context(visitor=session) if session and person else None,
        time=now,
        received_at=now,
        data=codec.raw(data),
    )
