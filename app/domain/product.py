"""A product: what it is, and the variants in which it is sold."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from app.domain.aggregate import Aggregate, Told
from app.domain.refusal import Conflict, Invalid
from streams.events import Data, ProductDelisted, ProductListed, Variant
from streams.money import Money


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
    if not listed.name:
        raise Invalid("needed", "a product needs a name", "name")
    if not listed.variants:
        raise Invalid("needed", "a product is sold in one variant at least", "variants")
    ids = [variant.id for variant in listed.variants]
    if len(set(ids)) < len(ids):
        raise Invalid("twice", "two variants have the same id", "variants")
    if known and known.currency and known.currency != listed.currency:
        raise Conflict("currency", f"it is sold in {known.currency}", "currency")
    told = msgspec.structs.replace(listed, price=Money(min(v.price for v in listed.variants)))
    return [told]


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
        case ProductDelisted():
            assert product is not None
            return msgspec.structs.replace(product, delisted=True)
    raise TypeError(type(told.data))


PRODUCT = Aggregate(
    "products",
    Product,
    evolve,
    {kind: lambda data: data.product_id for kind in (ProductListed, ProductDelisted)},
)
