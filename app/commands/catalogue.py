"""The catalogue's commands."""

from collections.abc import Mapping

from app.commands.execute import Answer, shown
from app.commands.work import Work
from app.domain import stock
from app.domain.product import PRODUCT, list_product
from app.domain.refusal import Conflict
from app.domain.stock import STOCK
from streams.events import ProductListed


async def create_product(work: Work, listed: ProductListed, opening: Mapping[str, int]) -> Answer:
    """A product with its variants and their opening stock, by variant: wholly or not at all."""
    if await work.find(PRODUCT, listed.product_id):
        raise Conflict("exists", f"there is a product {listed.product_id!r}", "product_id")
    variants = [variant.id for variant in listed.variants]
    for taken in sorted(await work.load(STOCK, variants)):
        raise Conflict("exists", f"{taken!r} is a variant of another product", "variants")
    work.tell(*list_product(None, listed))
    for variant in variants:
        work.tell(*stock.open_with(listed.product_id, variant, opening.get(variant, 0)))
    return Answer(
        shown(work.state(PRODUCT, listed.product_id)),
        201,
        work.version(PRODUCT, listed.product_id),
        f"/v1/products/{listed.product_id}",
    )
