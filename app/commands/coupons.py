"""What the staff does with coupons."""

from typing import Any

from app.commands.execute import Answer, Call, check_version, shown
from app.commands.work import Work
from app.domain import coupon as coupons
from app.domain.coupon import COUPON, Coupon
from streams.events import CouponChanged, CouponIssued


async def issue_coupon(work: Work, terms: CouponIssued) -> Answer:
    """A new code."""
    known = await work.find(COUPON, terms.coupon_id)
    work.tell(*coupons.issue(known, terms))
    answer = _answer(work, terms.coupon_id)
    return answer._replace(status=201, location=f"/v1/coupons/{terms.coupon_id}")


async def change_coupon(work: Work, call: Call, terms: CouponChanged) -> Answer:
    """Other terms, for orders to come."""
    coupon = await work.get(COUPON, terms.coupon_id, "code")
    check_version(call, work.version(COUPON, terms.coupon_id))
    work.tell(*coupons.change(coupon, terms))
    return _answer(work, terms.coupon_id)


async def disable_coupon(work: Work, call: Call, code: str) -> Answer:
    """Withdraws a code, for good."""
    coupon = await work.get(COUPON, code, "code")
    check_version(call, work.version(COUPON, code))
    work.tell(*coupons.disable(coupon))
    return _answer(work, code)


def as_told(coupon: Coupon) -> dict[str, Any]:
    """A coupon as the staff sees it. Who has used it is not among it."""
    terms = shown(coupon.terms)
    code = terms.pop("coupon_id")
    return {"code": code, **terms, "redeemed": coupon.redeemed, "disabled": coupon.disabled}


def _answer(work: Work, code: str) -> Answer:
    return Answer(as_told(work.state(COUPON, code)), version=work.version(COUPON, code))
