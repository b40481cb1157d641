"""The served recommender, told of a file's visits as it is told of a shop's: by events."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from msgspec import Raw

from loadtests.evaluate.recommending import Question
from loadtests.evaluate.visits import Kind, Visit
from ml_online.recommender import Context, Recommender
from streams.codec import Fact
from streams.events import Data, Event, Line, OrderCompleted, ProductViewed
from streams.money import Money

_SHOP = "main"
_NOTHING = Raw(b"{}")
_FREE = Money(0)


class Served:
    """Implements `loadtests.evaluate.recommending.Ranker`."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.model = Recommender()
        self._told = 0

    def copy(self) -> "Served":
        """The same again, from its state."""
        other = Served(self._kind)
        other.model.restore(self.model.state())
        other._told = self._told
        return other

    def learn(self, visit: Visit) -> None:
        if self._kind == "baskets":
            lines = [_line(item) for item in visit.items]
            self._tell(visit, OrderCompleted(order_id=f"o{self._told}", products=lines))
        else:
            for item in visit.items:
                self._tell(visit, ProductViewed(product_id=item))

    def _tell(self, visit: Visit, data: Data) -> None:
        at = _time(visit.at)
        self._told += 1
        event = Event(
            id=f"e{self._told}",
            type=type(data).__name__,
            shop=_SHOP,
            subject=visit.session,
            time=at,
            received_at=at,
            data=_NOTHING,
            person=visit.user or None,
        )
        self.model.learn(Fact("interactions", 0, self._told, event, data))

    def rank(self, question: Question, limit: int) -> Sequence[str]:
        context = Context(_SHOP, question.user, question.session, _time(question.at))
        return [one.product_id for one in self.model.recommend(context, limit)]


@lru_cache(maxsize=100_000)
def _line(item: str) -> Line:
    return Line(product_id=item, price=_FREE)


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
