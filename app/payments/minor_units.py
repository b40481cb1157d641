"""Amounts as Stripe counts them: whole numbers of what it takes for a currency's smallest unit.

That is not always ISO 4217's: Stripe counts Icelandic krónur and Ugandan shillings in hundredths
that must be whole, takes the three-decimal currencies in steps of ten, and has no fifths of an
ariary (https://docs.stripe.com/currencies).
"""

from collections.abc import Mapping

from streams.money import SCALE, UNIT, Money

_ZERO_DECIMAL = frozenset(
    "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split()  # noqa: SIM905
)
_THREE_DECIMAL = frozenset(("BHD", "JOD", "KWD", "OMR", "TND"))
_STEPS: Mapping[str, int] = {"ISK": 100, "UGX": 100, **dict.fromkeys(_THREE_DECIMAL, 10)}


class NotPayable(Exception):
    """An amount that a card cannot pay in its currency."""


def _unit(currency: str) -> int:
    """Stripe's smallest unit, in ten-thousandths."""
    if currency in _ZERO_DECIMAL:
        return int(UNIT)
    decimals = 3 if currency in _THREE_DECIMAL else 2
    return int(10 ** (SCALE - decimals))


def to_minor(amount: Money, currency: str) -> int:
    """`Money` of 9.90 EUR as 990. Raises NotPayable where it is not exact."""
    minor, rest = divmod(int(amount), _unit(currency))
    if rest or minor % _STEPS.get(currency, 1):
        raise NotPayable(f"a card cannot pay {amount} {currency}")
    return minor


def from_minor(minor: int, currency: str) -> Money:
    """990 EUR as `Money` of 9.90. Raises ValueError where it is negative."""
    if minor < 0:
        raise ValueError("expected an amount of zero or more")
    return Money(minor * _unit(currency))
