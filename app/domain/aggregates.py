"""All kinds of aggregates, in the order in which commands lock them: so none waits for another
that waits for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.account import ACCOUNT
from app.domain.aggregate import Aggregate
from app.domain.product import PRODUCT
from app.domain.stock import STOCK
from streams.events import Data

AGGREGATES: Sequence[Aggregate[Any]] = (ACCOUNT, PRODUCT, STOCK)

OF_EVENT: Mapping[type[Data], Aggregate[Any]] = {
    event: aggregate for aggregate in AGGREGATES for event in aggregate.about
}
