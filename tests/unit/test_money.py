"""Exact money: what is read, how it is said, and what is refused."""

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams import money
from streams.money import LARGEST, UNIT, Money, SignedMoney

amounts = st.integers(-LARGEST, LARGEST)


@given(amounts)
@example(0)
@example(1)
@example(-1)
@example(LARGEST)
@example(-LARGEST)
def test_an_amount_said_in_text_is_read_back_as_it_was(units: int) -> None:
    assert money.parse(money.text(units)) == units


@given(amounts)
def test_an_amount_in_text_is_the_amount_that_decimals_know(units: int) -> None:
    assert Decimal(money.text(units)) == Decimal(units) / UNIT


@given(st.decimals(-(10**12), 10**12, places=4))
def test_every_spelling_of_a_decimal_is_the_same_amount(amount: Decimal) -> None:
    units = int(amount * UNIT)
    assert money.parse(str(amount)) == units
    assert money.parse(f"{amount:f}") == units
    assert money.parse(f"{amount:e}") == units
    assert money.parse(f"{amount:f}" + "0" * 40) == units
    assert money.from_decimal(amount) == units


@given(st.integers(-(10**11), 10**11))
def test_a_json_number_of_few_digits_is_what_its_sender_wrote(units: int) -> None:
    assert money.parse(units / UNIT) == units
    assert money.parse(units) == units * UNIT


@pytest.mark.parametrize(
    ("units", "said"),
    [
        (0, "0.00"),
        (1, "0.0001"),
        (10, "0.001"),
        (1_200, "0.12"),
        (25_500, "2.55"),
        (100_000, "10.00"),
        (-25_501, "-2.5501"),
    ],
)
def test_amounts_are_said_in_their_shortest_form_of_two_places_or_more(
    units: int, said: str
) -> None:
    assert money.text(units) == said
    assert str(SignedMoney(units)) == said


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("0.00001", "at most 4 decimal places"),
        (0.00001, "at most 4 decimal places"),
        ("1.0000000000000000000000000000000001", "at most 4 decimal places"),
        ("0.00010000000000000000000000000000000000001", "at most 4 decimal places"),
        ("1E-1000100", "at most 4 decimal places"),
        ("1000000000000.0001", "too large"),
        (10**12 + 1, "too large"),
        (1e16, "too large"),
        ("1E+999999999", "too large"),
        ("1E+1000000000000000000", "such as"),
        ("NaN", "finite"),
        ("sNaN", "finite"),
        ("Infinity", "finite"),
        (float("inf"), "finite"),
        (123456789012.1234, "as a string"),
        ("", "such as"),
        (".", "such as"),
        ("-", "such as"),
        ("2,55", "such as"),
        ("2.55 €", "such as"),
        ("0x10", "such as"),
        (True, "such as"),
        (None, "such as"),
        ([1], "such as"),
    ],
)
def test_an_amount_that_is_not_exact_is_refused_with_a_reason(value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        money.parse(value)


@given(st.text(max_size=30))
def test_any_text_is_an_amount_or_refused_with_a_reason(text: str) -> None:
    try:
        units = money.parse(text)
    except UnicodeError:
        raise  # which is a ValueError too, but no reason for a person
    except ValueError:
        return
    assert abs(units) <= LARGEST


def test_only_signed_money_may_be_negative() -> None:
    assert money.decode(SignedMoney, "-2.55") == SignedMoney(-25_500)
    with pytest.raises(ValueError, match="zero or more"):
        money.decode(Money, "-0.0001")
    assert money.decode(Money, "-0") == Money(0)


def test_a_sum_in_postgres_may_be_larger_than_any_single_amount() -> None:
    assert money.from_decimal(Decimal("123456789012345678901234.5678")) == (
        1234567890123456789012345678
    )
    with pytest.raises(ValueError, match="decimal places"):
        money.from_decimal(Decimal("0.00001"))
