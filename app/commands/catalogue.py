"""The commands about products."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

from app.commands.categories import NewCategory, known_category, needed_category
from app.commands.execute import Answer, Call, check_version, shown
from app.commands.work import Connection, Raced, Work
from app.domain import product, stock
from app.domain.category import CATEGORY
from app.domain.product import PRODUCT, Product, list_product
from app.domain.refusal import Conflict, Unknown
from app.domain.stock import STOCK
from app.images.render import WIDTHS, file_name
from streams.events import ProductListed, Variant

Keep = Callable[[Connection], Awaitable[None]]


async def create_product(
    work: Work,
    listed: ProductListed,
    opening: Mapping[str, int],
    category: NewCategory | None = None,
) -> Answer:
    """A product with its category, made if it is new, its variants and their opening stock, by
    variant: wholly or not at all."""
    if category:
        await needed_category(work, category)
    if await work.find(PRODUCT, listed.product_id):
        raise Conflict("exists", f"there is a product {listed.product_id!r}", "product_id")
    decided = list_product(None, listed)
    variants = [variant.id for variant in listed.variants]
    for taken in sorted(await work.load(STOCK, variants)):
        raise Conflict("exists", f"{taken!r} is a variant of another product", "variants")
    work.tell(*decided)
    for variant in variants:
        work.tell(*stock.open_with(listed.product_id, variant, opening.get(variant, 0)))
    return _answer(work, listed.product_id, 201)


async def change_product(
    work: Work, call: Call, product_id: str, fields: Mapping[str, Any]
) -> Answer:
    """Other values of some of its fields."""
    if (category := fields.get("category")) is not None:
        await known_category(work, category)
    known = await _get(work, call, product_id)
    work.tell(*product.change(known, fields))
    return _answer(work, product_id)


async def put_variant(
    work: Work, call: Call, product_id: str, variant: Variant, opening: int
) -> Answer:
    """One more variant, with its opening stock, or one as it is from now on."""
    known = await _get(work, call, product_id)
    work.tell(*product.put_variant(known, variant))
    in_stock = await work.find(STOCK, variant.id)
    if in_stock is None:
        work.tell(*stock.open_with(product_id, variant.id, opening))
    elif in_stock.product_id != product_id:
        raise Conflict("exists", f"{variant.id!r} is a variant of another product", "variant")
    return _answer(work, product_id)


async def remove_variant(work: Work, call: Call, product_id: str, variant: str) -> Answer:
    known = await _get(work, call, product_id)
    work.tell(*product.remove_variant(known, variant))
    return _answer(work, product_id)


async def delist_product(work: Work, call: Call, product_id: str, reason: str | None) -> Answer:
    known = await _get(work, call, product_id)
    work.tell(*product.delist(known, reason))
    return _answer(work, product_id)


async def relist_product(work: Work, call: Call, product_id: str) -> Answer:
    """It is offered again; without a category where that was removed meanwhile."""
    seen = (await work.look(PRODUCT, [product_id])).get(product_id)
    category = seen.category if seen else None
    there = await work.find(CATEGORY, category) if category else None
    known = await _get(work, call, product_id)
    if known.category != category:
        raise Raced
    work.tell(*product.relist(known, category if there and not there.removed else None))
    return _answer(work, product_id)


async def add_image(work: Work, call: Call, product_id: str, image: str, keep: Keep) -> Answer:
    """One more image; its files are kept while the product is locked."""
    known = await _get(work, call, product_id)
    decided = product.add_image(known, image)
    await keep(work.connection)
    work.tell(*decided)
    return _answer(work, product_id, 201)


async def remove_image(work: Work, call: Call, product_id: str, image: str) -> Answer:
    known = await _get(work, call, product_id)
    work.tell(*product.remove_image(known, image))
    return _answer(work, product_id)


async def offered(work: Work, product_id: str) -> Product:
    """A product that is offered, unlocked. Raises Unknown."""
    found = (await work.look(PRODUCT, [product_id])).get(product_id)
    if found is None or found.delisted:
        raise Unknown("unknown", f"there is no product {product_id!r}", "product_id")
    return found


async def _get(work: Work, call: Call, product_id: str) -> Product:
    known = await work.get(PRODUCT, product_id)
    check_version(call, work.version(PRODUCT, product_id))
    return known


def product_shown(found: Product) -> dict[str, Any]:
    """With where each image is, by its width in pixels."""
    told = shown(found)
    told["images"] = [
        {
            "id": image,
            "urls": {str(width): f"/v1/images/{file_name(image, width)}" for width in WIDTHS},
        }
        for image in found.images
    ]
    return told


def _answer(work: Work, product_id: str, status: int = 200) -> Answer:
    return Answer(
        product_shown(work.state(PRODUCT, product_id)),
        status,
        work.version(PRODUCT, product_id),
        f"/v1/products/{quote(product_id, safe='')}" if status == 201 else None,
    )
