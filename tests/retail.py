"""The file of a real shop: parts of it, and what a part comes to, counted from its lines alone."""

import csv
import gzip
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from streams import money

NAME = "online_retail_2010-12_2011-09"


def part(whole: Path, of: Path, first: date, last: date) -> Path:
    """Its lines of these days, both included. Ten months would take minutes."""
    with gzip.open(whole, "rt", newline="") as lines, gzip.open(of, "wt", newline="") as kept:
        rows = csv.reader(lines)
        header = next(rows)
        written = csv.writer(kept)
        written.writerow(header)
        at = header.index("InvoiceDate")
        days = first.isoformat(), last.isoformat()
        written.writerows(row for row in rows if days[0] <= row[at][:10] <= days[1])
    return of


def lines_of(file: Path) -> Iterator[dict[str, str]]:
    with gzip.open(file, "rt", newline="") as lines:
        yield from csv.DictReader(lines)


def counted(file: Path) -> dict[str, Any]:
    """What the facts file says of the whole, of any part: amounts as the API writes them."""
    sold: Counter[str] = Counter()
    months, countries, revenue, units = (
        Counter[str](),
        Counter[str](),
        Counter[str](),
        Counter[str](),
    )
    for row in lines_of(file):
        quantity, price = int(row["Quantity"]), Decimal(row["UnitPrice"])
        amount = money.parse(str(abs(quantity * price)))
        if row["InvoiceNo"].startswith("C"):
            sold["refunds"] += amount
        elif price < 0:
            sold["adjustments"] -= amount
        elif quantity > 0 and price > 0:
            sold["gross"] += amount
            months[row["InvoiceDate"][:7]] += amount
            countries[row["Country"]] += amount
            revenue[row["StockCode"]] += amount
            units[row["StockCode"]] += quantity
    return {
        "gross": money.text(sold["gross"]),
        "refunds": money.text(sold["refunds"]),
        "net_of_refunds": money.text(sold["gross"] - sold["refunds"]),
        "bad_debt_adjustments_negative_price_lines": money.text(sold["adjustments"]),
        "positive_revenue_by_month": {name: money.text(months[name]) for name in sorted(months)},
        "top5_countries_by_positive_revenue": most(countries, money.text),
        "top5_products_by_positive_units": most(units, int),
        "top5_products_by_positive_revenue": most(revenue, money.text),
    }


def most(of: Counter[str], told: Callable[[int], Any]) -> list[list[Any]]:
    return [[name, told(value)] for name, value in of.most_common(5)]
