"""Amounts as Stripe counts them: exact, or not payable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.payments.minor_units import NotPayable, from_minor, to_minor
from streams.money import Money, parse


def money(text: str) -> Money:
    return Money(parse(text))


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("9.90", "EUR", 990),
        ("0.01", "USD", 1),
        ("500", "JPY", 500),
        ("1000", "KRW", 1000),
        ("5", "MGA", 5),
        ("1.23", "KWD", 1230),
        ("5", "ISK", 500),
        ("5", "UGX", 500),
        ("999999.99", "HUF", 99_999_999),
    ],
)
def test_each_currency_has_its_own_minor_unit(amount: str, currency: str, minor: int) -> None:
    assert to_minor(money(amount), currency) == minor
    assert from_minor(minor, currency) == money(amount)


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("9.905", "EUR"),
        ("0.0001", "EUR"),
        ("500.5", "JPY"),
        ("5.2", "MGA"),
        ("1.234", "KWD"),
        ("5.5", "ISK"),
    ],
)
def test_what_is_not_exact_is_never_rounded(amount: str, currency: str) -> None:
    with pytest.raises(NotPayable):
        to_minor(money(amount), currency)


@given(st.integers(0, 10**10), st.sampled_from(["EUR", "JPY", "KWD", "ISK", "MGA"]))
def test_what_can_be_paid_comes_back_as_it_was(units: int, currency: str) -> None:
    try:
        minor = to_minor(Money(units), currency)
    except NotPayable:
        return
    assert from_minor(minor, currency) == units
