"""All kinds of aggregates, in the order in which commands lock them: so none waits for another
that waits for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.account import ACCOUNT
from app.domain.aggregate import Aggregate
from app.domain.calendar_entry import CALENDAR_ENTRY
from app.domain.cart import CART
from app.domain.category import CATEGORY
from app.domain.coupon import COUPON
from app.domain.currency_rate import CURRENCY_RATE_YEARS
from app.domain.experiment import EXPERIMENT
from app.domain.order import ORDER
from app.domain.product import PRODUCT
from app.domain.review import REVIEW
from app.domain.shipping import SHIPPING_RATES
from app.domain.stock import STOCK
from app.domain.tax import TAX_RATES
from streams.events import Data

AGGREGATES: Sequence[Aggregate[Any]] = (
    ACCOUNT,
    CATEGORY,
    PRODUCT,
    COUPON,
    TAX_RATES,
    SHIPPING_RATES,
    CURRENCY_RATE_YEARS,
    CALENDAR_ENTRY,
    EXPERIMENT,
    CART,
    ORDER,
    STOCK,
    REVIEW,
)

OF_EVENT: Mapping[type[Data], Aggregate[Any]] = {
    event: aggregate for aggregate in AGGREGATES for event in aggregate.about
}
