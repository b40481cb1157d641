"""Where an event came from, as far as its sender tells, reduced to what figures ask.

Addresses and browsers' names are looked at here and go no further. Nothing is guessed: a country is
what the sender says, or the proxy that the settings name.
"""

import re
from functools import lru_cache
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from streams.events import Context, Country

_LONGEST = 1_000  # of a browser's name, as much as is looked at
_COUNTRY = re.compile("[A-Z]{2}")
_NOWHERE = frozenset({"XX", "T1"})  # what proxies say where they do not know, and of Tor
_BROWSER = "Mozilla/"  # so all of them begin, and so do robots that run a page's scripts


class Told(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a sender may say. `user_agent` is the visitor's, for who sends on behalf of others; it
    says whether they are a robot and is then forgotten. `bot` says so outright."""

    source: Annotated[str, Meta(max_length=128)] | None = None
    country: Country | None = None
    visitor: Annotated[str, Meta(min_length=1, max_length=128, pattern="^[^@]*$")] | None = None
    user_agent: Annotated[str, Meta(max_length=4_000)] | None = None
    bot: bool | None = None


class Sender(NamedTuple):
    """What a request says of whom it comes from, where that is who its events are about."""

    country: str | None = None
    bot: bool = False


UNKNOWN = Sender()


def sender(user_agent: str, country: str) -> Sender:
    """What the headers of a request say. A visitor's browser sends its events itself; whoever is no
    browser is a server, and what it is, and where it stands, is nothing to the visitors it tells
    of."""
    if not user_agent.startswith(_BROWSER):
        return UNKNOWN
    known = _COUNTRY.fullmatch(country) and country not in _NOWHERE
    return Sender(country if known else None, is_bot(user_agent[:_LONGEST]))


@lru_cache(maxsize=10_000)
def is_bot(user_agent: str) -> bool:
    """Whether it is one of the names that robots are known by."""
    from crawleruseragents import is_crawler  # its patterns take a while to read

    return bool(is_crawler(user_agent))


def context(told: Told | None, by: Sender) -> Context | None:
    """What goes to the log; None where nothing is known. What is told of an event holds before what
    the request says."""
    if told is None:
        return Context(country=by.country, bot=by.bot) if by != UNKNOWN else None
    bot = told.bot
    if bot is None:
        bot = is_bot(told.user_agent[:_LONGEST]) if told.user_agent else by.bot
    country = told.country or by.country
    found = Context(source=told.source, country=country, visitor=told.visitor, bot=bot)
    return found if found != Context() else None
