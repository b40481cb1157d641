"""The live figures that Redis holds, against a recount."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from loadtests.chaos.recount import Books, Measures
from loadtests.chaos.served import Comparison, Tally, as_served, compare_names, measured
from loadtests.chaos.site import Site

_LIVE = timedelta(hours=24)  # surely among what Redis holds


async def compare_redis(site: Site, books: Books, now: datetime) -> Comparison:
    """The live figures of the last day, to the last measure."""
    tally = Tally()
    since = now - _LIVE
    counted = {
        key: as_served(measures) for key, measures in books.revenue.items() if key[2] >= since
    }
    served: dict[Any, Any] = {}
    sellers = {
        key: as_served({name: measures[name] for name in measures if name != "adjustments"})
        for key, measures in books.best_sellers.items()
        if key[1] > since.date()
    }
    served_sellers: dict[Any, Any] = {}
    names: dict[tuple[str, str], str | None] = {}
    async with Redis.from_url(site.servers.redis) as redis:
        async for shop, value in _live(redis, site, "revenue"):
            hour = datetime.fromisoformat(value["hour"]).astimezone(UTC)
            if hour >= since:
                row = (shop, value["dimension"], hour, value["key"], value["currency"])
                served[row] = measured(value)
        async for shop, value in _live(redis, site, "best_sellers"):
            day = date.fromisoformat(value["day"])
            if day > since.date():
                seller = (shop, day, value["product"], value["currency"])
                served_sellers[seller] = measured(value)
                names[shop, value["product"]] = value["name"]
    tally.compare("redis revenue", _with_any(counted), _with_any(served))
    tally.compare("redis best_sellers", _with_any(sellers), _with_any(served_sellers))
    compare_names(tally, "redis best_sellers", books, names)
    return Comparison(tally.figures, tally.differences, 0, 0)


def _with_any(figures: Mapping[Any, Measures]) -> dict[Any, Measures]:
    """Without those of which every measure is zero."""
    return {key: measures for key, measures in figures.items() if measures}


async def _live(redis: Redis, site: Site, metric: str) -> AsyncIterator[tuple[str, Any]]:
    """Every figure that Redis holds of a metric: the shop, and the value."""
    async for name in redis.scan_iter(f"{site.settings.prefix}live:*:{metric}:*"):
        for held in (await redis.hgetall(name)).values():
            assert isinstance(held, bytes)
            figure = json.loads(held.split(b" ", 2)[2])
            yield figure["shop"], figure["value"]
