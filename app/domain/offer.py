"""What somebody wants to buy, at the price that it has now."""

from collections.abc import Sequence

from msgspec import Struct

from app.domain.product import Product
from app.domain.refusal import Conflict, Unknown
from streams.money import Money


class Offer(Struct, frozen=True, omit_defaults=True):
    """A variant, its price of one unit, and how many of it. `within` are the categories that its
    own one stands in, the nearest first."""

    product_id: str
    variant: str
    name: str
    price: Money
    quantity: int
    category: str | None = None
    within: Sequence[str] = ()

    @property
    def gross(self) -> int:
        return self.price * self.quantity

    @property
    def categories(self) -> Sequence[str]:
        """Its categories, the most specific first."""
        return (*((self.category,) if self.category else ()), *self.within)


def offer(
    product: Product | None,
    variant: str,
    quantity: int,
    field: str = "variant",
    within: Sequence[str] = (),
) -> Offer:
    """What a product's variant costs now. Raises Unknown, Conflict."""
    found = product.variant(variant) if product else None
    if product is None or found is None:
        raise Unknown("unknown", f"there is no variant {variant!r}", field)
    if product.delisted:
        raise Conflict("delisted", f"{product.name} is not for sale any more", field)
    return Offer(
        product.product_id,
        variant,
        product.name,
        found.price,
        quantity,
        product.category,
        within,
    )
