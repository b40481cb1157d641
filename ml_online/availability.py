"""Which products can be offered now: not delisted, and in stock where somebody keeps stock.

Stock is told by moves of variants, of which only the sums matter. What shoppers can buy is what is
on hand less what is reserved; a product is in stock while there is anything of one of its variants.
A shop that never told of any stock keeps none, and offers all that
was not delisted. Where it does, what was listed and never counted is out of stock; of what was
neither listed nor counted nothing is known that would speak against it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from msgspec import Struct, field

from ml_online.family import ModelFamily
from streams.codec import Fact
from streams.events import (
    CategoryAdded,
    CategoryMoved,
    CategoryRemoved,
    Event,
    PriceChanged,
    ProductDelisted,
    ProductListed,
    StockAdjusted,
    StockReceived,
    StockReleased,
    StockReserved,
    StockShipped,
)

MOST_PRODUCTS = 500_000
"""Of one shop: what comes later is not followed, and so is not offered either."""
_DEEPEST = 32  # categories within one another
_MOST_VARIANTS = 500  # of one product

_SHOP, _CATEGORY, _PRODUCT = "shop", "category", "product"  # rows of the state


class Wanted(NamedTuple):
    """What is asked for: a category with all within it, and prices in 1/10000, both included."""

    category: str = ""
    least: int | None = None
    most: int | None = None


class _Product(Struct):
    """`stock` is what is available of each variant that was counted, `prices` those of variants."""

    category: str = ""
    brand: str = ""
    listed: bool = False
    delisted: bool = False
    stock: dict[str, int] = field(default_factory=dict)
    prices: dict[str, int] = field(default_factory=dict)

    @property
    def price(self) -> int | None:
        return min(self.prices.values(), default=None)


class _Shop(Struct):
    products: dict[str, _Product] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)  # of categories
    keeps_stock: bool = False
    full: bool = False


class Availability:
    """Implements `ml_online.family.Learner`."""

    def __init__(self) -> None:
        self._shops: dict[str, _Shop] = {}

    def learn(self, fact: Fact) -> None:
        """What is listed, at which price, and how many there are."""
        data = fact.data
        if isinstance(data, StockReceived | StockAdjusted):
            self._move(self._shop(fact.event.shop), data)
        elif isinstance(data, ProductListed):
            self._list(self._shop(fact.event.shop), data)
        elif isinstance(data, ProductDelisted):
            if (product := self._product(self._shop(fact.event.shop), data.product_id)) is not None:
                product.delisted = True
        elif isinstance(data, PriceChanged):
            product = self._product(self._shop(fact.event.shop), data.product_id)
            variant = data.variant or data.product_id
            if product and (variant in product.prices or len(product.prices) < _MOST_VARIANTS):
                product.prices[variant] = int(data.price)
        elif isinstance(data, CategoryAdded | CategoryMoved):
            parents = self._shop(fact.event.shop).parents
            if data.parent:
                parents[data.category_id] = data.parent
            else:
                parents.pop(data.category_id, None)
        elif isinstance(data, CategoryRemoved):
            self._shop(fact.event.shop).parents.pop(data.category_id, None)

    def _shop(self, name: str) -> _Shop:
        return self._shops.setdefault(name, _Shop())

    def _product(self, shop: _Shop, product_id: str) -> _Product | None:
        """None where there is no room for another one."""
        product = shop.products.get(product_id)
        if product is None:
            if len(shop.products) >= MOST_PRODUCTS:
                shop.full = True
                return None
            product = shop.products[product_id] = _Product()
        return product

    def _list(self, shop: _Shop, data: ProductListed) -> None:
        product = self._product(shop, data.product_id)
        if product is None:
            return
        product.category, product.brand = data.category or "", data.brand or ""
        product.listed, product.delisted = True, False
        if data.variants:
            product.prices = {one.id: int(one.price) for one in data.variants}
        elif data.price is not None:
            product.prices = {data.variant or data.sku or data.product_id: int(data.price)}

    def _move(self, shop: _Shop, data: StockReceived | StockAdjusted) -> None:
        shop.keeps_stock = True
        product = self._product(shop, data.product_id)
        if product is None:
            return
        match data:  # the first that fits: some events are special forms of later ones
            case StockShipped():
                units = 0  # it was reserved before, and so was not available
            case StockReleased():
                units = data.quantity
            case StockReserved():
                units = -data.quantity
            case _:
                units = data.quantity
        variant = data.variant or data.product_id
        product.stock[variant] = product.stock.get(variant, 0) + units

    # What is asked.

    def offered(self, shop: str, product_id: str) -> bool:
        """Whether it is for sale and in stock by all that was told."""
        known = self._shops.get(shop)
        return known is None or _offered(known, known.products.get(product_id))

    def allowed(self, shop: str, wanted: Wanted) -> Callable[[str], bool]:
        """The same question, of those alone that are as wanted: what is not known to be is not."""
        known = self._shops.get(shop)
        if known is None:
            return lambda _: wanted == Wanted()
        products = known.products
        if wanted == Wanted():
            return lambda product_id: _offered(known, products.get(product_id))

        def fits(product_id: str) -> bool:
            product = products.get(product_id)
            return product is not None and _offered(known, product) and _is(known, product, wanted)

        return fits

    def price(self, shop: str, product_id: str) -> int | None:
        """The lowest of its variants' prices, in 1/10000."""
        known = self._shops.get(shop)
        product = known.products.get(product_id) if known else None
        return product.price if product else None

    def attributes(self, shop: str, product_id: str) -> tuple[str, str]:
        """Its category and brand, empty where they are not known."""
        known = self._shops.get(shop)
        product = known.products.get(product_id) if known else None
        return (product.category, product.brand) if product else ("", "")

    # What is kept.

    def noticed(self) -> Sequence[Event]:
        return ()

    def state(self) -> Iterator[Any]:
        for name, shop in sorted(self._shops.items()):
            yield [_SHOP, name, shop.keeps_stock, shop.full]
            for category, parent in sorted(shop.parents.items()):
                yield [_CATEGORY, name, category, parent]
            for product_id, one in sorted(shop.products.items()):
                told = [one.category, one.brand, one.listed, one.delisted]
                amounts = [sorted(one.stock.items()), sorted(one.prices.items())]
                yield [_PRODUCT, name, product_id, *told, *amounts]

    def restore(self, state: Iterable[Any]) -> None:
        self._shops = {}
        for kind, name, *row in state:
            shop = self._shop(name)
            if kind == _SHOP:
                shop.keeps_stock, shop.full = row
            elif kind == _CATEGORY:
                category, parent = row
                shop.parents[category] = parent
            else:
                product_id, category, brand, listed, delisted, stock, prices = row
                shop.products[product_id] = _Product(
                    category, brand, listed, delisted, dict(stock), dict(prices)
                )


def _offered(shop: _Shop, product: _Product | None) -> bool:
    if product is None:
        return not shop.full
    if product.delisted:
        return False
    if product.stock:
        return any(units > 0 for units in product.stock.values())
    return not (shop.keeps_stock and product.listed)


def _is(shop: _Shop, product: _Product, wanted: Wanted) -> bool:
    if wanted.least is not None or wanted.most is not None:
        price = product.price
        if price is None or price < (wanted.least or 0):
            return False
        if wanted.most is not None and price > wanted.most:
            return False
    return not wanted.category or _within(shop, product.category, wanted.category)


def _within(shop: _Shop, category: str, wanted: str) -> bool:
    for _ in range(_DEEPEST):
        if category == wanted:
            return True
        category = shop.parents.get(category, "")
        if not category:
            return False
    return False


AVAILABILITY = ModelFamily("availability", version=1, new=Availability)
