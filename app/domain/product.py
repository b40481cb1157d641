"""A product: what it is, and the variants in which it is sold.

`ProductListed` says all of it each time. A changed price is told by `PriceChanged` before that, for
whoever waits for prices alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from app.domain.aggregate import Aggregate, Told
from app.domain.refusal import Conflict, Invalid, Unknown
from streams.events import Data, PriceChanged, ProductDelisted, ProductListed, Variant
from streams.money import Money

MOST_VARIANTS = 200
MOST_IMAGES = 20


class Product(Struct, frozen=True, omit_defaults=True):
    """A product as it is offered; `delisted` ones are kept for the orders that have them."""

    product_id: str
    name: str = ""
    currency: str = ""
    description: str | None = None
    category: str | None = None
    brand: str | None = None
    variants: Sequence[Variant] = ()
    images: Sequence[str] = ()
    delisted: bool = False

    def variant(self, variant: str) -> Variant | None:
        return next((one for one in self.variants if one.id == variant), None)


def list_product(known: Product | None, listed: ProductListed) -> list[Data]:
    """Offers a product, new or as it is from now on. Raises Invalid, Conflict."""
    if not (listed.name or "").strip():
        raise Invalid("needed", "a product needs a name", "name")
    if not listed.variants:
        raise Invalid("needed", "a product is sold in one variant at least", "variants")
    if len(listed.variants) > MOST_VARIANTS:
        raise Invalid("too_many", f"at most {MOST_VARIANTS} variants", "variants")
    ids = [variant.id for variant in listed.variants]
    if len(set(ids)) < len(ids):
        raise Invalid("twice", "two variants have the same id", "variants")
    if known and known.currency and known.currency != listed.currency:
        raise Conflict("currency", f"it is sold in {known.currency}", "currency")
    told = msgspec.structs.replace(listed, price=Money(min(v.price for v in listed.variants)))
    return [*_price_changes(known, told), told]


def _price_changes(known: Product | None, listed: ProductListed) -> list[Data]:
    before = {variant.id: variant.price for variant in known.variants} if known else {}
    return [
        PriceChanged(
            product_id=listed.product_id,
            variant=variant.id,
            price=variant.price,
            currency=listed.currency,
        )
        for variant in listed.variants
        if before.get(variant.id, variant.price) != variant.price
    ]


def change(product: Product, fields: Mapping[str, Any]) -> list[Data]:
    """Other values of `name`, `description`, `category`, `brand`, `variants` or `images`; the same
    values tell nothing. Raises Invalid, Conflict."""
    _check_listed(product)
    changed = msgspec.structs.replace(product, **fields)
    return [] if changed == product else list_product(product, _listed(changed))


def put_variant(product: Product, variant: Variant) -> list[Data]:
    """One more variant, or one as it is from now on. Raises Invalid, Conflict."""
    if product.variant(variant.id):
        variants = [variant if one.id == variant.id else one for one in product.variants]
    else:
        variants = [*product.variants, variant]
    return change(product, {"variants": variants})


def remove_variant(product: Product, variant: str) -> list[Data]:
    """One variant fewer; what there is of it stays in stock. Raises Unknown, Invalid, Conflict."""
    if not product.variant(variant):
        raise Unknown("unknown", f"the product has no variant {variant!r}", "variant")
    return change(product, {"variants": [one for one in product.variants if one.id != variant]})


def add_image(product: Product, image: str) -> list[Data]:
    """One more image, the last; one that it has already tells nothing. Raises Conflict."""
    _check_listed(product)
    if image in product.images:
        return []
    if len(product.images) >= MOST_IMAGES:
        raise Conflict("too_many", f"at most {MOST_IMAGES} images", "images")
    return change(product, {"images": [*product.images, image]})


def remove_image(product: Product, image: str) -> list[Data]:
    """Raises Unknown, Conflict."""
    if image not in product.images:
        raise Unknown("unknown", f"the product has no image {image!r}", "image")
    return change(product, {"images": [one for one in product.images if one != image]})


def delist(product: Product, reason: str | None = None) -> list[Data]:
    """It is not offered any more. Said again it tells nothing."""
    if product.delisted:
        return []
    return [ProductDelisted(product_id=product.product_id, reason=reason)]


def relist(product: Product, category: str | None) -> list[Data]:
    """It is offered again as it was, in its category if that is still there. Raises Conflict."""
    if not product.delisted:
        return []
    return list_product(product, _listed(msgspec.structs.replace(product, category=category)))


def _check_listed(product: Product) -> None:
    if product.delisted:
        raise Conflict("delisted", "it is not offered any more: relist it first")


def _listed(product: Product) -> ProductListed:
    return ProductListed(
        product_id=product.product_id,
        name=product.name,
        currency=product.currency,
        description=product.description,
        category=product.category,
        brand=product.brand,
        variants=list(product.variants),
        images=list(product.images),
    )


def evolve(product: Product | None, told: Told) -> Product:
    """The product after one more event."""
    match told.data:
        case ProductListed() as listed:
            return Product(
                product_id=listed.product_id,
                name=listed.name or "",
                currency=listed.currency or "",
                description=listed.description,
                category=listed.category,
                brand=listed.brand,
                variants=listed.variants,
                images=listed.images,
            )
        case PriceChanged() as changed:
            assert product is not None
            variants = [
                msgspec.structs.replace(one, price=changed.price)
                if one.id == changed.variant
                else one
                for one in product.variants
            ]
            return msgspec.structs.replace(product, variants=variants)
        case ProductDelisted():
            assert product is not None
            return msgspec.structs.replace(product, delisted=True)
    raise TypeError(type(told.data))


PRODUCT = Aggregate(
    "products",
    Product,
    evolve,
    {kind: lambda data: data.product_id for kind in (ProductListed, PriceChanged, ProductDelisted)},
)
