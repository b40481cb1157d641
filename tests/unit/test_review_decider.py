"""Reviews: what a buyer and the shop may do to one."""

from typing import Any

import pytest

from app.domain.refusal import Conflict, Invalid
from app.domain.review import (
    REVIEW,
    Review,
    edit,
    moderate,
    retract,
    review_id,
    write,
)
from streams.events import ProductReviewed, ReviewEdited, ReviewModerated, ReviewRetracted
from tests.deciding import given

ONE = review_id("mug", "u-1")
OF: dict[str, Any] = {"product_id": "mug", "review_id": ONE}
WRITTEN = ProductReviewed(**OF, rating=4, review_body="Good.", verified=True)
HIDDEN = ReviewModerated(**OF, hidden=True, reason="spam")


def test_of_each_buyer_and_product_there_is_one_id_that_tells_neither() -> None:
    ids = {review_id(product, person) for product in ("a", "ab") for person in ("c", "bc")}
    assert len(ids) == 4
    assert review_id("mug", "u-1") == ONE
    assert "u-1" not in ONE


def test_a_review_is_written_once() -> None:
    asked = ("mug", "u-1", 4, "Good.", True)
    given(REVIEW).when(write, *asked).then(WRITTEN)
    given(REVIEW, WRITTEN, person="u-1").when(write, *asked).refused(Conflict)
    retracted = WRITTEN, ReviewRetracted(**OF)
    given(REVIEW, *retracted, person="u-1").when(write, *asked).then(WRITTEN)


@pytest.mark.parametrize("stars", [-1, 0, 6])
def test_there_are_one_to_five_stars(stars: int) -> None:
    given(REVIEW).when(write, "mug", "u-1", stars, None, False).refused(Invalid, "rating")
    was = given(REVIEW, WRITTEN, person="u-1")
    was.when(edit, stars, None, False).refused(Invalid, "rating")


def test_a_review_is_edited_as_a_whole() -> None:
    was = given(REVIEW, WRITTEN, person="u-1")
    was.when(edit, 1, "Bad.", True).then(
        ReviewEdited(**OF, rating=1, review_body="Bad.", verified=True)
    )
    was.when(edit, 4, "", True).then(ReviewEdited(**OF, rating=4, verified=True))
    was.when(edit, 4, "Good.", True).then()
    retracted = WRITTEN, ReviewRetracted(**OF)
    given(REVIEW, *retracted, person="u-1").when(edit, 1, None, False).refused(Conflict)


def test_what_is_retracted_has_no_text_any_more() -> None:
    given(REVIEW, WRITTEN, person="u-1").when(retract).then(ReviewRetracted(**OF))
    retracted = given(REVIEW, WRITTEN, ReviewRetracted(**OF), person="u-1")
    retracted.when(retract).then()
    assert retracted.state == Review(ONE, "mug", "u-1", 4, verified=True, retracted=True)


def test_a_review_is_hidden_with_a_reason_and_shown_again() -> None:
    was = given(REVIEW, WRITTEN, person="u-1")
    was.when(moderate, True, "spam").then(HIDDEN)
    was.when(moderate, True, " ").refused(Invalid, "reason")
    was.when(moderate, False, None).then()
    hidden = given(REVIEW, WRITTEN, HIDDEN, person="u-1")
    hidden.when(moderate, True, "spam").then()
    hidden.when(moderate, False, "sorry").then(ReviewModerated(**OF, hidden=False))
    retracted = WRITTEN, ReviewRetracted(**OF)
    given(REVIEW, *retracted, person="u-1").when(moderate, True, "spam").refused(Conflict)


def test_what_was_hidden_stays_so_when_it_is_written_anew() -> None:
    told = WRITTEN, HIDDEN, ReviewRetracted(**OF), WRITTEN
    found = given(REVIEW, *told, person="u-1").state
    assert found is not None
    assert (found.hidden, found.reason, found.visible) == (True, "spam", False)
