"""`ratings`: each review as the set of its events leaves it, and when it began and ceased to count.

What a review adds is a pure function of the *set* of its events, taken in the order of their time
(and id). Whatever order they come in, the figures built from new minus old end the same.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec import Struct

from projections.read_model import (
    Contents,
    Folded,
    FoldFailed,
    ReadModel,
    Setting,
    Transaction,
    Write,
    as_json,
)
from streams.codec import Fact
from streams.events import ProductReviewed, ReviewEdited, ReviewModerated, ReviewRetracted

Key = tuple[str, str, str]  # shop, product, review


class Said(Struct, frozen=True, omit_defaults=True, gc=False):
    """One event of a review: it is written or edited with these stars, hidden or shown, or taken
    back."""

    at: datetime
    stars: int = 0
    written: bool = False
    hidden: bool | None = None


Review = Mapping[str, Said]  # its events, by id


class Rated(NamedTuple):
    """So many reviews of a product with these stars more, or fewer, from a moment on; and how many
    were written then."""

    shop: str
    product: str
    at: datetime
    stars: int
    standing: int
    written: int = 0


def _said(fact: Fact) -> Said | None:
    at = fact.event.time
    match fact.data:
        case ProductReviewed(rating=stars):
            return Said(at, stars, written=True)
        case ReviewEdited(rating=stars):
            return Said(at, stars)
        case ReviewModerated(hidden=hidden):
            return Said(at, hidden=hidden)
        case ReviewRetracted():
            return Said(at)
    return None


def key_of(fact: Fact) -> Key | None:
    """Which review a fact is about: one without an id is its event's."""
    if isinstance(fact.data, ProductReviewed | ReviewEdited | ReviewModerated | ReviewRetracted):
        return fact.event.shop, fact.data.product_id, fact.data.review_id or fact.event.id
    return None


class Step(NamedTuple):
    """What one event of a review makes of it: the stars that are given, those that count, None
    while none do; whether it was written with it, for the first time."""

    at: datetime
    given: int
    counting: int | None
    first: bool


def steps(review: Review) -> list[Step]:
    """A review after each of its events, in order of their time.

    As `app.domain.review` has it: what was taken back may be written anew, and stays hidden if it
    was. Hiding does not forget the stars.
    """
    found = []
    stars, retracted, hidden, known = 0, False, False, False
    for _, said in sorted(review.items(), key=lambda one: (one[1].at, one[0])):
        first = said.written and not known
        known = known or said.written
        if said.stars:
            stars, retracted = said.stars, retracted and not said.written
        elif said.hidden is None:
            retracted = True
        else:
            hidden = said.hidden
        counting = stars if stars and not retracted and not hidden else None
        found.append(Step(said.at, stars, counting, first))
    return found


def contribution(key: Key, review: Review) -> list[Rated]:
    """All that a review adds to its product's rating, and takes away again."""
    shop, product, _ = key
    rated, before = list[Rated](), None
    for at, given, counting, first in steps(review):
        if counting != before:
            rated += [
                Rated(shop, product, at, stars, sign)
                for stars, sign in ((before, -1), (counting, 1))
                if stars is not None
            ]
        if first:
            rated.append(Rated(shop, product, at, given, 0, 1))
        before = counting
    return rated


def difference(old: Sequence[Rated], new: Sequence[Rated]) -> list[Rated]:
    """What to take back and what to add, to come from one contribution to the other."""
    gone = [one._replace(standing=-one.standing, written=-one.written) for one in old]
    return [*gone, *new]


def fold(facts: Sequence[Fact], known: Mapping[Key, Review], _setting: Setting) -> Folded:
    """The reviews that these facts concern, with one more event each, and what that changes."""
    of_review: dict[Key, list[Fact]] = defaultdict(list)
    for fact in facts:
        if (key := key_of(fact)) is not None:
            of_review[key].append(fact)
    rows, changes, states = [], list[Rated](), dict[Key, Review]()
    for key in sorted(of_review):
        old = known.get(key, {})
        try:
            new = {
                **old,
                **{fact.event.id: said for fact in of_review[key] if (said := _said(fact))},
            }
            if new != old:
                changes += difference(contribution(key, old), contribution(key, new))
                states[key] = new
                state = msgspec.json.encode(dict(sorted(new.items()))).decode()
                rows.append((*key, steps(new)[-1].counting, state))
        except Exception as error:
            raise FoldFailed("ratings", of_review[key][-1]) from error
    return Folded(rows, changes, states)


# The states, and how they are written.

_decoder = msgspec.json.Decoder(dict[str, Said])


async def load(transaction: Transaction, facts: Sequence[Fact]) -> dict[Key, Review]:
    """The reviews that these facts concern, as far as they are known."""
    wanted = {key for fact in facts if (key := key_of(fact)) is not None}
    if not wanted:
        return {}
    return {
        (row["shop"], row["product"], row["review_id"]): _decoder.decode(row["state"])
        for row in await transaction.fetch(_LOAD, as_json(sorted(wanted)))
    }


_LOAD = """
    SELECT shop, product, review_id, state FROM ratings
    WHERE (shop, product, review_id) IN (
        SELECT row->>0, row->>1, row->>2 FROM jsonb_array_elements($1::jsonb) AS row
    )
"""
_WRITE = """
    INSERT INTO ratings (shop, product, review_id, stars, state)
    SELECT row->>0, row->>1, row->>2, (row->>3)::smallint, (row->>4)::json FROM {rows} AS row
    ON CONFLICT (shop, product, review_id) DO UPDATE SET
        stars = excluded.stars, state = excluded.state
"""
WRITE = Write(_WRITE)


_CONTENTS = Contents(
    ("shop", "product", "review_id"),
    "SELECT shop, product, review_id, stars, state::text AS state FROM ratings",
)
RATINGS = ReadModel("ratings", version=1, fold=fold, write=WRITE, load=load, contents=_CONTENTS)
