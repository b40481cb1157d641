"""In what currency an amount is written, and what is in doubt about it."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from app.imports.cells import Cell
from app.imports.mapping import Asked
from app.imports.profile import Profile
from app.imports.words import CURRENCIES, SIGNS, UNSURE_SIGNS, words

_LONGEST_FIRST = sorted(SIGNS, key=len, reverse=True)
_MEANT_BY: Mapping[str, frozenset[str]] = {
    "$": frozenset({
        *("USD", "AUD", "CAD", "NZD", "SGD", "HKD", "TWD"),
        *("MXN", "ARS", "CLP", "COP", "UYU", "BRL"),
    }),
    "¥": frozenset({"JPY", "CNY"}),
}  # fmt: skip
assert set(_MEANT_BY) == UNSURE_SIGNS
_FEW = 0.9
"""With fewer signs than that in a column, they say nothing of the amounts without one."""


@lru_cache(maxsize=1 << 16)
def sign_of(text: str) -> str:
    """The sign or the code that an amount is written with; empty where it is bare."""
    text = text.strip()
    if text[:1].isdigit() and text[-1:].isdigit():
        return ""
    for sign in _LONGEST_FIRST:
        if sign in text:
            return sign
    bare = text.strip("+-−()0123456789.,' \u00a0\u202f")
    return bare if bare in CURRENCIES else ""


def fits(sign: str, currency: str) -> bool:
    """Whether amounts of a currency may be written with a sign."""
    return currency in _MEANT_BY.get(sign, ()) or SIGNS.get(sign, sign) == currency


def written_in(cells: Sequence[Cell], otherwise: str) -> str:
    """The currency of a row, by the signs of its amounts; `otherwise` where they are bare or may
    mean it. Raises ValueError where they contradict each other, or could mean several."""
    found = otherwise
    for sign in {sign for cell in cells if isinstance(cell, str) and (sign := sign_of(cell))}:
        if fits(sign, found):
            continue
        if sign in UNSURE_SIGNS:
            raise ValueError(f"{sign} is the sign of several currencies: say which (`currency`)")
        if found != otherwise:
            raise ValueError("amounts in several currencies")
        found = SIGNS.get(sign, sign)
    return found


def told_by(found: Sequence[Profile]) -> str:
    """The one currency that the amounts' signs say, or the names of their columns."""
    signs = {SIGNS.get(sign, sign) for of in found for sign in of.signs}
    if signs:
        return signs.pop() if len(signs) == 1 else ""
    named = (word.upper() for of in found for word in words(of.name))
    return next((word for word in named if word in CURRENCIES), "")


def asked_of(found: Sequence[Profile], currency: str) -> Asked:
    """What has to be said of the currency of amounts for which nobody has told one."""
    told = told_by(found)
    counts = {sign: sum(of.signs[sign] for of in found) for of in found for sign in of.signs}
    if not counts:
        if told:
            return Asked("currency", f"{told}, as the column of its amounts says")
        return Asked("currency", f"no column says: it is taken for the shop's own, {currency}")
    signs = ", ".join(f"{sign} ({count:,})" for sign, count in counts.items())
    enough = _FEW if told else 1  # of several currencies, none is that of the others
    bare = any(of.signs and of.signs.total() < enough * of.numbers for of in found)
    unsure = [sign for sign in counts if sign in UNSURE_SIGNS]
    if bare:
        reason = f"only some of its amounts have a sign, {signs}: what are the others?"
        return Asked("currency", reason, True, _options(counts))
    if not told and unsure:
        reason = f"its amounts are written in several currencies, {signs}: what is {unsure[0]}?"
        return Asked("currency", reason, True, _options(unsure))
    if not told:
        return Asked("currency", f"each row is taken in the currency of its own sign: {signs}")
    if unsure:
        return Asked("currency", f"taken for {told}, but other currencies are written so, too")
    return Asked("currency", f"{told}, as its amounts say")


def _options(signs: Sequence[str] | Mapping[str, int]) -> list[str]:
    meant = [one for sign in signs for one in (SIGNS.get(sign, sign), *_MEANT_BY.get(sign, ()))]
    first = [SIGNS.get(sign, sign) for sign in signs]
    return list(dict.fromkeys([*first, *sorted(meant)]))
