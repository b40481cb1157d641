"""What is decided about coupons, and about tax and shipping rates."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from app.domain import coupon as coupons
from app.domain import shipping, tax
from app.domain.aggregate import Told
from app.domain.coupon import COUPON, Coupon
from app.domain.offer import Offer
from app.domain.refusal import Conflict, Invalid, Unknown
from app.domain.shipping import SHIPPING_RATES
from app.domain.tax import TAX_RATES
from streams import money
from streams.events import (
    CouponChanged,
    CouponDisabled,
    CouponIssued,
    CouponRedeemed,
    CouponReleased,
    ShippingRate,
    ShippingRatesChanged,
    TaxRate,
    TaxRatesChanged,
)
from streams.money import Money
from tests.deciding import NOW, given

DAY = timedelta(days=1)
DISABLED = CouponDisabled(coupon_id="SAVE")


def eur(text: str) -> Money:
    return Money(money.parse(text))


def issued(**terms: Any) -> CouponIssued:
    return CouponIssued(coupon_id="SAVE", **({"percent": "10"} | terms))


def changed(**terms: Any) -> CouponChanged:
    return CouponChanged(coupon_id="SAVE", **({"percent": "10"} | terms))


def redeemed(order: str = "o-1") -> CouponRedeemed:
    return CouponRedeemed(coupon_id="SAVE", order_id=order, discount=eur("1"), currency="EUR")


def released(order: str = "o-1") -> CouponReleased:
    return CouponReleased(coupon_id="SAVE", order_id=order)


@pytest.mark.parametrize(
    "terms",
    [
        {},
        {"percent": "100"},
        {"percent": "0.5", "valid_from": NOW, "valid_until": NOW + DAY},
        {"percent": None, "amount": eur("5"), "currency": "EUR", "minimum": eur("20")},
        {"percent": None, "amount": eur("0.005"), "currency": "KWD"},
    ],
)
def test_a_coupon_is_issued_once(terms: dict[str, Any]) -> None:
    given(COUPON).when(coupons.issue, issued(**terms)).then(issued(**terms))
    given(COUPON, issued()).when(coupons.issue, issued(**terms)).refused(Conflict, "code")


BAD_TERMS: list[tuple[dict[str, Any], str]] = [
    ({"percent": None}, "percent"),
    ({"amount": eur("5"), "currency": "EUR"}, "percent"),
    ({"percent": "0"}, "percent"),
    ({"percent": "0.0000"}, "percent"),
    ({"percent": "100.0001"}, "percent"),
    ({"percent": None, "amount": eur("0"), "currency": "EUR"}, "amount"),
    ({"percent": None, "amount": eur("5")}, "currency"),
    ({"minimum": eur("5")}, "currency"),
    ({"percent": None, "amount": eur("0.005"), "currency": "EUR"}, "amount"),
    ({"percent": None, "amount": eur("0.50"), "currency": "JPY"}, "amount"),
    ({"valid_from": NOW, "valid_until": NOW}, "valid_until"),
]


@pytest.mark.parametrize(("terms", "field"), BAD_TERMS)
def test_terms_that_make_no_sense_are_refused(terms: dict[str, Any], field: str) -> None:
    given(COUPON).when(coupons.issue, issued(**terms)).refused(Invalid, field)
    given(COUPON, issued()).when(coupons.change, changed(**terms)).refused(Invalid, field)


def test_terms_are_changed_as_a_whole() -> None:
    there = given(COUPON, issued(limit=5))
    there.when(coupons.change, changed(limit=6)).then(changed(limit=6))
    there.when(coupons.change, changed(limit=5)).then()
    later = given(COUPON, issued(limit=5), changed(limit=6)).state
    assert later is not None
    assert later.terms.limit == 6


def test_whether_customers_are_counted_is_settled_at_first() -> None:
    field = "limit_per_customer"
    given(COUPON, issued()).when(coupons.change, changed(limit_per_customer=1)).refused(
        Conflict, field
    )
    counted = given(COUPON, issued(limit_per_customer=1))
    counted.when(coupons.change, changed()).refused(Conflict, field)
    counted.when(coupons.change, changed(limit_per_customer=2)).then(changed(limit_per_customer=2))


def test_a_coupon_is_withdrawn_for_good() -> None:
    given(COUPON, issued()).when(coupons.disable).then(DISABLED)
    gone = given(COUPON, issued(), DISABLED)
    gone.when(coupons.disable).refused(Conflict, "coupon")
    gone.when(coupons.change, changed()).refused(Conflict, "coupon")
    gone.when(coupons.issue, issued()).refused(Conflict, "code")


MUG = Offer("mug", "blue", "Mug", eur("10"), 2, "cups", ["kitchen"])


def reason(coupon: Coupon | None, **given_: Any) -> str | None:
    told: dict[str, Any] = {"currency": "EUR", "customer": "p-1", "now": NOW, **given_}
    found = coupons.refusal(coupon, [MUG], **told)
    assert found is None or found.field == "coupon"
    return found.code.removeprefix("coupon_") if found else None


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({}, None),
        ({"valid_from": NOW}, None),
        ({"valid_from": NOW + timedelta(microseconds=1)}, "not_yet"),
        ({"valid_until": NOW + timedelta(microseconds=1)}, None),
        ({"valid_until": NOW}, "expired"),
        ({"currency": "EUR"}, None),
        ({"currency": "USD"}, "currency"),
        ({"minimum": eur("20"), "currency": "EUR"}, None),
        ({"minimum": eur("20.0001"), "currency": "EUR"}, "minimum"),
        ({"categories": ["cups"]}, None),
        ({"categories": ["kitchen"]}, None),
        ({"categories": ["books"]}, "products"),
        ({"categories": ["books"], "product_ids": ["mug"]}, None),
        ({"product_ids": ["plate"]}, "products"),
    ],
)
def test_a_coupon_says_why_it_cannot_be_used(terms: dict[str, Any], expected: str | None) -> None:
    assert reason(given(COUPON, issued(**terms)).state) == expected


def test_there_is_no_such_coupon_or_no_more() -> None:
    assert reason(None) == "unknown"
    assert reason(given(COUPON, issued(), DISABLED).state) == "disabled"
    with pytest.raises(Unknown):
        coupons.check(None, [MUG], currency="EUR", customer=None, now=NOW)


def test_a_coupon_is_used_up_until_an_order_is_cancelled() -> None:
    twice = [issued(limit=2), redeemed("o-1"), redeemed("o-2")]
    assert reason(given(COUPON, *twice).state) == "used_up"
    assert reason(given(COUPON, *twice, released("o-1")).state) is None


def test_each_customer_is_counted_alone() -> None:
    used = given(COUPON, issued(limit_per_customer=1), redeemed(), person="p-1").state
    assert reason(used) == "used_up"
    assert reason(used, customer="p-2") is None
    assert reason(used, customer=None) == "customer"
    again = given(COUPON, issued(limit_per_customer=1), redeemed(), released(), person="p-1").state
    assert again is not None
    assert reason(again) is None
    assert again.redeemed_by == {}


def test_who_is_not_limited_is_not_kept() -> None:
    used = given(COUPON, issued(), redeemed(), person="p-1").state
    assert used is not None
    assert (used.redeemed, used.redeemed_by) == (1, {})


def test_what_is_redeemed_names_the_order() -> None:
    there = given(COUPON, issued())
    there.when(coupons.redeem, "o-1", eur("1"), "EUR").then(redeemed())
    there.when(coupons.release, "o-1").then(released())


@settings(deadline=None)
@for_all(
    st.integers(1, 4),
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from(["p-1", "p-2", "p-3"]), st.booleans()), max_size=40),
)
def test_no_limit_is_ever_passed(limit: int, each: int, tries: list[tuple[str, bool]]) -> None:
    """Whoever orders and cancels in whatever order, against a list of the orders that stand."""
    state: Any = COUPON.evolve(None, Told(NOW, issued(limit=limit, limit_per_customer=each)))
    standing: list[str] = []
    for customer, orders in tries:
        if orders:
            allowed = len(standing) < limit and standing.count(customer) < each
            assert (reason(state, customer=customer) is None) == allowed
            events = coupons.redeem(state, "o", eur("1"), "EUR") if allowed else []
            standing += [customer] * len(events)
        else:
            events = coupons.release(state, "o") if customer in standing else []
            if events:
                standing.remove(customer)
        for data in events:
            state = COUPON.evolve(state, Told(NOW, data, customer))
        assert state.redeemed == len(standing)
        assert state.redeemed_by == {one: standing.count(one) for one in standing}
    text = msgspec.json.encode(state, enc_hook=money.encode)
    assert msgspec.json.decode(text, type=Coupon, dec_hook=money.decode) == state


# Taxes and shipping.


def test_a_countrys_tax_rates_are_set_as_a_whole() -> None:
    rates = [
        TaxRate(rate="0.19", valid_until=NOW),
        TaxRate(rate="0.16", valid_from=NOW),
        TaxRate(rate="0.07", category="books"),
    ]
    told = TaxRatesChanged(country="DE", rates=rates)
    decided = tax.change("DE", rates)
    assert decided == [told]
    state = given(TAX_RATES, told, TaxRatesChanged(country="DE", rates=[])).state
    assert state is not None
    assert state.rates == []


@pytest.mark.parametrize(
    ("rates", "field"),
    [
        ([TaxRate(rate="0.19"), TaxRate(rate="0.16")], "rates"),
        ([TaxRate(rate="0.19", valid_until=NOW + DAY), TaxRate(rate="0", valid_from=NOW)], "rates"),
        ([TaxRate(rate="0.19", valid_from=NOW, valid_until=NOW)], "rates.valid_until"),
        ([TaxRate(rate="1.01")], "rates.rate"),
    ],
)
def test_tax_rates_that_contradict_each_other_are_refused(rates: Any, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        tax.change("DE", rates)
    assert refused.value.field == field


def post(amount: str, currency: str = "EUR") -> ShippingRate:
    return ShippingRate(method="post", amount=eur(amount), currency=currency)


def test_a_countrys_shipping_rates_are_set_as_a_whole() -> None:
    told = ShippingRatesChanged(country="*", rates=[post("4.90"), post("6", "USD")])
    assert shipping.change("*", told.rates) == [told]
    state = given(SHIPPING_RATES, told).state
    assert state is not None
    assert state.rates == told.rates


@pytest.mark.parametrize(
    ("rates", "field"),
    [
        ([post("4.90"), post("5")], "rates"),
        ([post("4.905")], "rates.amount"),
        ([post("490.50", "JPY")], "rates.amount"),
    ],
)
def test_shipping_rates_that_cannot_be_paid_are_refused(rates: Any, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        shipping.change("DE", rates)
    assert refused.value.field == field
