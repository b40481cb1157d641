"""What an order costs: exact for any lines, coupon, taxes and shipping."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.coupon import Coupon
from app.domain.currency import due, half_up, minor_unit
from app.domain.offer import Offer
from app.domain.pricing import Totals, price
from app.domain.refusal import Invalid
from app.domain.shipping import ShippingRates, choose, methods
from app.domain.tax import TaxRates
from streams import money
from streams.events import CouponTerms, ShippingRate, TaxRate
from streams.money import LARGEST, Money

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


# A machine that does other things as well is slow at times.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def eur(text: str) -> Money:
    return Money(money.parse(text))


def line(amount: str, quantity: int = 1, category: str | None = None, product: str = "p") -> Offer:
    return Offer(product, f"{product}-{amount}", "Mug", eur(amount), quantity, category)


def off(percent: str | None = None, amount: str | None = None, **more: Any) -> Coupon:
    fixed: dict[str, Any] = {"amount": eur(amount or "0"), "currency": "EUR"}
    told = fixed if amount else {"percent": percent}
    return Coupon("SAVE", CouponTerms(coupon_id="SAVE", **told, **more))


def taxed(*rates: tuple[str | None, str]) -> TaxRates:
    return TaxRates("DE", [TaxRate(category=category, rate=rate) for category, rate in rates])


def totals(
    *lines: Offer,
    currency: str = "EUR",
    coupon: Coupon | None = None,
    taxes: TaxRates | None = None,
    shipping: ShippingRate | None = None,
    now: datetime = NOW,
) -> Totals:
    return price(
        lines,
        currency=currency,
        country="DE",
        coupon=coupon,
        taxes=taxes,
        shipping=shipping,
        now=now,
    )


def by_post(amount: str, free_from: str | None = None, currency: str = "EUR") -> ShippingRate:
    free = eur(free_from) if free_from else None
    return ShippingRate(method="post", amount=eur(amount), currency=currency, free_from=free)


def test_an_order_with_all_there_is() -> None:
    found = totals(
        line("9.90", 2, "kitchen", "mug"),
        line("30.00", 1, "books", "novel"),
        coupon=off("10"),
        taxes=taxed((None, "0.19"), ("books", "0.07"), ("shipping", "0.19")),
        shipping=by_post("4.90", free_from="50"),
    )
    assert str(found.subtotal) == "49.80"
    assert [str(one.discount) for one in found.lines] == ["1.98", "3.00"]
    assert [one.tax_rate for one in found.lines] == ["0.19", "0.07"]
    assert [str(one.tax) for one in found.lines] == ["3.39", "1.89"]  # 17.82 and 27.00 of them
    assert str(found.shipping) == "4.90"
    assert str(found.shipping_tax) == "0.93"
    assert str(found.tax) == "6.21"
    assert str(found.total) == "55.93"


amounts = st.one_of(
    st.integers(0, 50).map(lambda units: units * 10),  # as small as 0.001
    st.integers(0, 10**7).map(lambda cents: cents * 100),
    st.integers(0, 10**9),
)
categories = st.sampled_from([None, "a", "b", "c"])
offers = st.lists(
    st.builds(
        Offer,
        st.sampled_from(["p", "q", "r"]),
        st.just("v"),
        st.just("n"),
        amounts.map(Money),
        st.integers(1, 1000),
        categories,
        st.lists(st.sampled_from(["b", "c"]), max_size=2),
    ),
    min_size=1,
    max_size=8,
)
shares = st.decimals(0, 1, places=4).map(str)
taxes = st.none() | st.lists(
    st.tuples(st.sampled_from([None, "a", "b", "shipping"]), shares),
    max_size=4,
    unique_by=lambda rate: rate[0],
).map(lambda rates: taxed(*rates))
limits: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "categories": st.lists(st.sampled_from(["a", "b"]), max_size=2),
        "product_ids": st.lists(st.sampled_from(["p", "q"]), max_size=2),
    },
)
currencies = st.sampled_from(["EUR", "JPY", "KWD"])


@st.composite
def orders(draw: st.DrawFn) -> tuple[list[Offer], dict[str, Any], str]:
    currency = draw(currencies)
    unit = minor_unit(currency)
    percent: dict[str, Any] = {"percent": draw(st.decimals("0.0001", 100, places=4).map(str))}
    fixed: dict[str, Any] = {
        "amount": Money(draw(st.integers(1, 10**7)) * unit),
        "currency": currency,
    }
    told = CouponTerms(coupon_id="C", **draw(st.sampled_from([percent, fixed])), **draw(limits))
    rate = ShippingRate(
        method="post",
        amount=Money(draw(st.integers(0, 10**4)) * unit),
        currency=currency,
        free_from=draw(st.none() | amounts.map(Money)),
    )
    given = {
        "coupon": draw(st.sampled_from([None, Coupon("C", told)])),
        "taxes": draw(taxes),
        "shipping": draw(st.sampled_from([None, rate])),
    }
    return draw(offers), given, currency


@unhurried
@given(orders())
def test_the_parts_make_the_whole_whatever_is_ordered(
    order: tuple[list[Offer], dict[str, Any], str],
) -> None:
    lines, told, currency = order
    found = totals(*lines, currency=currency, **told)
    assert found.subtotal + found.tax + found.shipping - found.discount == found.total
    assert found.subtotal == sum(one.price * one.quantity for one in found.lines)
    assert found.discount == sum(one.discount for one in found.lines) <= found.subtotal
    assert found.tax == sum(one.tax for one in found.lines) + found.shipping_tax
    for one in found.lines:
        assert 0 <= one.discount <= one.price * one.quantity
        assert one.tax >= 0
        assert one.tax_rate is not None or one.tax == 0
    assert found.tax % minor_unit(currency) == 0
    if all(one.price % minor_unit(currency) == 0 for one in lines):
        assert all(one.discount % minor_unit(currency) == 0 for one in found.lines)
        assert due(found.total, currency) == found.total


@unhurried
@given(orders())
def test_taxes_are_off_by_half_a_coin_for_each_rate_at_most(
    order: tuple[list[Offer], dict[str, Any], str],
) -> None:
    lines, told, currency = order
    found = totals(*lines, currency=currency, **told)
    exact = sum(
        Fraction(one.price * one.quantity - one.discount) * Fraction(one.tax_rate or 0)
        for one in found.lines
    )
    rates = {one.tax_rate for one in found.lines if one.tax_rate}
    off_by = Fraction(exact) - (found.tax - found.shipping_tax)
    assert abs(off_by) <= len(rates) * Fraction(minor_unit(currency), 2)


@unhurried
@given(offers, currencies)
def test_a_hundred_percent_leave_nothing_to_pay(lines: list[Offer], currency: str) -> None:
    found = totals(*lines, currency=currency, coupon=off("100"), taxes=taxed((None, "0.19")))
    assert found.total <= minor_unit(currency) // 2  # what is smaller than a coin, if anything
    if all(one.price % minor_unit(currency) == 0 for one in lines):
        assert found.total == 0


@unhurried
@given(st.integers(0, 10**12), st.integers(1, 10**6), st.sampled_from([1, 10, 100, 10_000]))
def test_rounding_goes_to_the_nearest_and_a_half_goes_up(top: int, bottom: int, unit: int) -> None:
    found = half_up(top, bottom, unit)
    assert found % unit == 0
    assert -Fraction(unit, 2) < found - Fraction(top, bottom) <= Fraction(unit, 2)


@pytest.mark.parametrize(
    ("currency", "price", "tax"),
    [("EUR", "0.50", "0.10"), ("JPY", "50", "10.00"), ("KWD", "0.050", "0.01")],
)
def test_a_currency_is_rounded_to_its_own_smallest_amount(
    currency: str, price: str, tax: str
) -> None:
    found = totals(line(price), currency=currency, taxes=taxed((None, "0.19")))
    assert str(found.tax) == tax  # 0.095, 9.5 and 0.0095: halves, all of them


def test_lines_are_exact_however_small_a_price_is() -> None:
    found = totals(line("0.001", 3), taxes=taxed((None, "0.19")))
    assert str(found.subtotal) == "0.003"
    assert found.tax == 0
    assert str(found.total) == "0.003"
    assert due(found.total, "EUR") == 0
    assert str(Money(due(eur("10.005"), "EUR"))) == "10.01"


def test_tax_is_rounded_once_for_all_lines_of_a_rate() -> None:
    found = totals(*(line("0.07") for _ in range(10)), taxes=taxed((None, "0.07")))
    assert str(found.tax) == "0.05"  # of 0.70; line by line it would be nothing at all
    assert sorted(str(one.tax) for one in found.lines) == ["0.00"] * 5 + ["0.01"] * 5


@pytest.mark.parametrize(
    ("category", "within", "rate"),
    [
        ("books", (), "0.07"),
        ("novels", ("books",), "0.07"),
        ("comics", ("books",), "0.05"),
        ("kitchen", (), "0.19"),
        (None, (), "0.19"),
    ],
)
def test_the_most_specific_rate_holds(
    category: str | None, within: tuple[str, ...], rate: str
) -> None:
    rates = taxed((None, "0.19"), ("books", "0.07"), ("comics", "0.05"))
    offer = Offer("p", "v", "n", eur("1"), 1, category, within)
    assert totals(offer, taxes=rates).lines[0].tax_rate == rate


def test_a_rate_holds_from_its_beginning_to_before_its_end() -> None:
    july, january = datetime(2020, 7, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
    rates = TaxRates(
        "DE",
        [
            TaxRate(rate="0.19", valid_until=july),
            TaxRate(rate="0.16", valid_from=july, valid_until=january),
            TaxRate(rate="0.19", valid_from=january),
        ],
    )
    tick = timedelta(microseconds=1)
    found = [
        totals(line("1"), taxes=rates, now=at).lines[0].tax_rate
        for at in (july - tick, july, january - tick, january)
    ]
    assert found == ["0.19", "0.16", "0.16", "0.19"]
    ended = TaxRates("DE", [TaxRate(rate="0.19", valid_until=july)])
    assert totals(line("1"), taxes=ended, now=july).lines[0].tax_rate is None


def test_an_amount_takes_off_no_more_than_there_is() -> None:
    assert totals(line("3.00"), coupon=off(amount="5")).total == 0
    assert str(totals(line("8.00"), coupon=off(amount="5")).total) == "3.00"


def test_a_percentage_that_is_rounded_up_takes_off_no_more_than_there_is() -> None:
    assert totals(line("0.005"), coupon=off("100")).discount == eur("0.005")


def test_a_coupon_takes_off_only_what_it_is_for() -> None:
    found = totals(
        line("10", category="books"),
        line("10", product="mug"),
        line("30"),
        coupon=off("50", categories=["books"], product_ids=["mug"]),
    )
    assert [str(one.discount) for one in found.lines] == ["5.00", "5.00", "0.00"]


def test_a_coupon_of_another_currency_takes_off_nothing() -> None:
    assert totals(line("10"), currency="USD", coupon=off(amount="5")).discount == 0


def test_shipping_is_free_from_an_amount_of_goods_after_what_is_taken_off() -> None:
    rate = by_post("4.90", free_from="50")
    assert str(totals(line("49.99"), shipping=rate).shipping) == "4.90"
    assert totals(line("50"), shipping=rate).shipping == 0
    assert str(totals(line("50"), shipping=rate, coupon=off(amount="1")).shipping) == "4.90"


def test_more_than_can_be_written_down_is_refused() -> None:
    most = Offer("p", "v", "n", Money(LARGEST), 1)
    assert totals(most).total == LARGEST
    with pytest.raises(Invalid):
        totals(most, taxes=taxed((None, "0.19")))
    with pytest.raises(Invalid):
        totals(most, most)


def test_a_country_without_rates_is_shipped_to_as_the_rest() -> None:
    own = ShippingRates("DE", [by_post("3")])
    rest = ShippingRates("*", [by_post("9"), by_post("11", currency="USD")])
    assert choose(own, rest, "post", "EUR") == by_post("3")
    assert choose(None, rest, "post", "EUR") == by_post("9")
    assert choose(ShippingRates("DE"), rest, "post", "EUR") == by_post("9")
    assert [rate.amount for rate in methods(None, rest, "USD")] == [eur("11")]
    assert choose(None, None, None, "EUR") is None


@pytest.mark.parametrize("method", [None, "drone"])
def test_a_method_that_there_is_not_is_refused_with_those_that_there_are(
    method: str | None,
) -> None:
    with pytest.raises(Invalid, match="post"):
        choose(ShippingRates("DE", [by_post("3")]), None, method, "EUR")
