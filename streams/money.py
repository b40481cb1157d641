"""Exact money: an integer count of ten-thousandths of a currency's unit, never a float.

Real prices are as small as 0.001, so cents will not do. On the wire an amount is a decimal
string (`"2.55"`) or a JSON number; `2.55` is held as `Money(25500)`.
"""

from collections.abc import Sequence
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

SCALE = 4
UNIT = 10**SCALE
LARGEST = 10**12 * UNIT

# The default context would round to 28 digits, and so take what is not exact.
_EXACT = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX)


class SignedMoney(int):
    """An amount that may be negative, in ten-thousandths of its currency's unit."""

    __slots__ = ()

    def __str__(self) -> str:
        return text(self)


class Money(SignedMoney):
    """An amount of zero or more, in ten-thousandths of its currency's unit."""

    __slots__ = ()


def parse(value: object) -> int:
    """Ten-thousandths from a decimal string or a JSON number.

    Raises ValueError, with a reason for a person, where the amount is not exact.
    """
    if type(value) is str:
        whole, _, fraction = value.partition(".")
        # The common form, without the cost of a Decimal.
        if len(whole) <= 12 and len(fraction) <= SCALE and (whole + fraction).isdecimal():
            return int((whole or "0") + fraction.ljust(SCALE, "0"))
    elif type(value) is int:
        return _in_range(value * UNIT)
    elif type(value) is not float:
        raise ValueError('expected an amount such as "2.55"')
    return _parse_decimal(value)


def _parse_decimal(value: str | float) -> int:
    try:
        # repr gives a float's shortest digits: what the sender wrote, up to 15 of them.
        amount = Decimal(value if isinstance(value, str) else repr(value))
    except InvalidOperation:
        raise ValueError('expected an amount such as "2.55"') from None
    if not amount.is_finite():
        raise ValueError("expected a finite amount")
    if isinstance(value, float) and len(amount.as_tuple().digits) > 15:
        raise ValueError("send an amount of more than 15 digits as a string")
    if amount.adjusted() > 15:
        raise ValueError("the amount is too large")
    scaled = amount.scaleb(SCALE, _EXACT)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"at most {SCALE} decimal places")
    return _in_range(int(scaled))


def _in_range(units: int) -> int:
    if abs(units) > LARGEST:
        raise ValueError("the amount is too large")
    return units


def text(units: int) -> str:
    """`25500` as `"2.55"`: shortest form, at least two decimal places."""
    if units < 0:
        return f"-{text(-units)}"
    whole, fraction = divmod(units, UNIT)
    if fraction % 100 == 0:
        return f"{whole}.{fraction // 100:02d}"
    return f"{whole}.{fraction:04d}".rstrip("0")


def from_decimal(amount: Decimal) -> int:
    """Postgres' numeric back to ten-thousandths. Raises ValueError if it is not exact."""
    scaled = amount.scaleb(SCALE, _EXACT)
    if scaled != int(scaled):
        raise ValueError(f"{amount} has more than {SCALE} decimal places")
    return int(scaled)


def allocate(amount: int, weights: Sequence[int]) -> list[int]:
    """Splits an amount by weight into whole units that add up to it (largest remainder)."""
    total = sum(weights)
    shares = [amount * weight // total for weight in weights] if total else [0] * len(weights)
    by_remainder = sorted(
        range(len(weights)), key=lambda i: (-(amount * weights[i] % total) if total else 0, i)
    )
    for i in by_remainder[: amount - sum(shares)]:
        shares[i] += 1
    return shares


def decode(kind: type, value: object) -> Any:
    """msgspec's hook for the money types. Raises ValueError with a reason."""
    if type(value) is str and len(value) < 24:
        return _decode_text(kind, value)
    return _decode(kind, value)


def _decode(kind: type, value: object) -> Any:
    if kind is Money:
        units = parse(value)
        if units < 0:
            raise ValueError("expected an amount of zero or more")
        return Money(units)
    if kind is SignedMoney:
        return SignedMoney(parse(value))
    raise NotImplementedError(kind)


# A shop has few prices: the same ones are read and written again and again. What is added up is
# seldom the same, and would fill whatever room there is: this much comes to 4 MiB.
_REMEMBERED = 1 << 13
_decode_text = lru_cache(maxsize=_REMEMBERED)(_decode)
shown = lru_cache(maxsize=_REMEMBERED)(text)
"""As `text`, for amounts that come again and again."""


def encode(value: object) -> str:
    """msgspec's hook for the way out."""
    if isinstance(value, SignedMoney):
        return shown(value)
    raise NotImplementedError(type(value))
