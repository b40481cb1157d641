"""Which column is what, from its name and from its values, with a reason for each guess."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from app.imports import currencies
from app.imports.cells import text_of
from app.imports.mapping import SHARES, TIMES, Asked, Column
from app.imports.mapping import Mapping as Map
from app.imports.profile import Profile
from app.imports.words import (
    CURRENCIES,
    FILLERS,
    MEANINGS,
    NAMES,
    NOT,
    PERSONAL,
    STATUSES,
    plain,
    words,
)

_LEAST = 0.5
"""How sure one has to be of a column, for it to be taken without being asked."""
_PLAIN = 0.9
"""A name that leaves little doubt, whatever is odd about the values."""
_AMOUNTS = ("unit_price", "total", "discount", "tax", "shipping")
_MOST_STATUSES = 40
_CODES = frozenset(code.lower() for code in CURRENCIES) | {"usd", "rs"}

Evidence = tuple[float, str]


@lru_cache(maxsize=1)
def _phrases() -> Mapping[str, Sequence[tuple[float, tuple[str, ...]]]]:
    return {
        target: [(worth, _told(one)) for worth, told in groups for one in told.split("|")]
        for target, groups in NAMES.items()
    }


def _told(name: str) -> tuple[str, ...]:
    found = words(name)
    return tuple(word for word in found if word not in FILLERS and word not in _CODES) or found


def by_name(name: str, target: str) -> float:
    """How much a name sounds like a target: 1 where it is one of its names, and less the more other
    words stand with it."""
    told = _told(name)
    phrases = _phrases()[target]
    exact = max((worth for worth, phrase in phrases if phrase == told), default=0.0)
    if exact or not told or NOT.get(target, frozenset()) & set(told) or target == "row":
        return exact
    best = 0.0
    for worth, phrase in phrases:
        size = len(phrase)
        if size < len(told) and any(
            told[start : start + size] == phrase for start in range(len(told) - size + 1)
        ):
            best = max(best, worth * (size / len(told)) ** 0.5 * 0.9)
    return best


# What the values say: a factor, 0 where it cannot be, and the reason.


def _time(of: Profile) -> Evidence:
    dates = of.typed_dates + of.dates.total()
    if of.share(dates) >= 0.6:
        return 1.0, f"{of.share(dates):.0%} of its values are dates"
    if of.share(of.numbers) > 0.9 and of.distinct > 1 and of.least >= 0:
        for form, least, most in _COUNTED:
            if least <= of.greatest <= most:
                return 0.8, f"numbers that are days or seconds ({form})"
    return 0.0, "its values are no dates"


_COUNTED = (
    ("excel", 20_000, 80_000),
    ("compact", 19_700_101, 29_991_231),
    ("unix", 5e8, 4e9),
    ("unix-ms", 5e11, 4e12),
)


def counted_format(of: Profile) -> str:
    """The format of dates that are numbers."""
    return next((form for form, least, most in _COUNTED if least <= of.greatest <= most), "excel")


def _amount(of: Profile) -> Evidence:
    share = of.share(of.numbers)
    return (1.0, f"{share:.0%} of its values are amounts") if share >= 0.8 else (0.0, "no amounts")


def _quantity(of: Profile) -> Evidence:
    if of.share(of.numbers) < 0.8:
        return 0.0, "its values are no numbers"
    whole = of.whole / of.numbers
    return (1.0, "whole numbers") if whole > 0.9 else (0.6, f"{whole:.0%} are whole numbers")


def _id(of: Profile) -> Evidence:
    few = of.filled >= 50 and of.distinct <= 12
    shape = f"{of.distinct:,} different values in {of.filled:,} rows"
    return (0.3 if few else 1.0), shape


def _words(of: Profile) -> Evidence:
    if of.share(of.numbers + of.typed_dates + of.dates.total()) > 0.8:
        return 0.3, "its values are numbers or dates"
    return 1.0, f"{of.distinct:,} different words"


def _product(of: Profile) -> Evidence:
    return 1.0, f"{of.distinct:,} different values in {of.filled:,} rows"


def _country(of: Profile) -> Evidence:
    share = of.share(of.countries)
    if share > 0.5:
        return 1.0, f"{share:.0%} of its values are countries"
    return (0.0, "no countries") if of.share(of.numbers) > 0.5 else (0.75, "words")


def _currency(of: Profile) -> Evidence:
    share = of.share(of.codes)
    return (1.0, "codes of currencies") if share > 0.8 else (0.0, "no codes of currencies")


def _status(of: Profile) -> Evidence:
    if of.distinct > _MOST_STATUSES:
        return 0.0, "too many different words for states"
    known = sum(count for word, count in of.values.items() if plain(word) in STATUSES)
    share = known / max(1, of.values.total())
    return (1.0 if share > 0.5 else 0.7), f"{of.distinct} different words, {share:.0%} known states"


def _row(of: Profile) -> Evidence:
    share = of.rising / max(1, of.filled - 1)
    return (1.0, "it counts the rows") if share > 0.9 else (0.0, "it does not count the rows")


_EVIDENCE: Mapping[str, Callable[[Profile], Evidence]] = {
    **dict.fromkeys(TIMES, _time),
    **dict.fromkeys(_AMOUNTS, _amount),
    "clock": lambda of: (0.0, "") if of.share(of.numbers) > 0.9 and of.greatest > 1 else (1.0, ""),
    "quantity": _quantity,
    "order": _id,
    "customer": _id,
    "product": _product,
    **dict.fromkeys(("name", "category", "brand", "variant", "channel"), _words),
    "country": _country,
    "currency": _currency,
    "status": _status,
    "row": _row,
}


def _clocks(of: Profile) -> bool:
    return any(":" in value or "h" in value for value in list(of.values)[:5])


def personal(name: str) -> bool:
    return bool(PERSONAL & set(words(name)))


def suggested(found: Sequence[Profile], currency: str, timezone: str) -> Map:
    """The most likely mapping. Where no column is called so, values alone have to do."""
    guesses = []
    for place, of in enumerate(found):
        for target in NAMES:
            if not of.filled or (personal(of.name) and target != "customer"):
                continue
            name = by_name(of.name, target)
            if target == "clock" and name and not _clocks(of) and not of.typed_dates:
                continue
            factor, reason = _EVIDENCE[target](of)
            if name > _PLAIN and factor:
                factor = max(factor, _LEAST + 0.1)
            if name * factor >= _LEAST:
                told = "it is called so" if name == 1 else "its name sounds so"
                guesses.append((name * factor, -place, target, f"{told}; {reason}"))
    taken: dict[int, Column] = {}
    for confidence, before, target, reason in sorted(guesses, reverse=True):
        if -before not in taken and all(one.target != target for one in taken.values()):
            of = found[-before]
            form = format_of(of, target)
            taken[-before] = Column(of.name, target, form, round(confidence, 2), reason)
    _sku_alone(found, taken)
    _by_values(found, taken)
    _said_twice(taken)
    columns = [
        taken.get(place) or Column(of.name, reason=_unread(of)) for place, of in enumerate(found)
    ]
    mapped = [found[place] for place, one in taken.items() if one.target in _AMOUNTS]
    told = currencies.told_by(mapped) or currency
    return Map(columns, _decimal_of(found), told, timezone, _statuses(found, columns))


def _sku_alone(found: Sequence[Profile], taken: dict[int, Column]) -> None:
    """Where nothing else names the product, the SKU of its variant does."""
    if any(one.target in ("product", "name") for one in taken.values()):
        return
    for place, one in list(taken.items()):
        if one.target == "variant" and "sku" in words(one.name):
            reason = f"nothing else names the product; {_product(found[place])[1]}"
            taken[place] = Column(one.name, "product", "", 0.8, reason)


def _said_twice(taken: dict[int, Column]) -> None:
    """A total beside the price of one may be the whole order's; a discount beside a total has been
    taken off it already, or has not: what is not sure is not read."""
    targets = {one.target for one in taken.values()}
    for place, one in list(taken.items()):
        if one.target == "total" and "unit_price" in targets:
            taken[place] = Column(one.name, reason="the price of one and the quantity say it")
        if one.target == "discount" and "unit_price" not in targets:
            taken[place] = Column(one.name, reason="the total is taken as what was paid")


def _unread(of: Profile) -> str:
    if personal(of.name):
        return "personal: it is not read"
    return "nothing in it" if not of.filled else "not needed for sales"


def _by_values(found: Sequence[Profile], taken: dict[int, Column]) -> None:
    """Fills what is still missing, less surely, from values alone."""

    def free() -> list[tuple[int, Profile]]:
        rest = [(place, of) for place, of in enumerate(found) if place not in taken]
        return [(place, of) for place, of in rest if of.filled and not personal(of.name)]

    def take(target: str, confidence: float, reason: str, fits: Callable[[Profile], bool]) -> None:
        if any(one.target == target for one in taken.values()):
            return
        places = [(place, of) for place, of in free() if fits(of)]
        if places:
            place, of = places[0]
            sure = confidence if len(places) == 1 else round(confidence * 0.7, 2)
            taken[place] = Column(of.name, target, format_of(of, target), sure, reason)

    def nameless(of: Profile) -> bool:
        return of.name.startswith("column ")

    def dates(of: Profile) -> bool:
        return of.share(of.typed_dates + of.dates.total()) > 0.9

    take("time", 0.6, "its values are dates", dates)
    take("country", 0.6, "its values are countries",
         lambda of: of.share(of.countries) > 0.9 and of.distinct > 1)  # fmt: skip
    take("currency", 0.6, "codes of currencies", lambda of: of.share(of.codes) > 0.95)
    if not any(one.target in ("unit_price", "total") for one in taken.values()):
        take("unit_price", 0.45, "its values are amounts", lambda of: of.share(of.numbers) > 0.9
             and (of.signs.total() > 0 or of.whole < of.numbers))  # fmt: skip
    if not any(one.target in ("product", "name") for one in taken.values()):
        take("product", 0.45, "words that come again",
             lambda of: nameless(of) and of.numbers == 0 and of.distinct > 1
             and not dates(of))  # fmt: skip
    take("quantity", 0.45, "small whole numbers", lambda of: nameless(of)
         and of.share(of.numbers) > 0.9 and of.whole == of.numbers
         and of.greatest < 10_000 and not of.rising > 0.5 * of.filled)  # fmt: skip


def format_of(of: Profile, target: str) -> str:
    """The format of a column for a target, empty where it is not known."""
    if target in TIMES:
        if of.typed_dates > of.dates.total() or not of.dates:
            return "y-m-d" if of.typed_dates else counted_format(of)
        fits = of.date_fits
        return fits[0] if len(fits) == 1 else ""
    if target in SHARES:
        called = {"%", "percent", "pct", "rate", "percentage"} & set(words(of.name))
        if called or of.name.rstrip().endswith("%") or of.percents > 0.5 * of.filled:
            return "fraction" if not of.percents and 0 <= of.greatest < 1 else "percent"
        if of.greatest < 1 and of.least >= 0 and of.whole < of.numbers:
            return ""  # shares, or small amounts
        return "amount"
    return ""


def _decimal_of(found: Sequence[Profile]) -> str:
    dots, commas = (sum(of.marks[mark] for of in found) for mark in ".,")
    return "," if commas > dots else "."


def _statuses(found: Sequence[Profile], columns: Sequence[Column]) -> dict[str, str]:
    for of, one in zip(found, columns, strict=True):
        if one.target == "status":
            told = plain(of.name)
            if "cancel" in told or "storn" in told or "annul" in told:
                yes = "cancelled"
            else:
                yes = "returned" if "return" in told or "refund" in told or "retour" in told else ""
            own = dict.fromkeys(("yes", "true", "1", "y", "ja", "sim", "si", "oui", "x"), yes)
            return {
                word: own.get(plain(word)) or STATUSES.get(plain(word), "") for word in of.values
            }
    return {}


# What has to be asked.


def asked(mapping: Map, found: Sequence[Profile], told_currency: bool) -> list[Asked]:
    """What a person has to say before anything is imported, and what they should know."""
    of = {profile.name: profile for profile in found}
    wanted = list(_missing(mapping))
    for one in mapping.columns:
        profile = of.get(one.name)
        if profile is None or not one.target:
            continue
        field = f"columns.{one.name}"
        if one.confidence < _LEAST:
            wanted.append(Asked(field, f"is this the {one.target}? {one.reason}", True))
        if one.target in TIMES and not one.format:
            wanted.append(_of_dates(field, profile))
        if one.target in SHARES and not one.format:
            reason = "parts of one: are they shares of the price, or amounts?"
            wanted.append(
                Asked(field, reason, True, (f"{one.target}:fraction", f"{one.target}:amount"))
            )
    wanted += _of_decimals(mapping, of)
    unknown = [word for word, meaning in mapping.statuses.items() if not meaning]
    if mapping.column("status") and unknown:
        reason = f"what does {unknown[0]!r} mean? one of {', '.join(MEANINGS)}"
        wanted.append(Asked(f"statuses.{unknown[0]}", reason, True))
    if mapping.column("currency") is None and not told_currency:
        amounts = [one.name for one in mapping.columns if one.target in _AMOUNTS]
        signed = [of[name] for name in amounts if name in of]
        wanted.append(currencies.asked_of(signed, mapping.currency))
    return wanted


def _missing(mapping: Map) -> Sequence[Asked]:
    found = []
    if mapping.column("time") is None:
        found.append(Asked("time", "no column says when it was sold", True))
    if mapping.column("product") is None and mapping.column("name") is None:
        found.append(Asked("product", "no column says what was sold", True))
    if mapping.column("unit_price") is None and mapping.column("total") is None:
        found.append(Asked("unit_price", "no column says for how much it was sold", True))
    if mapping.column("order") is None:
        found.append(Asked("order", "no column names the order: each row is one of its own"))
    return found


def _of_dates(field: str, of: Profile) -> Asked:
    fits = of.date_fits
    example = next(iter(of.values), "")
    if not fits:
        return Asked(field, f"its dates are written in several ways, such as {example!r}", True,
                     [f"time:{one}" for one in ("d/m/y", "m/d/y", "y-m-d")])  # fmt: skip
    reason = f"is the day or the month first? every date fits both, such as {example!r}"
    return Asked(field, reason, True, [f"time:{one}" for one in fits])


def _of_decimals(mapping: Map, of: Mapping[str, Profile]) -> Sequence[Asked]:
    """A file in which every number with a mark could be read with either."""
    mapped = [of[one.name] for one in mapping.columns
              if one.target in (*_AMOUNTS, "quantity") and one.name in of]  # fmt: skip
    if any(profile.marks["."] or profile.marks[","] for profile in of.values()):
        return []
    for profile in mapped:
        if profile.typed_numbers:
            continue
        for value in profile.values:
            if "." in value or "," in value:
                reason = (
                    f"does {text_of(value)!r} have decimals, or thousands? every number fits both"
                )
                return [Asked("decimal", reason, True, (".", ","))]
    return []
