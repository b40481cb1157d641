"""The shop at this moment: who is there, what is in carts, what was just bought, and how today goes
beside the same weekday a week before.

What was sold is never filtered, whoever bought it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from projections.cart_standing import STANDING, WORTH
from projections.clock import ShopClock, instant
from projections.read_model import Row, Transaction
from projections.traffic import COUNTED, Bots
from projections.visitor_links import LINKED, WHO

PRESENCE = timedelta(minutes=5)
"""Who did something within it is there. Of a client whose clock is ahead, until it is over."""


class Stretch(NamedTuple):
    """Since when somebody counts as there, a checkout or purchase as recent (a whole minute), and
    a cart as not given up."""

    present: datetime
    recent: datetime
    active: datetime


def stretch(now: datetime, recent: timedelta, silence: timedelta) -> Stretch:
    """What is looked at, at a moment."""
    since = (now - recent).replace(second=0, microsecond=0)
    return Stretch(now - PRESENCE, since, now - silence)


_LOOKED_AT = f"""
    WITH present AS MATERIALIZED (
        SELECT {WHO} AS who, told.country, told.bot,
            max(seen_at) AS seen_at, max(checkout_at) AS checkout_at
        FROM visitor_hours AS told {LINKED}
        WHERE told.shop = $1 AND hour >= $5 GROUP BY 1, 2, 3
    ),
    standing AS MATERIALIZED (
        {STANDING.format(silent="$4::timestamptz", since="$4", until="'infinity'")}
    )
"""  # noqa: S608  (made of constants)
_NOW = """
    SELECT
        (SELECT count(DISTINCT who) FROM present WHERE seen_at > $2 AND {counted}) AS visitors,
        (SELECT count(DISTINCT cart_id) FROM standing, {worth}
            WHERE standing = 'open' AND {counted}) AS active_carts,
        (SELECT count(DISTINCT who) FROM present WHERE checkout_at >= $3 AND {counted})
            AS checkouts,
        (SELECT coalesce(sum(orders), 0)::bigint FROM sales_minutes
            WHERE shop = $1 AND minute >= $3) AS purchases,
        (SELECT count(DISTINCT who) FROM present WHERE seen_at > $2 AND NOT ({counted}))
            AS left_out
"""
_COUNTRIES = """
    SELECT country, sum(visitors)::bigint AS visitors, sum(active_carts)::bigint AS active_carts,
        sum(checkouts)::bigint AS checkouts, sum(purchases)::bigint AS purchases,
        sum(left_out)::bigint AS left_out
    FROM (
        SELECT country, count(DISTINCT who) FILTER (WHERE seen_at > $2 AND {counted}) AS visitors,
            0 AS active_carts,
            count(DISTINCT who) FILTER (WHERE checkout_at >= $3 AND {counted}) AS checkouts,
            0 AS purchases,
            count(DISTINCT who) FILTER (WHERE seen_at > $2 AND NOT ({counted})) AS left_out
        FROM present GROUP BY country
        UNION ALL
        SELECT country, 0, count(DISTINCT cart_id), 0, 0, 0
        FROM standing, {worth} WHERE standing = 'open' AND {counted}
        GROUP BY country
        UNION ALL
        SELECT country, 0, 0, 0, sum(orders), 0
        FROM sales_minutes WHERE shop = $1 AND minute >= $3 GROUP BY country
    ) AS found
    GROUP BY country
    HAVING (sum(visitors), sum(active_carts), sum(checkouts), sum(purchases), sum(left_out))
        <> (0, 0, 0, 0, 0)
    ORDER BY country COLLATE "C"
"""


async def live_view(
    transaction: Transaction, clock: ShopClock, shop: str, at: Stretch, bots: Bots
) -> Row:
    """How many visitors, carts with something in them, checkouts and purchases; `left_out` are
    visitors who are not counted."""
    query = _LOOKED_AT + _NOW.format(counted=COUNTED[bots], worth=WORTH)
    found = await transaction.fetchrow(query, shop, *at, _hour(clock, at))
    assert found is not None
    return found


async def live_countries(
    transaction: Transaction, clock: ShopClock, shop: str, at: Stretch, bots: Bots
) -> Sequence[Row]:
    """The same by country, '' where it is not known; somebody who comes from two is in both."""
    query = _LOOKED_AT + _COUNTRIES.format(counted=COUNTED[bots], worth=WORTH)
    return await transaction.fetch(query, shop, *at, _hour(clock, at))


def _hour(clock: ShopClock, at: Stretch) -> datetime:
    """The hour of the shop's clock from which on visitors matter."""
    return instant(clock.hour(min(at.present, at.recent)))


_SALES = """
    SELECT currency,
        coalesce(sum({net}) FILTER (WHERE minute >= $2), 0) AS net,
        coalesce(sum(orders) FILTER (WHERE minute >= $2), 0)::bigint AS orders,
        coalesce(sum({net}) FILTER (WHERE minute < $4), 0) AS net_before,
        coalesce(sum(orders) FILTER (WHERE minute < $4), 0)::bigint AS orders_before
    FROM sales_minutes
    WHERE shop = $1 AND (minute >= $2 OR minute >= $3 AND minute < $4)
    GROUP BY currency ORDER BY currency COLLATE "C"
"""


async def live_sales(
    transaction: Transaction, clock: ShopClock, shop: str, now: datetime
) -> Sequence[Row]:
    """Sales since local midnight, and a week before from midnight to the same time of its clock (to
    the minute), by currency."""
    local = now.astimezone(clock.zone)
    before = (local.replace(tzinfo=None) - timedelta(days=7)).replace(second=0, microsecond=0)
    until = before.replace(tzinfo=clock.zone, fold=local.fold)
    return await transaction.fetch(
        _SALES.format(net="gross - discounts - refunds"),
        shop,
        clock.midnight(local.date()),
        clock.midnight(before.date()),
        until,
    )
