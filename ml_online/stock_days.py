"""Stock by variant as its events tell, and for what share of each closed day there was none.

An order takes stock by events of its own: `StockReserved` when it is placed, `StockShipped` when it
leaves the house. What shoppers can buy is what is on hand less what is reserved; a day without any
says nothing of demand. So a variant counts as out of stock only from when its stock was first
received or counted: of what nobody keeps a stock of, nothing is known.

Units move when their events say; those of a day that is closed move at once. When a day closes, its
moves are folded into what there was at its end.
"""

from bisect import insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any, NamedTuple

from msgspec import Struct, field

from ml_online.family import ModelFamily
from streams.codec import Fact
from streams.events import (
    DayClosed,
    Event,
    StockAdjusted,
    StockReceived,
    StockReleased,
    StockReserved,
    StockShipped,
)

MOST_VARIANTS = 50_000
"""Of one shop; those that come later are not followed."""

_MOST_MOVES = 512  # of one variant and open days: beyond them, every two become one
_MOST_STRETCHES = 40  # of days that are remembered: what demand shows, it shows over years
_SHOP, _VARIANT = "shop", "variant"  # rows of the state


class Stock(NamedTuple):
    """Units of one variant now. Reserved ones are on hand until they are shipped."""

    product: str
    on_hand: int
    reserved: int

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved


class _Variant(Struct):
    """`closing` is what was available when the last closed day ended, `moves` what changed since,
    by second; `out` are stretches of days without stock: first, last, share of each day."""

    product: str
    on_hand: int = 0
    reserved: int = 0
    counted: int | None = None  # since which second somebody has kept count
    closing: int = 0
    moves: list[tuple[int, int]] = field(default_factory=list)
    out: list[tuple[int, int, float]] = field(default_factory=list)


class _Shop(Struct):
    closed: int = 0  # the last day
    ended: int = 0  # when, in seconds
    variants: dict[str, _Variant] = field(default_factory=dict)


class StockDays:
    """Implements `ml_online.family.Learner`. It hears days before those who ask it about them."""

    def __init__(self) -> None:
        self._shops: dict[str, _Shop] = {}

    def learn(self, fact: Fact) -> None:
        """A move of stock, or the end of a day."""
        data = fact.data
        if isinstance(data, StockReceived | StockAdjusted):
            shop = self._shops.setdefault(fact.event.shop, _Shop())
            _move(shop, data, _seconds(fact.event.time))
        elif isinstance(data, DayClosed) and not data.revision:
            self._close(self._shops.setdefault(fact.event.shop, _Shop()), data)

    def shops(self) -> Mapping[str, object]:
        return self._shops

    def takes_long(self, fact: Fact) -> bool:  # noqa: ARG002
        """What it learns is soon learned."""
        return False

    def noticed(self) -> Sequence[Event]:
        return ()

    def _close(self, shop: _Shop, told: DayClosed) -> None:
        try:
            day = date.fromisoformat(told.date)
        except ValueError:
            return  # a date that no calendar has
        number = day.toordinal()
        if number <= shop.closed:
            return
        begins, ends = span(told, day)
        for variant in shop.variants.values():
            share = _end_day(variant, begins, ends)
            if share:
                _remember(variant, number, share)
        shop.closed, shop.ended = number, ends

    # What is asked.

    def censored(self, shop: str, day: int) -> dict[str, float]:
        """The share of a closed day, an ordinal, for which there was nothing of a variant to be
        sold; of those of which there was none for some of it. Days long past are forgotten."""
        known = self._shops.get(shop)
        found = {}
        for name, variant in known.variants.items() if known else ():
            for first, last, share in reversed(variant.out):
                if last < day:
                    break
                if first <= day:
                    found[name] = share
        return found

    def product_out(self, shop: str, product: str) -> dict[int, float] | None:
        """For what share of each closed day, an ordinal, there was nothing of a product to be sold,
        in any variant: of days on which all were out, that of the one which was out the least. None
        where nobody keeps count of it."""
        known = self._shops.get(shop)
        variants = [
            variant
            for variant in (known.variants.values() if known else ())
            if variant.product == product and variant.counted is not None
        ]
        if not variants:
            return None
        shares = [
            {day: share for first, last, share in one.out for day in range(first, last + 1)}
            for one in variants
        ]
        together = set(shares[0]).intersection(*shares[1:])
        return {day: min(of_one[day] for of_one in shares) for day in sorted(together)}

    def counted(self, shop: str, variant: str) -> bool:
        """Whether somebody keeps count of a variant."""
        known = self._shops.get(shop)
        one = known.variants.get(variant) if known else None
        return one is not None and one.counted is not None

    def ended(self, shop: str) -> datetime | None:
        """When the last closed day of a shop ended."""
        known = self._shops.get(shop)
        return datetime.fromtimestamp(known.ended, UTC) if known and known.closed else None

    def at_close(self, shop: str) -> Mapping[str, int]:
        """What was available of each variant when the last closed day ended."""
        return {name: one.closing for name, one in self._counted(shop)}

    def now(self, shop: str) -> Mapping[str, Stock]:
        """What there is of each variant by all that was told."""
        return {
            name: Stock(one.product, one.on_hand, one.reserved) for name, one in self._counted(shop)
        }

    def _counted(self, shop: str) -> Iterator[tuple[str, _Variant]]:
        known = self._shops.get(shop)
        for name, variant in known.variants.items() if known else ():
            if variant.counted is not None:
                yield name, variant

    # What is kept.

    def state(self) -> Iterator[Any]:
        for name, shop in sorted(self._shops.items()):
            yield [_SHOP, name, shop.closed, shop.ended]
            for variant, one in sorted(shop.variants.items()):
                rest = [one.on_hand, one.reserved, one.counted, one.closing, one.moves, one.out]
                yield [_VARIANT, name, variant, one.product, *rest]

    def restore(self, state: Iterable[Any]) -> None:
        self._shops = {}
        for what, name, *row in state:
            shop = self._shops.setdefault(name, _Shop())
            if what == _SHOP:
                shop.closed, shop.ended = row
            else:
                variant, product, on_hand, reserved, counted, closing, moves, out = row
                shop.variants[variant] = _Variant(
                    *(product, on_hand, reserved, counted, closing),
                    moves=[(at, units) for at, units in moves],
                    out=[(first, last, share) for first, last, share in out],
                )


STOCK_DAYS = ModelFamily("stock_days", version=2, new=StockDays)


def demand(units: float, share: float) -> float:
    """What a day's sales say of its demand, where there was no stock for a share of the day: NaN if
    they say too little. Who sells what is not there takes orders for it: then they say all."""
    if share >= 1.0:
        return units if units > 0 else float("nan")
    return units if share <= _LITTLE else float("nan")


_LITTLE = 0.05
"""Of a day: what is sold out shortly before it ends was hardly missed."""


def span(told: DayClosed, day: date) -> tuple[int, int]:
    """When a day began and ended, in seconds; by UTC where that is not told."""
    midnight = _seconds(datetime(day.year, day.month, day.day, tzinfo=UTC))
    begins = _seconds(told.begins) if told.begins else midnight
    return begins, _seconds(told.ends) if told.ends else begins + 86_400


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


def _move(shop: _Shop, data: StockReceived | StockAdjusted, at: int) -> None:
    # As `projections.stock_levels` names it.
    name = data.variant or data.product_id
    variant = shop.variants.get(name)
    if variant is None:
        if len(shop.variants) >= MOST_VARIANTS:
            return
        variant = shop.variants[name] = _Variant(data.product_id)
    variant.product = data.product_id
    before, units = variant.on_hand - variant.reserved, data.quantity
    match data:  # the first that fits: some events are special forms of later ones
        case StockShipped():
            variant.on_hand -= units
            variant.reserved -= units
        case StockReleased():
            variant.reserved -= units
        case StockReserved():
            variant.reserved += units
        case StockReceived() | StockAdjusted():
            variant.on_hand += units
            if variant.counted is None:
                variant.counted = at
    moved = variant.on_hand - variant.reserved - before
    if not moved:
        return
    if at < shop.ended:
        variant.closing += moved
        return
    insort(variant.moves, (at, moved))
    if len(variant.moves) > _MOST_MOVES:
        pairs = zip(variant.moves[::2], variant.moves[1::2], strict=False)
        odd = variant.moves[-1:] if len(variant.moves) % 2 else []
        variant.moves = [(one[0], one[1] + next_[1]) for one, next_ in pairs] + odd


def _end_day(variant: _Variant, begins: int, ends: int) -> float:
    """Folds the moves before the end of a day; for what share of it there was none."""
    upto = sum(1 for at, _ in variant.moves if at < ends)
    moves, variant.moves = variant.moves[:upto], variant.moves[upto:]
    if variant.counted is None or variant.counted >= ends:
        variant.closing += sum(units for _, units in moves)
        return 0.0
    since = max(begins, variant.counted)
    available, levels = variant.closing, [(since, variant.closing)]
    for at, units in moves:
        available += units
        levels.append((max(at, since), available))
    variant.closing = available
    stretches = pairwise([*levels, (ends, 0)])
    without = sum(until - at for (at, units), (until, _) in stretches if units <= 0)
    return without / max(ends - begins, 1)


def _remember(variant: _Variant, day: int, share: float) -> None:
    if variant.out and variant.out[-1][1:] == (day - 1, share):
        variant.out[-1] = (variant.out[-1][0], day, share)
    else:
        variant.out = [*variant.out, (day, day, share)][-_MOST_STRETCHES:]
