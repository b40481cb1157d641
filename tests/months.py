"""Months as the closer tells of them, for what learns them."""

from calendar import monthrange
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_URL, uuid5

from streams import codec
from streams.events import DayFigure, Event, MonthClosed, MonthCorrected, SalesLevel
from streams.money import Money, SignedMoney

_LEVELS: tuple[SalesLevel, ...] = ("category", "product", "variant")


def month_event(
    year: int,
    month: int,
    values: Mapping[str, int],
    *,
    corrected: bool = False,
    currency: str = "EUR",
    shop: str = "main",
    days: int | None = None,
    part: int = 1,
    parts: int = 1,
) -> Event:
    """The close, or a correction, of a month: net by category in whole units, the total under "",
    products as `category/product`, their variants as `category/product/variant`; of each a tenth as
    many units of goods. `days` of it are told, by default all."""
    figures = [
        DayFigure(
            level=_LEVELS[key.count("/")] if key else "total",
            key=key.rpartition("/")[2],
            currency=currency,
            gross=Money(max(0, value) * 10_000),
            discounts=Money(0),
            refunds=Money(0),
            net=SignedMoney(value * 10_000),
            orders=1,
            units=value // 10,
        )
        for key, value in values.items()
    ]
    name = f"{year:04}-{month:02}"
    length = monthrange(year, month)[1]
    told = range(length - (length if days is None else days) + 1, length + 1)
    kind = MonthCorrected if corrected else MonthClosed
    data = kind(
        month=name,
        days={f"{name}-{day:02}": 0 for day in told},
        figures=figures,
        revision=int(corrected),
        part=part,
        parts=parts,
    )
    at = datetime(year, month, length, tzinfo=UTC) + timedelta(days=1)
    label = f"{shop}/{kind.__name__}/{name}/{currency}/{part}/{sorted(values.items())}"
    return Event(
        id=str(uuid5(NAMESPACE_URL, label)),
        type=kind.__name__,
        shop=shop,
        subject=name,
        time=at,
        received_at=at,
        data=codec.raw(data),
    )
