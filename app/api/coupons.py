"""`/v1/coupons`: codes that take something off an order. For the staff."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from app.api import access
from app.api.access import Actor
from app.api.amounts import Amount
from app.api.commands import Change, New, carried_out
from app.api.reading import Cursor, Limit, one, page, reading
from app.commands import coupons
from app.domain.coupon import COUPON, code_of
from streams.events import CouponChanged, CouponIssued

router = APIRouter(tags=["coupons"])

Staff = Annotated[Actor, Depends(access.STAFF)]
Code = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
EnteredCode = Annotated[str, Field(max_length=64, pattern=r"^\s*[A-Za-z0-9_-]+\s*$")]
"""As a shopper types one. What can be no code is not noted: it may be anything, also a name."""
Moment = Annotated[
    AwareDatetime,
    Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(3000, 1, 1, tzinfo=UTC)),
    AfterValidator(lambda at: at.astimezone(UTC)),
]
Text = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00]+$")]
Times = Annotated[int, Field(ge=1, le=10_000_000, strict=True)]


class Terms(BaseModel):
    """What it takes off, when, of what, and how often."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"percent": "15", "limit_per_customer": 1}},
    )

    name: Text | None = None
    percent: Annotated[str, Field(pattern=r"^\d{1,3}(\.\d{1,4})?$", examples=["12.5"])] | None = (
        None
    )
    amount: Amount | None = None
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None
    valid_from: Moment | None = None
    valid_until: Moment | None = None
    minimum: Amount | None = None
    limit: Times | None = None
    limit_per_customer: Times | None = None
    categories: Annotated[list[Text], Field(max_length=200)] = []
    product_ids: Annotated[list[Text], Field(max_length=200)] = []


class NewCoupon(Terms):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"code": "WELCOME10", "percent": "10", "limit": 1000}},
    )

    code: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


@router.post("/v1/coupons", operation_id="coupons_issue", status_code=201)
async def coupons_issue(request: Request, actor: Staff, coupon: NewCoupon, sent: New) -> Response:
    """A new code, in capitals however it is typed."""
    terms = CouponIssued(coupon_id=code_of(coupon.code), **coupon.model_dump(exclude={"code"}))
    return await carried_out(
        request, actor, sent, lambda work, _: coupons.issue_coupon(work, terms)
    )


@router.get("/v1/coupons", operation_id="coupons_list")
async def coupons_list(
    request: Request, actor: Staff, cursor: Cursor = None, limit: Limit = 50
) -> Mapping[str, Any]:
    """All codes, in their order, with how often each was used."""
    async with reading(request, actor) as states:
        return await page(states, COUPON, "coupons", coupons.as_told, cursor, limit)


@router.get("/v1/coupons/{code}", operation_id="coupons_get")
async def coupons_get(request: Request, actor: Staff, code: Code) -> Response:
    """One code."""
    async with reading(request, actor) as states:
        return await one(states, COUPON, code_of(code), coupons.as_told)


@router.put("/v1/coupons/{code}", operation_id="coupons_change")
async def coupons_change(
    request: Request,
    actor: Staff,
    code: Code,
    terms: Terms,
    sent: Change,
) -> Response:
    """All its terms, for orders to come."""
    changed = CouponChanged(coupon_id=code_of(code), **terms.model_dump())
    return await carried_out(
        request, actor, sent, lambda work, call: coupons.change_coupon(work, call, changed)
    )


@router.delete("/v1/coupons/{code}", operation_id="coupons_disable")
async def coupons_disable(
    request: Request,
    actor: Staff,
    code: Code,
    sent: Change,
) -> Response:
    """Withdraws it, for good. Orders that have it keep what it took off."""
    return await carried_out(
        request, actor, sent, lambda work, call: coupons.disable_coupon(work, call, code_of(code))
    )
