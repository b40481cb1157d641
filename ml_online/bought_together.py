"""What is bought together, and what is trending: decayed counts of orders, by event time.

An order's weight doubles with every half-life since 2000, instead of the past being halved again
and again. So nothing has to be aged, and scores, which are ratios of weights, are the same as if it
were. Weights are whole numbers: however the orders come, late or shuffled between partitions, they
add up to the same.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from heapq import nlargest
from itertools import islice
from math import sqrt
from typing import Any, Literal, NamedTuple

import xxhash
from msgspec import Struct

from ml_online.family import ModelFamily
from streams.codec import Fact
from streams.events import Event, OrderCompleted

HALF_LIFE = timedelta(days=90)
TRENDING_HALF_LIFE = timedelta(days=7)

MOST_PRODUCTS = 100_000
"""Of one shop: beyond them, those that sold least of late are forgotten."""
MOST_PAIRS = 64
"""Of one product: beyond twice as many, the lightest are forgotten."""
MOST_LINES = 30
"""Products of one order that count; who buys more buys for a shop of their own."""
ONCE = 20_000
"""An order counts once among so many orders of its partition, under whatever event ids."""
MOST_TRENDING = 200

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_LATEST_HOURS = (
    200 * 365 * 24
)  # a number that doubles each week for longer is not fit to be written
_FRACTION_BITS = 16
# The lower bits of a packed number count orders, the upper add up their weights.
_COUNT_BITS = 40
_COUNT = (1 << _COUNT_BITS) - 1
# So many orders are taken to have had one of two products without the other: what was bought
# together once or twice by chance does not come first.
_PRIOR_ORDERS = 20

_COUNTED, _PRODUCT = "counted", "product"  # kinds of rows of the state


class Related(NamedTuple):
    """A product to offer; `orders` is how many had it (and the one asked about, if together)."""

    product_id: str
    score: float
    orders: int


class _Product(Struct):
    """Packed counts: of its orders with either half-life, and by product of those with both."""

    id: str  # the one text of it, in every pair
    orders: int = 0
    trend: int = 0
    pairs: dict[str, int] = {}


class _Shop(Struct):
    products: dict[str, _Product] = {}
    # Weights only grow: those that trend are among these, and need not be looked for.
    trending: dict[str, int] = {}
    trending_from: int = 0


class BoughtTogether:
    """Implements `ml_online.family.Learner`."""

    def __init__(self) -> None:
        self._shops: dict[str, _Shop] = {}
        self._counted: dict[int, dict[int, None]] = {}  # the latest orders of each partition

    def learn(self, fact: Fact) -> None:
        """Counts an order when it is completed. What is given back later was bought together."""
        data = fact.data
        if not isinstance(data, OrderCompleted):
            return
        if self._repeats(fact.partition, fact.event.shop, data.order_id):
            return
        shop = self._shops.setdefault(fact.event.shop, _Shop())
        basket = dict.fromkeys(line.product_id for line in data.products)
        hours = (fact.event.time - _EPOCH) // _HOUR
        one, trend = _one(hours, HALF_LIFE), _one(hours, TRENDING_HALF_LIFE)
        bought = [
            self._count(shop, product_id, one, trend) for product_id in islice(basket, MOST_LINES)
        ]
        ids = [product.id for product in bought]
        for number, product in enumerate(bought):
            pairs = product.pairs
            known = pairs.get
            for other in ids[:number]:
                pairs[other] = known(other, 0) + one
            for other in ids[number + 1 :]:
                pairs[other] = known(other, 0) + one
            if len(pairs) > 2 * MOST_PAIRS:
                product.pairs = _without_lightest(pairs, MOST_PAIRS)
        if len(shop.products) > MOST_PRODUCTS + MOST_PRODUCTS // 8:
            _forget_products(shop)

    def _repeats(self, partition: int, shop: str, order_id: str) -> bool:
        counted = self._counted.setdefault(partition, {})
        order = xxhash.xxh3_64_intdigest(f"{shop}\0{order_id}".encode())
        if order in counted:
            return True
        counted[order] = None
        if len(counted) > ONCE:
            del counted[next(iter(counted))]
        return False

    def _count(self, shop: _Shop, product_id: str, one: int, trend: int) -> _Product:
        product = shop.products.get(product_id)
        if product is None:
            product = shop.products[product_id] = _Product(product_id)
        product.orders += one
        product.trend += trend
        if product.trend >= shop.trending_from:
            _note_trend(shop, product.id, product.trend)
        return product

    # What is asked.

    def related(
        self, shop: str, product_id: str, limit: int
    ) -> tuple[Literal["bought_together", "trending"], list[Related]]:
        """What goes with a product, best first; what is trending, where nothing does."""
        known = self._shops.get(shop)
        if known is None:
            return "trending", []
        product = known.products.get(product_id)
        if product and (together := nlargest(limit, _together(known, product), key=_rank)):
            return "bought_together", together
        return "trending", self.trending(shop, limit, besides=product_id)

    def trending(self, shop: str, limit: int, besides: str = "") -> list[Related]:
        """What sells most now, in orders, relative to the first of them."""
        known = self._shops.get(shop)
        found = _heaviest(MOST_TRENDING, known.trending.items()) if known else []
        top = found[0][1] >> _COUNT_BITS if found else 1
        return [
            Related(product_id, (trend >> _COUNT_BITS) / top, trend & _COUNT)
            for product_id, trend in found
            if product_id != besides
        ][:limit]

    # What is kept.

    def noticed(self) -> Sequence[Event]:
        return ()

    def state(self) -> Iterator[Any]:
        for partition, orders in sorted(self._counted.items()):
            yield [_COUNTED, partition, list(orders)]
        for name, shop in sorted(self._shops.items()):
            for product_id, one in sorted(shop.products.items()):
                pairs = [f for pair in sorted(one.pairs.items()) for f in pair]
                yield [_PRODUCT, name, product_id, one.orders, one.trend, pairs]

    def restore(self, state: Iterable[Any]) -> None:
        self._counted, self._shops = {}, {}
        texts: dict[str, str] = {}  # one of each, in every pair
        for kind, *row in state:
            if kind == _COUNTED:
                partition, orders = row
                self._counted[partition] = dict.fromkeys(orders)
            else:
                name, product_id, count, trend, pairs = row
                shop = self._shops.setdefault(name, _Shop())
                others = (texts.setdefault(other, other) for other in pairs[::2])
                own = texts.setdefault(product_id, product_id)
                together = dict(zip(others, pairs[1::2], strict=True))
                shop.products[own] = _Product(own, count, trend, together)
        for shop in self._shops.values():
            _find_trending(shop)


@lru_cache(maxsize=4096)
def _one(hours: int, half_life: timedelta) -> int:
    """One order of that hour: its weight, and a count of one."""
    whole, rest = divmod(min(max(0, hours), _LATEST_HOURS), half_life // _HOUR)
    weight = round(2 ** (_FRACTION_BITS + rest / (half_life // _HOUR))) << whole
    return weight << _COUNT_BITS | 1


def _together(shop: _Shop, product: _Product) -> Iterator[Related]:
    """Decayed cosine, drawn toward zero where few orders speak for it."""
    for other_id, packed in product.pairs.items():
        other = shop.products.get(other_id)
        if other is None:
            continue
        weight, count = packed >> _COUNT_BITS, packed & _COUNT
        share = weight / (product.orders >> _COUNT_BITS)
        of_other = weight / (other.orders >> _COUNT_BITS)
        score = sqrt(share * of_other) * count / (count + _PRIOR_ORDERS)
        yield Related(other_id, score, count)


def _rank(related: Related) -> tuple[float, int, str]:
    return related.score, related.orders, related.product_id


def _without_lightest(pairs: Mapping[str, int], limit: int) -> dict[str, int]:
    """The heaviest pairs, as `_heaviest` has them, in a third of its time: with large baskets this
    is most of what learning takes."""
    least = sorted(pairs.values())[-limit]
    kept = {other: weight for other, weight in pairs.items() if weight > least}
    ties = (other for other, weight in pairs.items() if weight == least)
    kept.update(dict.fromkeys(nlargest(limit - len(kept), ties), least))
    return kept


def _heaviest(limit: int, found: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return nlargest(limit, found, key=_weight)


def _weight(item: tuple[str, int]) -> tuple[int, str]:
    return item[1], item[0]


def _note_trend(shop: _Shop, product_id: str, trend: int) -> None:
    shop.trending[product_id] = trend
    if len(shop.trending) >= 2 * MOST_TRENDING:
        shop.trending = dict(_heaviest(MOST_TRENDING, shop.trending.items()))
        shop.trending_from = min(shop.trending.values())


def _find_trending(shop: _Shop) -> None:
    found = ((product_id, one.trend) for product_id, one in shop.products.items())
    shop.trending = dict(_heaviest(MOST_TRENDING, found))
    shop.trending_from = min(shop.trending.values()) if len(shop.trending) == MOST_TRENDING else 0


def _forget_products(shop: _Shop) -> None:
    """Keeps those that sold most of late. Pairs with the others stay until they are outweighed."""
    found = ((product_id, one.trend) for product_id, one in shop.products.items())
    kept = {product_id for product_id, _ in _heaviest(MOST_PRODUCTS, found)}
    shop.products = {name: one for name, one in shop.products.items() if name in kept}
    _find_trending(shop)


BOUGHT_TOGETHER = ModelFamily("bought_together", version=1, new=BoughtTogether)
