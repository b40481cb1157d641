"""The commands about categories.

Whoever puts a category somewhere locks the whole line above that place first. Of two moves that
would make a ring together each has one in its line that the other moves: one of them waits, and
sees what the other has done.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import quote

from app.commands.execute import Answer, Call, check_version, shown
from app.commands.work import Raced, Work
from app.domain import category, product
from app.domain.category import CATEGORY, Category
from app.domain.product import PRODUCT
from app.domain.refusal import Conflict, Invalid, Unknown

MOST_MOVED = 5_000
"""Products that one command moves, at most."""


class NewCategory(NamedTuple):
    """A category that is to be, below another one or at the top."""

    category_id: str
    name: str
    parent: str | None = None


async def create_category(work: Work, new: NewCategory) -> Answer:
    above = await _line(work, new.parent, new.category_id)
    known = await work.find(CATEGORY, new.category_id)
    work.tell(*category.add(known, *new, above))
    return _answer(work, new.category_id, 201)


async def needed_category(work: Work, new: NewCategory) -> None:
    """Locks a category, and makes it where there is none. Raises Invalid, Conflict."""
    above = await _line(work, new.parent, new.category_id)
    known = await work.find(CATEGORY, new.category_id)
    if known is None or known.removed:
        work.tell(*category.add(known, *new, above))


async def known_category(work: Work, category_id: str) -> None:
    """Locks a category that has to be there. Raises Invalid."""
    known = await work.find(CATEGORY, category_id)
    if known is None or known.removed:
        raise Invalid("unknown", f"there is no category {category_id!r}", "category")


class Changes(NamedTuple):
    """What is to become of a category; `moved` tells no parent from none told."""

    name: str | None
    moved: bool
    parent: str | None


async def change_category(work: Work, call: Call, category_id: str, changes: Changes) -> Answer:
    above = await _line(work, changes.parent, category_id)
    known = await _get(work, category_id)
    check_version(call, work.version(CATEGORY, category_id))
    if changes.name is not None:
        work.tell(*category.rename(known, changes.name))
    if changes.moved:
        work.tell(*category.move(known, changes.parent, above))
    return _answer(work, category_id)


async def remove_category(
    work: Work, call: Call, category_id: str, products_to: str | None
) -> Answer:
    """Removes an empty category, or one whose products go to another."""
    await work.load(CATEGORY, [category_id, *([products_to] if products_to else [])])
    known = await _get(work, category_id)
    check_version(call, work.version(CATEGORY, category_id))
    if products_to == category_id:
        raise Invalid("same", "this is the one to be removed", "products_to")
    if products_to is not None:
        target = await work.find(CATEGORY, products_to)
        if target is None or target.removed:
            raise Invalid("unknown", f"there is no category {products_to!r}", "products_to")
    # Whatever would come into it waits for its lock.
    below = await work.connection.fetchval(
        "SELECT count(*) FROM categories WHERE shop = $1 AND parent = $2 AND NOT removed",
        *(work.shop, category_id),
    )
    held = await _products(work, category_id)
    left = 0 if products_to else len(held)
    work.tell(*category.remove(known, below, left))
    if products_to:
        await _move(work, held, category_id, products_to)
    return _answer(work, category_id)


async def _products(work: Work, category_id: str) -> Sequence[str]:
    """Those that are offered in it: what is not offered is sorted in when it is again."""
    rows = await work.connection.fetch(
        "SELECT id FROM products WHERE shop = $1 AND category = $2 AND listed LIMIT $3",
        *(work.shop, category_id, MOST_MOVED + 1),
    )
    return [row["id"] for row in rows]


async def _move(work: Work, ids: Sequence[str], source: str, target: str) -> None:
    if len(ids) > MOST_MOVED:
        raise Conflict("too_many", f"move all but {MOST_MOVED:,} products before", "products_to")
    for one in (await work.load(PRODUCT, ids)).values():
        if one.category == source and not one.delisted:
            work.tell(*product.change(one, {"category": target}))


async def _line(work: Work, parent: str | None, also: str) -> Sequence[Category]:
    """Locks a category and, with it, another one with all above that. Raises Raced."""
    rows = await work.connection.fetch(_ABOVE, work.shop, parent)
    ids = [row["id"] for row in rows]
    found = await work.load(CATEGORY, [also, *ids])
    line = [found[one] for one in ids]
    parents = [one.parent for one in line[-1:]] + [
        one.category_id for one, above in pairwise(line) if one.parent != above.category_id
    ]
    if any(parents):
        raise Raced  # it was moved before it was locked
    return line


async def _get(work: Work, category_id: str) -> Category:
    found = await work.get(CATEGORY, category_id)
    if found.removed:
        raise Unknown("unknown", f"there is no category {category_id!r} any more")
    return found


def _answer(work: Work, category_id: str, status: int = 200) -> Answer:
    return Answer(
        shown(work.state(CATEGORY, category_id)),
        status,
        work.version(CATEGORY, category_id),
        f"/v1/categories/{quote(category_id, safe='')}" if status == 201 else None,
    )


# A ring, which there is none of, would end here as well.
_ABOVE = """
    WITH RECURSIVE above AS (
        SELECT id, parent, 0 AS steps FROM categories WHERE shop = $1 AND id = $2
        UNION ALL
        SELECT categories.id, categories.parent, steps + 1
        FROM categories JOIN above ON categories.id = above.parent
        WHERE categories.shop = $1 AND steps < 100
    )
    SELECT id FROM above ORDER BY steps
"""
