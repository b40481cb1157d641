"""That a variant is about to run out of stock, as an event: the same whenever it is noticed."""

from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from streams import codec
from streams.events import Event, StockOutForeseen

_NAMESPACE = uuid5(NAMESPACE_URL, "tillstream/stock-outs")


def warning(shop: str, data: StockOutForeseen, at: datetime) -> Event:
    """Its id says of which variant and day it is."""
    return Event(
        id=str(uuid5(_NAMESPACE, f"{shop}\0{data.date}\0{data.variant}")),
        type="StockOutForeseen",
        shop=shop,
        subject=data.product_id,
        time=at,
        received_at=at,
        source="learners",
        data=codec.raw(data),
    )
