"""Tastes as points: an online matrix factorisation of who turned to what.

One step of Bayesian personalised ranking (Rendle et al. 2009) for each product that comes, against
another product that did not; which one, and where everybody begins, follows from names and counts.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from math import exp
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from ml_online import arrays

FACTORS = 16
MOST_PERSONS = 100_000
MOST_PRODUCTS = 200_000
_RATE, _SHRUNK = 0.08, 0.005
_FIRST_ROWS = 256
_BEGINNING = 0.1
_FARTHEST = 20.0


class _Points:
    """Rows of one matrix by name; beyond `most` names, who was touched longest ago is forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.rows: OrderedDict[str, int] = OrderedDict()  # the latest last
        self.values: NDArray[np.float32] = np.zeros((_FIRST_ROWS, FACTORS), dtype=np.float32)

    def touch(self, name: str) -> int:
        row = self.rows.get(name)
        if row is not None:
            self.rows.move_to_end(name)
            return row
        if len(self.rows) >= self._most:
            _, row = self.rows.popitem(last=False)
        else:
            row = len(self.rows)
            if row >= len(self.values):
                self.values = np.concatenate([self.values, np.zeros_like(self.values)])
        self.rows[name] = row
        digest = np.frombuffer(xxhash.xxh3_128_digest(name.encode()), dtype=np.uint8)
        self.values[row] = (digest.astype(np.float32) / 127.5 - 1) * _BEGINNING
        return row

    def state(self) -> Iterator[Any]:
        yield arrays.dump(self.values)
        for name, row in self.rows.items():
            yield [name, row]

    def restore(self, rows: Iterator[Any]) -> None:
        self.values = arrays.load(next(rows))
        self.rows = OrderedDict((name, row) for name, row in rows)


class Factors:
    """The persons and products of one shop."""

    def __init__(self) -> None:
        self._persons = _Points(MOST_PERSONS)
        self._products = _Points(MOST_PRODUCTS)
        self._steps = 0

    def learn(self, person: str, products: Sequence[str]) -> None:
        """What came, each product against one of all others."""
        persons, known = self._persons, self._products
        mine = persons.touch(person)
        for product_id in products:
            this = known.touch(product_id)
            self._steps += 1
            other = xxhash.xxh3_64_intdigest(self._steps.to_bytes(8, "big")) % len(known.rows)
            if other == this:
                continue
            point, good, bad = persons.values[mine], known.values[this], known.values[other]
            apart = good - bad
            step = _RATE / (1 + exp(min(_FARTHEST, max(-_FARTHEST, float(point @ apart)))))
            kept = 1 - _RATE * _SHRUNK
            toward, away = step * point, step * apart
            persons.values[mine] = kept * point + away
            known.values[this] = kept * good + toward
            known.values[other] = kept * bad - toward

    def merge(self, old: str, person: str) -> None:
        """What was learned of `old` is true of `person`, of whom nothing is known yet."""
        rows = self._persons.rows
        if old in rows and person not in rows:
            rows[person] = rows.pop(old)

    def scores(self, person: str, products: Iterable[str]) -> dict[str, float]:
        """Of those products that are known, how likely a person turns to each, in no unit."""
        mine = self._persons.rows.get(person)
        if mine is None:
            return {}
        rows = self._products.rows
        names = [one for one in products if one in rows]
        found = self._products.values[[rows[one] for one in names]] @ self._persons.values[mine]
        likely = np.exp(np.clip(found.astype(np.float64), -_FARTHEST, _FARTHEST))
        return dict(zip(names, likely.tolist(), strict=True))

    def state(self) -> Iterator[Any]:
        yield ["steps", self._steps]
        for kind, points in (("persons", self._persons), ("products", self._products)):
            for row in points.state():
                yield [kind, row]

    def restore(self, state: Iterable[Any]) -> None:
        rows: dict[str, list[Any]] = {}
        for kind, row in state:
            rows.setdefault(kind, []).append(row)
        (self._steps,) = rows["steps"]
        self._persons.restore(iter(rows["persons"]))
        self._products.restore(iter(rows["products"]))
