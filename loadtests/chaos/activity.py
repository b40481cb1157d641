"""What the group `activity` serves against a recount of the same log: orders, as the funnel and the
hours of visitors have them. It shares no code with the projections."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from loadtests.chaos.records import Fate, Judged
from loadtests.chaos.served import Comparison, Tally
from loadtests.chaos.site import TOPIC, Impatient, Site, until

GROUP = "activity"
_STEPS: Mapping[str, str] = {
    "CheckoutStarted": "checkout",
    "OrderPlaced": "checkout",
    "OrderCompleted": "ordered",
}
_CHECKOUT, _ORDERED = ("CheckoutStarted", "OrderPlaced"), ("OrderPlaced", "OrderCompleted")
_FUNNEL = ("shop", "day", "product", "country", "visitor")
_HOURS = ("shop", "hour", "country", "visitor")


async def compare_activity(site: Site, log: Sequence[Judged], patience: float) -> Comparison:
    """Every row of the funnel and of the hours of visitors, once all of the log is in them. Raises
    Impatient."""
    await _caught_up(site, log, patience)
    events = [event for _, fate, event in log if fate is Fate.COUNTS and event]
    tally = Tally()
    rows = await site.sql("SELECT * FROM funnel")
    served = {
        tuple(row[name] for name in _FUNNEL): {
            step: row[step] for step in ("checkout", "ordered") if row[step]
        }
        for row in rows
    }
    tally.compare("funnel", funnel(events), served)
    rows = await site.sql("SELECT * FROM visitor_hours")
    seen = {
        tuple(row[name] for name in _HOURS): (row["seen_at"], row["checkout_at"], row["ordered_at"])
        for row in rows
    }
    tally.compare("visitor_hours", hours(events), seen)
    return Comparison(tally.figures, tally.differences, 0, 0)


async def _caught_up(site: Site, log: Sequence[Judged], patience: float) -> None:
    ends: dict[int, int] = {}
    for record, _, _ in log:
        ends[record.partition] = max(ends.get(record.partition, 0), record.offset + 1)

    async def applied() -> bool:
        rows = await site.sql(
            "SELECT partition, next_offset FROM progress WHERE group_name = $1 AND topic = $2",
            GROUP,
            TOPIC,
        )
        at = {row["partition"]: row["next_offset"] for row in rows}
        return all(at.get(number, 0) >= end for number, end in ends.items())

    begun = time.monotonic()
    try:
        await until(applied, patience, f"{GROUP} has not applied all")
    except Impatient as impatient:
        raise Impatient(f"{impatient}, of {time.monotonic() - begun:.0f} s") from None


def _visitor(event: Mapping[str, Any]) -> str:
    if person := event.get("person"):
        return f"v:{person}"
    if cart := event["data"].get("cart_id"):
        return f"c:{cart}"
    return f"o:{event['data'].get('order_id') or event['subject']}"


def _of_visitors(events: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The events of who is in the shop, with the country that each tells."""
    for event in events:
        if event["type"] in _STEPS:
            yield event, event["data"].get("country") or ""


def funnel(events: Iterable[Mapping[str, Any]]) -> dict[Any, Mapping[str, int]]:
    """How often each visitor came to each step, by shop, day, product and country."""
    found: dict[Any, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for event, country in _of_visitors(events):
        day = event["time"].astimezone(UTC).date()
        lines = event["data"].get("products") or []
        for product in {"", *(line["product_id"] for line in lines)}:
            key = (event["shop"], day, product, country, _visitor(event))
            found[key][_STEPS[event["type"]]] += 1
    return {key: dict(row) for key, row in found.items()}


def hours(events: Iterable[Mapping[str, Any]]) -> dict[Any, tuple[datetime | None, ...]]:
    """When each visitor was last seen, began a checkout and ordered, by shop, hour and country."""
    found: dict[Any, list[tuple[datetime, str]]] = defaultdict(list)
    for event, country in _of_visitors(events):
        at = event["time"].astimezone(UTC)
        hour = at.replace(minute=0, second=0, microsecond=0)
        found[event["shop"], hour, country, _visitor(event)].append((at, event["type"]))

    def last(acts: Iterable[tuple[datetime, str]], kinds: Sequence[str]) -> datetime | None:
        return max((at for at, kind in acts if kind in kinds), default=None)

    return {
        key: (max(at for at, _ in acts), last(acts, _CHECKOUT), last(acts, _ORDERED))
        for key, acts in found.items()
    }
