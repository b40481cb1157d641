"""The commands about reviews."""

from typing import Any
from urllib.parse import quote

from app.commands.catalogue import offered
from app.commands.execute import Answer, Call, check_version, shown
from app.commands.work import Work
from app.domain import review
from app.domain.refusal import Unknown
from app.domain.review import REVIEW, Review

At = tuple[str, str]
"""Where a review is: its product's id, and its own."""


async def write_review(
    work: Work, product_id: str, person: str, rating: int, review_body: str | None
) -> Answer:
    await offered(work, product_id)
    one = review.review_id(product_id, person)
    known = await work.find(REVIEW, one)
    verified = await bought(work, product_id, person)
    told = review.write(known, product_id, person, rating, review_body, verified)
    work.tell(*told, person=person)
    return _answer(work, one, 201)


async def edit_review(
    work: Work, call: Call, at: At, person: str, rating: int, review_body: str | None
) -> Answer:
    known = await _own(work, call, at, person)
    verified = await bought(work, known.product_id, known.person)
    told = review.edit(known, rating, review_body, verified)
    work.tell(*told, person=known.person)
    return _answer(work, known.review_id)


async def retract_review(work: Work, call: Call, at: At, person: str) -> Answer:
    known = await _own(work, call, at, person)
    work.tell(*review.retract(known), person=known.person)
    return _answer(work, known.review_id)


async def moderate_review(
    work: Work, call: Call, at: At, hidden: bool, reason: str | None
) -> Answer:
    known = await _get(work, call, at)
    work.tell(*review.moderate(known, hidden, reason), person=known.person)
    return _answer(work, known.review_id)


async def bought(work: Work, product_id: str, person: str) -> bool:
    """Whether an order of theirs has the product, which is a sale and was not given back."""
    return bool(await work.connection.fetchval(_BOUGHT, work.shop, person, product_id))


async def _own(work: Work, call: Call, at: At, person: str) -> Review:
    """A person's own review. Raises Unknown."""
    known = await _get(work, call, at)
    if known.person != person:
        raise _unknown(at)
    return known


async def _get(work: Work, call: Call, at: At) -> Review:
    product_id, one = at
    known = await work.find(REVIEW, one)
    if known is None or known.product_id != product_id:
        raise _unknown(at)
    check_version(call, work.version(REVIEW, one))
    return known


def _unknown(at: At) -> Unknown:
    return Unknown("unknown", f"there is no review {at[1]!r} of this product")


def review_shown(found: Review) -> dict[str, Any]:
    """Without who wrote it."""
    told = shown(found)
    del told["person"]
    return told


def _answer(work: Work, one: str, status: int = 200) -> Answer:
    state = work.state(REVIEW, one)
    place = f"/v1/products/{quote(state.product_id, safe='')}/reviews/{one}"
    return Answer(
        review_shown(state), status, work.version(REVIEW, one), place if status == 201 else None
    )


_BOUGHT = """
    SELECT EXISTS (
        SELECT FROM shop_orders
        WHERE shop = $1 AND person = $2 AND status IN ('completed', 'shipped', 'delivered')
            AND state -> 'lines' @> jsonb_build_array(jsonb_build_object('product_id', $3::text))
    )
"""
