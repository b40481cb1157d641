"""`visitor_links`: who stands behind a visitor, a cart and an order, as far as the log tells.

What somebody does is told under whatever name is at hand: a person's pseudonym, a visitor's id, a
cart or an order. An event that bears several of them says that they are the same. The best known of
them is whom the event is of: a person before a visitor before a cart before an order; and each of
the others leads to it. Of several that one could lead to, the better known holds, then the lesser
by its letters: so the links do not depend on the order of events.

Whoever counts visitors follows the links when asking (`WHO`): an order leads to its cart, a cart to
its visitor, a visitor to the person that they turn out to be.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from projections.read_model import (
    Contents,
    Folded,
    ReadModel,
    Setting,
    Write,
)
from streams.codec import Fact
from streams.events import LONGEST_ID, SHOP, Context, Data

_PERSON, _VISITOR, _CART, _ORDER = "0123"  # the better known sorts first
_NOTHING = Context()


class Act(NamedTuple):
    """Something that somebody did in a shop: `visitor` is the best name that the event has for
    them, `ranked` the same behind how well it is known."""

    shop: str
    at: datetime
    id: str
    type: str
    data: Data
    visitor: str
    ranked: str
    source: str
    country: str
    bot: bool
    commanded: bool


def names(fact: Fact) -> list[str]:
    """Whom an event is of, ranked, the best known first. A person and a visitor of one id are one:
    what a visitor without a person has said in secret is sealed with the key of their own id."""
    event, data = fact.event, fact.data
    visitor = event.context.visitor if event.context else None
    if fact.topic == "interactions":
        visitor = event.subject
    found = []
    if event.person:
        found.append(f"{_PERSON}v:{event.person}")
    if visitor and visitor != event.person:
        found.append(f"{_VISITOR}v:{visitor}")
    if cart := getattr(data, "cart_id", None):
        found.append(f"{_CART}c:{cart}")
    if (order := getattr(data, "order_id", None)) or not found:
        found.append(f"{_ORDER}o:{order or event.subject}")
    return found


def act(fact: Fact, ranked: str) -> Act:
    """What an event tells of a visitor."""
    event, data = fact.event, fact.data
    context = event.context or _NOTHING
    return Act(
        event.shop,
        event.time,
        event.id,
        event.type,
        data,
        ranked[1:],
        ranked,
        # A channel may be longer than a source, and than an index of Postgres takes.
        (context.source or getattr(data, "channel", None) or "")[:LONGEST_ID],
        context.country or getattr(data, "country", None) or "",
        context.bot,
        event.source == SHOP,
    )


def fold(facts: Sequence[Fact], _known: Mapping[Any, Any], _setting: Setting) -> Folded:
    """The links that the events tell, each once; and what was done, for those who count it."""
    links: dict[tuple[str, str], str] = {}
    acts = []
    for fact in facts:
        best, *others = names(fact)
        acts.append(act(fact, best))
        for alias in others:
            key = (fact.event.shop, alias[1:])
            links[key] = min(best, links.get(key, best))
    return Folded(sorted((*key, target) for key, target in links.items()), acts)


# Links that are better than those that are known take their place.
_WRITE = """
    INSERT INTO visitor_links AS known (shop, alias, target)
    SELECT row->>0, row->>1, row->>2 FROM {rows} AS row
    ON CONFLICT (shop, alias) DO UPDATE SET target = excluded.target
    WHERE known.target > excluded.target
"""


WRITE = Write(_WRITE)
VISITOR_LINKS = ReadModel(
    "visitor_links",
    version=1,
    fold=fold,
    write=WRITE,
    contents=Contents(("shop", "alias"), "SELECT shop, alias, target FROM visitor_links"),
    renamed=(
        """
        UPDATE visitor_links SET alias = 'v:' || pseudonym
        FROM unnest($2::text[], $3::text[]) AS erased (name, pseudonym)
        WHERE shop = $1 AND alias = 'v:' || name
        """,
        """
        UPDATE visitor_links SET target = rank || 'v:' || pseudonym
        FROM unnest($2::text[], $3::text[]) AS erased (name, pseudonym),
            unnest(ARRAY['0', '1']) AS rank
        WHERE shop = $1 AND target = rank || 'v:' || name
        """,
    ),
)

# Which visitors led to a person.
VISITORS = """
    SELECT substr(alias, 3) AS visitor FROM visitor_links
    WHERE shop = $1 AND target = '0v:' || $2::text AND starts_with(alias, 'v:') ORDER BY 1
"""

# For queries over rows named `told`, which bear a shop and a visitor. Targets sort by their bytes,
# names as all text does: by another collation no index would be of use.

LINKED = """
    LEFT JOIN visitor_links AS link1 ON link1.shop = told.shop AND link1.alias = told.visitor
    LEFT JOIN visitor_links AS link2
        ON link2.shop = told.shop AND link2.alias = substr(link1.target, 2) COLLATE "default"
    LEFT JOIN visitor_links AS link3
        ON link3.shop = told.shop AND link3.alias = substr(link2.target, 2) COLLATE "default"
"""
WHO = "coalesce(substr(coalesce(link3.target, link2.target, link1.target), 2), told.visitor)"
