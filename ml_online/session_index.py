"""Which product comes next in a session: sessions that went alike, in an index that grows by click.

Vector-multiplication-indexed session kNN (VMIS-kNN, Kersbergen et al. 2022), weighted as in STAN
(Garg et al. 2019): what was seen last counts most, neighbours by how near, how short and how recent
they are, and their products by how near they stand to what is shared. A click adds itself to two
lists, so that the next question knows of it.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from heapq import nlargest
from math import exp, sqrt
from typing import Any

from msgspec import Struct

MOST_SESSIONS = 200_000
MOST_PRODUCTS = 200_000
LONGEST = 50
"""Products of a session that are kept, and the latest of them that are compared."""
COMPARED = 12
HOLDERS = 500
"""The latest sessions with a product that are looked at."""
NEIGHBOURS = 400
GAP_SECONDS = 1_800.0
"""Who does nothing for so long begins a new session."""

_POSITIONS = 2.0
_DISTANCE = 6.0
_RECENCY_SECONDS = 20 * 86_400.0
_NEAR = [exp(-n / _DISTANCE) for n in range(LONGEST + 1)]
_LATE = [exp(-n / _POSITIONS) for n in range(LONGEST + 1)]


class _Session(Struct):
    key: str
    products: list[str]
    at: float


class SessionIndex:
    """The sessions of one shop. Times are seconds since 1970."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[int, _Session] = OrderedDict()  # the latest last
        self._holders: OrderedDict[str, deque[int]] = OrderedDict()  # likewise
        self._of: dict[str, int] = {}  # the open session of each key
        self._next = 0
        self.now = 0.0
        """The latest time that was told."""

    def seen(self, key: str, product_id: str, at: float) -> None:
        """One more product of the session that `key` is in; or its first, after a pause."""
        number = self._of.get(key)
        session = self._sessions.get(number) if number is not None else None
        if number is None or session is None or at - session.at > GAP_SECONDS:
            number = self._next
            self._next = number + 1
            session = self._sessions[number] = _Session(key, [], at)
            self._of[key] = number
            if len(self._sessions) > MOST_SESSIONS:
                self._forget()
        else:
            self._sessions.move_to_end(number)
        products = session.products
        holders = self._holders.get(product_id)
        if holders is None:
            holders = self._holders[product_id] = deque(maxlen=HOLDERS)
            if len(self._holders) > MOST_PRODUCTS:
                self._holders.popitem(last=False)
        else:
            self._holders.move_to_end(product_id)
        if product_id not in products:
            holders.append(number)
        products.append(product_id)
        if len(products) > LONGEST:
            del products[0]
        if at > session.at:
            session.at = at
        if at > self.now:
            self.now = at

    def _forget(self) -> None:
        number, session = self._sessions.popitem(last=False)
        if self._of.get(session.key) == number:
            del self._of[session.key]

    def session_of(self, key: str, at: float | None = None) -> Sequence[str]:
        """What the latest session of `key` has had, the latest last; nothing, if it is over."""
        number = self._of.get(key)
        session = self._sessions.get(number) if number is not None else None
        if session is None or (at is not None and at - session.at > GAP_SECONDS):
            return ()
        return tuple(session.products)

    def __contains__(self, product_id: str) -> bool:
        return product_id in self._holders

    def __len__(self) -> int:
        """How many products were seen."""
        return len(self._holders)

    def scores(self, session: Sequence[str], at: float) -> dict[str, float]:
        """How likely each product is to come next, in no unit; empty where nothing went alike."""
        latest = list(dict.fromkeys(reversed(session[-LONGEST:])))[:COMPARED]
        near = self._neighbours(session, latest, at)
        found: dict[str, float] = {}
        known = found.get
        for similarity, number in near:
            products = self._sessions[number].products
            shared = next((product for product in latest if product in products), None)
            if shared is None:  # it was in it, but has been dropped since
                continue
            # Where they met last is where the neighbour's way goes on.
            middle = len(products) - 1 - products[::-1].index(shared)
            for place, product in enumerate(products):
                weight = similarity * _NEAR[abs(place - middle)]
                found[product] = known(product, 0.0) + weight
        return found

    def _neighbours(
        self, session: Sequence[str], latest: Sequence[str], at: float
    ) -> list[tuple[float, int]]:
        alike: dict[int, float] = {}
        known = alike.get
        for place, product in enumerate(latest):
            weight = _LATE[place]
            for number in self._holders.get(product, ()):
                alike[number] = known(number, 0.0) + weight
        sessions = self._sessions.get
        own = list(session[-LONGEST:])
        found = []
        for number, weight in alike.items():
            one = sessions(number)
            if one is None or one.products == own:  # forgotten; or the very one that is asked about
                continue
            age = (at - one.at) / _RECENCY_SECONDS
            recency = exp(-age) if age > 0 else 1.0
            found.append((weight * recency / sqrt(len(one.products)), number))
        return nlargest(NEIGHBOURS, found) if len(found) > NEIGHBOURS else found

    def state(self) -> Iterator[Any]:
        yield ["next", self._next, self.now]
        for number, session in self._sessions.items():
            open_now = self._of.get(session.key) == number
            yield ["session", number, session.key, session.at, open_now, session.products]
        for product_id, holders in self._holders.items():
            yield ["holders", product_id, list(holders)]

    def restore(self, state: Iterable[Any]) -> None:
        self.__init__()  # type: ignore[misc]
        for kind, *row in state:
            if kind == "next":
                self._next, self.now = row
            elif kind == "session":
                number, key, at, open_now, products = row
                self._sessions[number] = _Session(key, list(products), at)
                if open_now:
                    self._of[key] = number
            else:
                product_id, holders = row
                self._holders[product_id] = deque(holders, maxlen=HOLDERS)
