"""All kinds of aggregates, in the order in which commands lock them: so none waits for another
that waits for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.aggregate import Aggregate
from app.domain.category import CATEGORY
from app.domain.product import PRODUCT
from app.domain.review import REVIEW
from app.domain.stock import STOCK
from streams.events import Data

AGGREGATES: Sequence[Aggregate[Any]] = (CATEGORY, PRODUCT, STOCK, REVIEW)

OF_EVENT: Mapping[type[Data], Aggregate[Any]] = {
    event: aggregate for aggregate in AGGREGATES for event in aggregate.about
}
