"""`/v1/products/{id}/reviews`: what buyers say. Anyone may read what is not hidden; each customer
writes, edits and retracts their own; staff hide and show."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import access
from app.api.access import Actor, Allow, Role
from app.api.commands import Change, New, carried_out
from app.api.paging import Cursor, Limit, page, parse_cursor
from app.api.problems import Problem, known_parameters
from app.api.products import STAFFS, Name, Text, Word, rating_shown, unknown
from app.api.reading import reading, versioned
from app.commands import reviews as commands
from app.commands.reviews import review_shown
from app.queries import products, reviews
from app.queries.reviews import Found

router = APIRouter(tags=["reviews"])

BUYER = Allow(Role.CUSTOMER)
Buyer = Annotated[Actor, Depends(BUYER)]
Stars = Annotated[int, Field(ge=1, le=5)]


class ReviewBody(BaseModel):
    """The whole review."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"rating": 5, "review_body": "Holds what it promises."}},
    )

    rating: Stars
    review_body: Text | None = None


class Moderation(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"hidden": True, "reason": "advertising"}}
    )

    hidden: bool
    reason: Name | None = Field(None, description="needed to hide it; its author sees it")


@router.post("/v1/products/{product_id}/reviews", operation_id="reviews_create", status_code=201)
async def reviews_create(
    request: Request,
    actor: Buyer,
    product_id: Word,
    review: ReviewBody,
    sent: New,
) -> Response:
    """One's own review of a product, of which there is one."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, _: commands.write_review(
            work, product_id, actor.id, review.rating, review.review_body
        ),
    )


@router.get(
    "/v1/products/{product_id}/reviews",
    operation_id="reviews_list",
    dependencies=[Depends(known_parameters)],
)
async def reviews_list(
    request: Request,
    actor: Annotated[Actor, Depends(access.ANYONE)],
    product_id: Word,
    rating: Annotated[int | None, Query(ge=1, le=5)] = None,
    hidden: Annotated[bool, Query(description="the hidden ones; for staff")] = False,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> dict[str, Any]:
    """The latest reviews first, with the average and histogram of all visible ones."""
    if hidden and actor.role not in STAFFS:
        raise Problem(403, "role", "hidden reviews are for staff to see")
    after = parse_cursor(cursor, tuple[datetime, str])
    async with reading(request, actor) as states:
        product = await products.find(states.connection, actor.shop, product_id)
        stars = await products.stars_of(states.connection, actor.shop, [product_id])
        found = await reviews.listed(
            states.connection, actor.shop, product_id, rating, hidden, after, limit
        )
    if product is None or (product.product.delisted and actor.role not in STAFFS):
        raise unknown(f"product {product_id!r}")
    told = page(found, limit, _shown, lambda one: (one.created_at, one.review.review_id), "reviews")
    return {**told, "rating": rating_shown(stars[product_id])}


@router.get("/v1/products/{product_id}/reviews/{review_id}", operation_id="reviews_get")
async def reviews_get(
    request: Request,
    actor: Annotated[Actor, Depends(access.ANYONE)],
    product_id: Word,
    review_id: Word,
) -> Response:
    """One review. A hidden or retracted one its author and staff alone may see."""
    async with reading(request, actor) as states:
        found = await reviews.find(states.connection, actor.shop, product_id, review_id)
    if found is None or not (found.review.visible or _may_see(actor, found)):
        raise unknown(f"review {review_id!r}")
    return versioned(_shown(found), found.version)


def _may_see(actor: Actor, found: Found) -> bool:
    own = actor.role is Role.CUSTOMER and actor.id == found.review.person
    return own or actor.role in STAFFS


def _shown(found: Found) -> dict[str, Any]:
    return {**review_shown(found.review), "created_at": found.created_at.isoformat()}


@router.put("/v1/products/{product_id}/reviews/{review_id}", operation_id="reviews_edit")
async def reviews_edit(
    request: Request,
    actor: Buyer,
    product_id: Word,
    review_id: Word,
    review: ReviewBody,
    sent: Change,
) -> Response:
    """One's own review as it is from now on."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: commands.edit_review(
            work, call, (product_id, review_id), actor.id, review.rating, review.review_body
        ),
    )


@router.delete("/v1/products/{product_id}/reviews/{review_id}", operation_id="reviews_retract")
async def reviews_retract(
    request: Request,
    actor: Buyer,
    product_id: Word,
    review_id: Word,
    sent: Change,
) -> Response:
    """Takes one's own review back; another one may be written."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: commands.retract_review(work, call, (product_id, review_id), actor.id),
    )


@router.post(
    "/v1/products/{product_id}/reviews/{review_id}/moderate", operation_id="reviews_moderate"
)
async def reviews_moderate(
    request: Request,
    actor: Annotated[Actor, Depends(access.STAFF)],
    product_id: Word,
    review_id: Word,
    moderation: Moderation,
    sent: Change,
) -> Response:
    """Hides a review, with the reason why, or shows it again."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: commands.moderate_review(
            work, call, (product_id, review_id), moderation.hidden, moderation.reason
        ),
    )
