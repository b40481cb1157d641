"""A category: its name, and the one that it stands below.

Products, orders and figures name a category by its id, which never changes.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from app.domain.aggregate import Aggregate, Told
from app.domain.refusal import Conflict, Invalid
from streams.events import CategoryAdded, CategoryMoved, CategoryRemoved, CategoryRenamed, Data

MOST_DEPTH = 16


class Category(Struct, frozen=True, omit_defaults=True):
    """A place in the tree. One that was removed is kept, for its id may be taken again."""

    category_id: str
    name: str = ""
    parent: str | None = None
    removed: bool = False


Line = Sequence[Category]
"""A category with those above it, itself first and the topmost last."""


def add(
    known: Category | None, category_id: str, name: str, parent: str | None, above: Line
) -> list[Data]:
    """A category below another one, or at the top. Raises Invalid, Conflict."""
    if known and not known.removed:
        raise Conflict("exists", f"there is a category {category_id!r}", "category_id")
    if not name.strip():
        raise Invalid("needed", "a category needs a name", "name")
    _check_above(category_id, parent, above)
    return [CategoryAdded(category_id=category_id, name=name, parent=parent)]


def rename(category: Category, name: str) -> list[Data]:
    """Raises Invalid."""
    if not name.strip():
        raise Invalid("needed", "a category needs a name", "name")
    if name == category.name:
        return []
    return [CategoryRenamed(category_id=category.category_id, name=name)]


def move(category: Category, parent: str | None, above: Line) -> list[Data]:
    """Puts it, with all that is below it, below another one or at the top. Raises Invalid,
    Conflict."""
    if parent == category.parent:
        return []
    _check_above(category.category_id, parent, above)
    return [CategoryMoved(category_id=category.category_id, parent=parent)]


def remove(category: Category, below: int, products: int) -> list[Data]:
    """Of an empty one: with neither categories below it nor products. Raises Conflict."""
    if below:
        raise Conflict("not_empty", f"{below} categories stand below it: move them first")
    if products:
        raise Conflict(
            "not_empty", f"{products} products are in it: say where to move them", "products_to"
        )
    return [CategoryRemoved(category_id=category.category_id)]


def _check_above(category_id: str, parent: str | None, above: Line) -> None:
    if parent is None:
        return
    if not above or above[0].removed:
        raise Invalid("unknown", f"there is no category {parent!r}", "parent")
    if category_id in (category.category_id for category in above):
        raise Conflict("cycle", f"{parent!r} stands below {category_id!r} itself", "parent")
    if len(above) >= MOST_DEPTH:
        raise Conflict("too_deep", f"at most {MOST_DEPTH} levels", "parent")


def evolve(category: Category | None, told: Told) -> Category:
    """The category after one more event."""
    match told.data:
        case CategoryAdded() as added:
            return Category(added.category_id, added.name, added.parent)
        case CategoryRenamed() as renamed:
            assert category is not None
            return msgspec.structs.replace(category, name=renamed.name)
        case CategoryMoved() as moved:
            assert category is not None
            return msgspec.structs.replace(category, parent=moved.parent)
        case CategoryRemoved():
            assert category is not None
            return Category(category.category_id, category.name, removed=True)
    raise TypeError(type(told.data))


CATEGORY = Aggregate(
    "categories",
    Category,
    evolve,
    {
        kind: lambda data: data.category_id
        for kind in (CategoryAdded, CategoryRenamed, CategoryMoved, CategoryRemoved)
    },
)
