"""Categories: a tree, by example."""

import pytest

from app.domain.category import (
    CATEGORY,
    MOST_DEPTH,
    Category,
    add,
    move,
    remove,
    rename,
)
from app.domain.refusal import Conflict, Invalid
from streams.events import CategoryAdded, CategoryMoved, CategoryRemoved, CategoryRenamed
from tests.deciding import given

TOP = CategoryAdded(category_id="home", name="Home")
MUGS = CategoryAdded(category_id="mugs", name="Mugs", parent="kitchen")
LINE = (Category("kitchen", "Kitchen", "home"), Category("home", "Home"))


def test_a_category_is_added_at_the_top_or_below_another() -> None:
    given(CATEGORY).when(add, "home", "Home", None, ()).then(TOP)
    given(CATEGORY).when(add, "mugs", "Mugs", "kitchen", LINE).then(MUGS)
    given(CATEGORY).when(add, "mugs", "Mugs", "none", ()).refused(Invalid, "parent")
    gone = (Category("kitchen", removed=True),)
    given(CATEGORY).when(add, "mugs", "Mugs", "kitchen", gone).refused(Invalid, "parent")
    given(CATEGORY).when(add, "mugs", " ", None, ()).refused(Invalid, "name")
    given(CATEGORY, MUGS).when(add, "mugs", "Mugs", None, ()).refused(Conflict, "category_id")


def test_the_id_of_a_removed_one_may_be_taken_again() -> None:
    removed = given(CATEGORY, MUGS, CategoryRemoved(category_id="mugs"))
    removed.when(add, "mugs", "Mugs", "kitchen", LINE).then(MUGS)


def test_a_category_is_renamed() -> None:
    given(CATEGORY, MUGS).when(rename, "Cups").then(
        CategoryRenamed(category_id="mugs", name="Cups")
    )
    given(CATEGORY, MUGS).when(rename, "Mugs").then()
    given(CATEGORY, MUGS).when(rename, "").refused(Invalid, "name")


def test_a_category_is_moved_but_never_below_itself() -> None:
    was = given(CATEGORY, MUGS)
    was.when(move, "home", LINE[1:]).then(CategoryMoved(category_id="mugs", parent="home"))
    was.when(move, None, ()).then(CategoryMoved(category_id="mugs"))
    was.when(move, "kitchen", LINE).then()
    was.when(move, "mugs", (Category("mugs"),)).refused(Conflict, "parent")
    given(CATEGORY, TOP).when(move, "kitchen", LINE).refused(Conflict, "parent")


@pytest.mark.parametrize("depth", [MOST_DEPTH - 1, MOST_DEPTH])
def test_a_tree_has_so_many_levels(depth: int) -> None:
    line = [Category(str(level), parent=str(level + 1)) for level in range(depth)]
    adding = given(CATEGORY).when(add, "mugs", "Mugs", "0", line)
    if depth < MOST_DEPTH:
        adding.then(CategoryAdded(category_id="mugs", name="Mugs", parent="0"))
    else:
        adding.refused(Conflict, "parent")


def test_only_an_empty_category_is_removed() -> None:
    given(CATEGORY, MUGS).when(remove, 0, 0).then(CategoryRemoved(category_id="mugs"))
    given(CATEGORY, MUGS).when(remove, 1, 0).refused(Conflict)
    given(CATEGORY, MUGS).when(remove, 0, 1).refused(Conflict, "products_to")
