"""The smallest amount that a currency is paid in (ISO 4217), and rounding to it.

What is rounded is taxes and percentages, half up: the amount a till or a tax office rounds to, and
the one that a shopper who computes it again gets. All amounts are zero or more, and each is rounded
once, so that there are no sums of halves which half-even would keep from drifting.
"""

from collections.abc import Mapping

from streams.money import SCALE

_USUAL_DECIMALS = 2
_DECIMALS: Mapping[str, int] = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF"), 0),
    **dict.fromkeys(("UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


def minor_unit(currency: str) -> int:
    """A currency's smallest amount in ten-thousandths: 100 for EUR, 10,000 for JPY, 10 for KWD."""
    return int(10 ** (SCALE - _DECIMALS.get(currency, _USUAL_DECIMALS)))


def half_up(numerator: int, denominator: int, unit: int) -> int:
    """A fraction of zero or more, rounded to the nearest multiple of a unit; a half goes up."""
    parts = denominator * unit
    return (2 * numerator + parts) // (2 * parts) * unit


def due(amount: int, currency: str) -> int:
    """What of an amount can be paid: prices may be smaller than a currency's smallest coin."""
    return half_up(amount, 1, minor_unit(currency))
