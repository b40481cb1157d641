"""Public holidays of countries, however their names are written. Pure: a release of the library
says the same of a year for ever."""

from functools import cache

_ELSEWHERE = {"eire": "IE", "rsa": "ZA", "czechrepublic": "CZ", "turkey": "TR", "holland": "NL"}
"""Names in use that the library has not."""


@cache
def code_of(country: str) -> str | None:
    """`GB`, `gbr`, `United Kingdom` → `GB`; a part that has holidays of its own stays with it, as
    in `GB-SCT`. None of what is no country that is known."""
    if code := _codes().get(_squeeze(country)):
        return code
    name, _, part = country.partition("-")
    code = _codes().get(_squeeze(name))
    return f"{code}-{part}" if code and part in _parts(code) else code


@cache
def holidays_of(code: str, year: int) -> frozenset[int]:
    """The public holidays of a year, as ordinals, days that stand in for them among them."""
    from holidays import country_holidays

    country, _, part = code.partition("-")
    found = country_holidays(country, subdiv=part or None, years=year)
    return frozenset(day.toordinal() for day in found if day.year == year)


@cache
def _codes() -> dict[str, str]:
    from holidays.registry import COUNTRIES  # takes half a second, which few need

    known = dict(_ELSEWHERE)
    for name, (_, code, *others) in COUNTRIES.items():
        known |= dict.fromkeys((_squeeze(name), *map(_squeeze, (code, *others))), code)
    return known


@cache
def _parts(code: str) -> frozenset[str]:
    from holidays import list_supported_countries

    return frozenset(list_supported_countries().get(code, ()))


def _squeeze(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()
