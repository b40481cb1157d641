"""What persons have bought, fading, and whose tastes are alike.

After TIFU-kNN (Hu et al. 2020): what somebody buys again, and what those buy who bought the same.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from heapq import nlargest
from math import log, sqrt
from typing import Any

from msgspec import Struct

from ml_online.fading import Clock

MOST_PERSONS = 200_000
MOST_PRODUCTS = 200_000
MOST_OF_PERSON = 200
"""Products of one person: beyond twice as many, the lightest are forgotten."""
HOLDERS = 80
"""The latest persons of a product who are looked at."""
COMPARED = 16
"""A person's heaviest products, by which others are found."""
NEIGHBOURS = 25

_HALF_LIFE = 60 * 86_400.0


class _Taste(Struct):
    products: dict[str, float]
    baskets: int = 0
    squares: float = 0.0  # the sum of its weights', squared

    def square(self) -> None:
        self.squares = sum((weight * weight for weight in self.products.values()), 0.0)


class Tastes:
    """The persons of one shop. Times are seconds since 1970."""

    def __init__(self) -> None:
        self._persons: OrderedDict[str, _Taste] = OrderedDict()  # the latest last
        self._holders: OrderedDict[str, deque[str]] = OrderedDict()
        self._clock = Clock(_HALF_LIFE)

    def bought(self, person: str, products: Sequence[str], at: float, amount: float = 1.0) -> None:
        """A basket of different products, which counts so much."""
        weight = amount * self._clock.one(at, self._divide)
        taste = self._persons.get(person)
        if taste is None:
            taste = self._persons[person] = _Taste({})
            if len(self._persons) > MOST_PERSONS:
                self._persons.popitem(last=False)
        else:
            self._persons.move_to_end(person)
        known = taste.products
        for product_id in products:
            if product_id not in known:
                self._hold(product_id, person)
            before = known.get(product_id, 0.0)
            known[product_id] = before + weight
            taste.squares += weight * (2 * before + weight)
        if len(known) > 2 * MOST_OF_PERSON:
            taste.products = dict(nlargest(MOST_OF_PERSON, known.items(), key=_weight))
            taste.square()
        taste.baskets += 1

    def _hold(self, product_id: str, person: str) -> None:
        holders = self._holders.get(product_id)
        if holders is None:
            holders = self._holders[product_id] = deque(maxlen=HOLDERS)
            if len(self._holders) > MOST_PRODUCTS:
                self._holders.popitem(last=False)
        else:
            self._holders.move_to_end(product_id)
        holders.append(person)

    def merge(self, old: str, person: str) -> None:
        """What `old` bought was bought by `person`: they are one."""
        taste = self._persons.pop(old, None)
        if taste is None:
            return
        known = self._persons.get(person)
        if known is None:
            self._persons[person] = taste
        else:
            for product_id, weight in taste.products.items():
                known.products[product_id] = known.products.get(product_id, 0.0) + weight
            known.baskets += taste.baskets
            known.square()
        for product_id in taste.products:
            self._hold(product_id, person)

    def baskets(self, person: str) -> int:
        """How often they have bought."""
        taste = self._persons.get(person)
        return taste.baskets if taste else 0

    def own(self, person: str) -> dict[str, float]:
        """What they have bought, the more often and the later the heavier."""
        taste = self._persons.get(person)
        return taste.products if taste else {}

    def heaviest(self, person: str) -> list[tuple[str, float]]:
        """The products by which a person is known."""
        return nlargest(COMPARED, self.own(person).items(), key=_weight)

    def alike(self, person: str, limit: int = NEIGHBOURS) -> list[tuple[str, float]]:
        """Who has bought the same, most alike first."""
        found: dict[str, float] = {}
        known = found.get
        for product_id, weight in self.heaviest(person):
            holders = self._holders.get(product_id, ())
            rare = weight / log(2 + len(holders))
            for other in holders:
                found[other] = known(other, 0.0) + rare
        found.pop(person, None)
        persons = self._persons
        ranked = (
            (similarity / sqrt(len(persons[other].products) + 5), other)
            for other, similarity in found.items()
            if other in persons
        )
        return [(other, similarity) for similarity, other in nlargest(limit, ranked)]

    def of_neighbours(self, person: str) -> dict[str, float]:
        """What those have bought whose tastes are alike."""
        found: dict[str, float] = {}
        known = found.get
        for other, similarity in self.alike(person):
            taste = self._persons[other]
            if taste.squares <= 0:
                continue
            each = similarity / sqrt(taste.squares)
            for product_id, weight in taste.products.items():
                found[product_id] = known(product_id, 0.0) + each * weight
        return found

    def _divide(self, by: float) -> None:
        for taste in self._persons.values():
            for product_id in taste.products:
                taste.products[product_id] *= by
            taste.square()

    def state(self) -> Iterator[Any]:
        yield ["clock", self._clock.origin]
        for person, taste in self._persons.items():
            flat = [value for pair in taste.products.items() for value in pair]
            yield ["person", person, taste.baskets, taste.squares, flat]
        for product_id, holders in self._holders.items():
            yield ["holders", product_id, list(holders)]

    def restore(self, state: Iterable[Any]) -> None:
        self.__init__()  # type: ignore[misc]
        for kind, *row in state:
            if kind == "clock":
                (self._clock.origin,) = row
            elif kind == "person":
                person, baskets, squares, flat = row
                weights = (float(weight) for weight in flat[1::2])
                products = dict(zip(flat[::2], weights, strict=True))
                self._persons[person] = _Taste(products, baskets, squares)
            else:
                product_id, holders = row
                self._holders[product_id] = deque(holders, maxlen=HOLDERS)


def _weight(item: tuple[str, float]) -> tuple[float, str]:
    return item[1], item[0]
