"""`python -m loadtests.offers FILE`: whether what is offered is what the basket held.

Orders of UCI's Online Retail, one after the other: before each is learned, two of its products are
asked about, and it is a hit if another of its products is among ten offers. May chose the settings;
September judges them. Orders of more than 50 products are learned, but not asked about.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from ml_online.bought_together import BoughtTogether, Related
from streams import codec
from streams.codec import Fact
from streams.events import OrderCompleted
from streams.online_retail import read

OFFERS = 10
MONTHS = {(2011, 5): "May, settings chosen on", (2011, 9): "September, judged on"}


def hits(file: Path) -> dict[tuple[int, int], tuple[int, int, int]]:
    """By month: how often it was asked, hit, and would have been hit by what is trending."""
    learner, random = BoughtTogether(), Random(1)
    found = dict.fromkeys(MONTHS, (0, 0, 0))
    for offset, entry in enumerate(read(file, ZoneInfo("UTC"), "main", datetime.now(UTC)).entries):
        event = entry.event
        if event.type != "OrderCompleted":
            continue
        data = codec.decode_fields(event.type, event.data)
        assert isinstance(data, OrderCompleted)
        basket = {line.product_id for line in data.products}
        month = (event.time.year, event.time.month)
        if month in found and 2 <= len(basket) <= 50:
            for product in random.sample(sorted(basket), 2):
                asked, together, trending = found[month]
                _, related = learner.related("main", product, OFFERS)
                found[month] = (
                    asked + 1,
                    together + _hit(related, basket),
                    trending + _hit(learner.trending("main", OFFERS, product), basket),
                )
        learner.learn(Fact("orders", 0, offset, event, data))
    return found


def _hit(offers: list[Related], basket: set[str]) -> bool:
    return any(one.product_id in basket for one in offers)


def main(file: Path) -> None:
    """Prints the share of hits of each month."""
    table = Table("", "asked", "bought together", "trending", box=None)
    for month, (asked, together, trending) in hits(file).items():
        share = [f"{hit / asked:.1%}" for hit in (together, trending)]
        table.add_row(MONTHS[month], f"{asked:,}", *share)
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
