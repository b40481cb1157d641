"""A review: one buyer's stars and text about one product.

Its id is made of both, so that there is one of them; whoever has retracted theirs may write anew.
"""

import hashlib

import msgspec
from msgspec import Struct

from app.domain.aggregate import Aggregate, Told
from app.domain.refusal import Conflict, Invalid
from streams.events import (
    Data,
    ProductReviewed,
    ReviewEdited,
    ReviewModerated,
    ReviewRetracted,
)

MOST_STARS = 5


class Review(Struct, frozen=True, omit_defaults=True):
    """What one person says of one product. `verified`: an order of theirs has it."""

    review_id: str
    product_id: str
    person: str
    rating: int = 0
    review_body: str | None = None
    verified: bool = False
    edited: bool = False
    retracted: bool = False
    hidden: bool = False
    reason: str | None = None

    @property
    def visible(self) -> bool:
        return not (self.hidden or self.retracted)


def review_id(product_id: str, person: str) -> str:
    """The id of this person's review of this product, which does not tell who they are."""
    parts = (product_id.encode(), person.encode())
    found = hashlib.sha256(b"".join(len(part).to_bytes(8) + part for part in parts))
    return found.hexdigest()[:32]


def write(
    known: Review | None,
    product_id: str,
    person: str,
    rating: int,
    review_body: str | None,
    verified: bool,
) -> list[Data]:
    """A first review, or one after the last was retracted. Raises Invalid, Conflict."""
    if known and not known.retracted:
        raise Conflict("reviewed", "you have reviewed it already: edit that one")
    _check_stars(rating)
    return [
        ProductReviewed(
            product_id=product_id,
            review_id=review_id(product_id, person),
            rating=rating,
            review_body=review_body or None,
            verified=verified,
        )
    ]


def edit(review: Review, rating: int, review_body: str | None, verified: bool) -> list[Data]:
    """The review as it is from now on. Raises Invalid, Conflict."""
    _check_there(review)
    _check_stars(rating)
    edited = ReviewEdited(
        product_id=review.product_id,
        review_id=review.review_id,
        rating=rating,
        review_body=review_body or None,
        verified=verified,
    )
    same = (edited.rating, edited.review_body, verified)
    return [] if same == (review.rating, review.review_body, review.verified) else [edited]


def retract(review: Review) -> list[Data]:
    """Takes it back. Said again it tells nothing."""
    if review.retracted:
        return []
    return [ReviewRetracted(product_id=review.product_id, review_id=review.review_id)]


def moderate(review: Review, hidden: bool, reason: str | None) -> list[Data]:
    """Hides it, with the reason why, or shows it again. Raises Invalid, Conflict."""
    _check_there(review)
    if hidden and not (reason or "").strip():
        raise Invalid("needed", "say why it is hidden", "reason")
    reason = reason if hidden else None
    if (hidden, reason) == (review.hidden, review.reason):
        return []
    return [
        ReviewModerated(
            product_id=review.product_id,
            review_id=review.review_id,
            hidden=hidden,
            reason=reason,
        )
    ]


def _check_there(review: Review) -> None:
    if review.retracted:
        raise Conflict("retracted", "its author has taken it back")


def _check_stars(rating: int) -> None:
    if not 1 <= rating <= MOST_STARS:
        raise Invalid("stars", f"expected 1 to {MOST_STARS} stars", "rating")


def evolve(review: Review | None, told: Told) -> Review:
    """The review after one more event. What was hidden stays so when it is written anew."""
    match told.data:
        case ProductReviewed() as written:
            assert written.review_id is not None
            assert told.person is not None
            return Review(
                review_id=written.review_id,
                product_id=written.product_id,
                person=told.person,
                rating=written.rating,
                review_body=written.review_body,
                verified=bool(written.verified),
                hidden=review.hidden if review else False,
                reason=review.reason if review else None,
            )
        case ReviewEdited() as edited:
            assert review is not None
            return msgspec.structs.replace(
                review,
                rating=edited.rating,
                review_body=edited.review_body,
                verified=bool(edited.verified),
                edited=True,
            )
        case ReviewRetracted():
            assert review is not None
            return msgspec.structs.replace(review, retracted=True, review_body=None)
        case ReviewModerated() as moderated:
            assert review is not None
            return msgspec.structs.replace(review, hidden=moderated.hidden, reason=moderated.reason)
    raise TypeError(type(told.data))


REVIEW = Aggregate(
    "reviews",
    Review,
    evolve,
    {
        kind: lambda data: data.review_id
        for kind in (ProductReviewed, ReviewEdited, ReviewRetracted, ReviewModerated)
    },
)
