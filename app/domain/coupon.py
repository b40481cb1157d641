"""A coupon: what it takes off, for whom, when, and how often it was used."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import get_args

import msgspec
from msgspec import Struct

from app.domain.aggregate import Aggregate, Told
from app.domain.currency import half_up, minor_unit
from app.domain.offer import Offer
from app.domain.refusal import Conflict, Invalid, Refusal, Unknown
from streams.events import (
    CouponChanged,
    CouponDisabled,
    CouponIssued,
    CouponRedeemed,
    CouponReleased,
    CouponTerms,
    Data,
)
from streams.money import Money

_EVER = datetime.max.replace(tzinfo=UTC)
_NEVER = datetime.min.replace(tzinfo=UTC)
_WHOLE = 100


class Coupon(Struct, frozen=True, omit_defaults=True):
    """Its terms, and how many orders have it that were not cancelled. Those of each customer are
    counted where there is a limit to them alone."""

    coupon_id: str
    terms: CouponTerms
    redeemed: int = 0
    redeemed_by: Mapping[str, int] = {}
    disabled: bool = False

    def holds_for(self, line: Offer) -> bool:
        """Whether a line is of what the coupon is for."""
        terms = self.terms
        if not terms.categories and not terms.product_ids:
            return True
        return line.product_id in terms.product_ids or not set(line.categories).isdisjoint(
            terms.categories
        )

    def discount(self, goods: int, currency: str) -> int:
        """What it takes off goods of this value: never more than they cost."""
        terms = self.terms
        if terms.amount is not None:
            return min(terms.amount, goods) if terms.currency == currency else 0
        share = Fraction(terms.percent or "0") / _WHOLE
        off = half_up(goods * share.numerator, share.denominator, minor_unit(currency))
        return min(off, goods)


CouponEvent = CouponIssued | CouponChanged | CouponDisabled | CouponRedeemed | CouponReleased


def code_of(told: str) -> str:
    """A code as it is known, however it was typed."""
    return told.strip().upper()


# What the staff decides.


def issue(known: Coupon | None, terms: CouponIssued) -> list[Data]:
    """A new coupon. Raises Conflict, Invalid."""
    if known:
        raise Conflict("exists", f"there is a coupon {terms.coupon_id!r}", "code")
    _check(terms)
    return [terms]


def change(coupon: Coupon, terms: CouponChanged) -> list[Data]:
    """Other terms, for orders to come. Raises Conflict, Invalid."""
    _check_enabled(coupon)
    _check(terms)
    if (coupon.terms.limit_per_customer is None) != (terms.limit_per_customer is None):
        raise Conflict(
            "limit_per_customer",
            "whether customers are counted is settled when a coupon is issued",
            "limit_per_customer",
        )
    return [terms] if _terms(terms) != coupon.terms else []


def disable(coupon: Coupon, reason: str | None = None) -> list[Data]:
    """For good: a code that was withdrawn never comes back. Raises Conflict."""
    _check_enabled(coupon)
    return [CouponDisabled(coupon_id=coupon.coupon_id, reason=reason)]


def _check_enabled(coupon: Coupon) -> None:
    if coupon.disabled:
        raise Conflict("coupon_disabled", f"{coupon.coupon_id} was withdrawn", "coupon")


def _check(terms: CouponTerms) -> None:
    if (terms.percent is None) == (terms.amount is None):
        raise Invalid("one_of", "a coupon takes off either a percentage or an amount", "percent")
    if terms.percent is not None and not 0 < Fraction(terms.percent) <= _WHOLE:
        raise Invalid("percent", "expected more than 0, and 100 at most", "percent")
    if terms.amount is not None and terms.amount == 0:
        raise Invalid("amount", "expected more than 0", "amount")
    if terms.currency is None and (terms.amount is not None or terms.minimum is not None):
        raise Invalid("needed", "an amount is one of a currency", "currency")
    if terms.amount is not None and terms.amount % minor_unit(terms.currency or ""):
        reason = f"smaller than what can be paid in {terms.currency}"
        raise Invalid("too_small", reason, "amount")
    if terms.valid_from and terms.valid_until and terms.valid_from >= terms.valid_until:
        raise Invalid("no_time", "it ends before it begins", "valid_until")


# What becomes of it when somebody buys.


def check(
    coupon: Coupon | None,
    lines: Sequence[Offer],
    *,
    currency: str,
    customer: str | None,
    now: datetime,
) -> Coupon:
    """The coupon, if it can be used for these lines. Raises Unknown, Conflict."""
    if reason := refusal(coupon, lines, currency=currency, customer=customer, now=now):
        raise reason
    assert coupon is not None
    return coupon


def refusal(
    coupon: Coupon | None,
    lines: Sequence[Offer],
    *,
    currency: str,
    customer: str | None,
    now: datetime,
) -> Refusal | None:
    """Why a coupon cannot be used for these lines; None where it can."""
    if coupon is None:
        return Unknown("coupon_unknown", "there is no such coupon", "coupon")
    terms, code = coupon.terms, coupon.coupon_id
    reason = None
    if coupon.disabled:
        reason = "disabled", f"{code} was withdrawn"
    elif now < (terms.valid_from or _NEVER):
        reason = "not_yet", f"{code} holds from {terms.valid_from:%Y-%m-%dT%H:%M:%SZ} on"
    elif now >= (terms.valid_until or _EVER):
        reason = "expired", f"{code} held until {terms.valid_until:%Y-%m-%dT%H:%M:%SZ}"
    elif terms.currency not in (None, currency):
        reason = "currency", f"{code} is for {terms.currency}, this is paid in {currency}"
    elif terms.limit is not None and coupon.redeemed >= terms.limit:
        reason = "used_up", f"{code} was used as often as it may be"
    elif terms.limit_per_customer is not None and customer is None:
        reason = "customer", f"{code} is for customers: log in"
    elif (
        terms.limit_per_customer is not None
        and coupon.redeemed_by.get(customer or "", 0) >= terms.limit_per_customer
    ):
        reason = "used_up", f"you have used {code} as often as you may"
    elif not any(coupon.holds_for(line) for line in lines):
        reason = "products", f"{code} is not for any of these products"
    elif sum(line.gross for line in lines) < (terms.minimum or 0):
        reason = "minimum", f"{code} is for orders of {terms.minimum} {terms.currency} or more"
    return Conflict(f"coupon_{reason[0]}", reason[1], "coupon") if reason else None


def redeem(coupon: Coupon, order_id: str, discount: Money, currency: str) -> list[Data]:
    """An order is placed with it, after `check`; told of the customer, if there is one."""
    return [
        CouponRedeemed(
            coupon_id=coupon.coupon_id, order_id=order_id, discount=discount, currency=currency
        )
    ]


def release(coupon: Coupon, order_id: str) -> list[Data]:
    """The order is cancelled; told of the same customer. What is decided once per order is known
    to the order alone."""
    return [CouponReleased(coupon_id=coupon.coupon_id, order_id=order_id)]


def evolve(coupon: Coupon | None, told: Told) -> Coupon:
    """The coupon after one more event."""
    data = told.data
    if isinstance(data, CouponIssued):
        return Coupon(data.coupon_id, _terms(data))
    assert coupon is not None
    match data:  # the first that fits: a release is a special form of a redemption
        case CouponChanged():
            return msgspec.structs.replace(coupon, terms=_terms(data))
        case CouponDisabled():
            return msgspec.structs.replace(coupon, disabled=True)
        case CouponReleased():
            return _counted(coupon, told.person, -1)
        case CouponRedeemed():
            return _counted(coupon, told.person, 1)
    raise TypeError(type(data))


def _terms(data: CouponTerms) -> CouponTerms:
    return CouponTerms(**msgspec.structs.asdict(data))


def _counted(coupon: Coupon, customer: str | None, change: int) -> Coupon:
    by = coupon.redeemed_by
    if coupon.terms.limit_per_customer is not None and customer is not None:
        count = by.get(customer, 0) + change
        by = {other: times for other, times in by.items() if other != customer}
        by |= {customer: count} if count else {}
    return msgspec.structs.replace(coupon, redeemed=coupon.redeemed + change, redeemed_by=by)


COUPON = Aggregate(
    "coupons", Coupon, evolve, dict.fromkeys(get_args(CouponEvent), lambda data: data.coupon_id)
)
