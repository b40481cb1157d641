"""What a load test was promised, and whether it was kept: every acknowledged event counts, once.

The ledger is written as requests are sent and answered. At the end the figures are asked for what
the ledger says; only where the sums differ is each order asked for, to name what is missing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

Ask = Callable[[str, Mapping[str, Any]], tuple[int, Any]]
"""Asks the API: from a path and its parameters to the status and the JSON of the answer."""

_WAIT_SECONDS = 10.0
_ATTEMPTS = 12
_MOST_POSITIONS = 100


class Sale(NamedTuple):
    """What an order adds to the figures."""

    gross: Decimal
    units: int


class Missing(NamedTuple):
    """Something that is not as it was acknowledged."""

    what: str
    acknowledged: str
    found: str


class Ledger:
    """What was sent, and what of it was acknowledged, by one process of a load test."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        """Acknowledged, by type."""
        self.sold: dict[str, Sale] = {}
        self.unknown: dict[str, Sale] = {}
        """Orders sent and never answered for: they may count, and may not."""
        self.last: dict[str, int] = {}
        """The last acknowledged offset of each partition (`orders:3`)."""
        self.repeated: list[str] = []
        self._positions: set[str] = set()

    def sending(self, event: Mapping[str, Any]) -> None:
        """An event is on its way."""
        if event["type"] == "OrderCompleted":
            self.unknown[event["data"]["order_id"]] = sale_of(event["data"])

    def acknowledged(self, event: Mapping[str, Any], position: str) -> None:
        """The API has said where an event stands in the log."""
        self.events[event["type"]] += 1
        if position in self._positions:
            self.repeated.append(position)
        self._positions.add(position)
        partition, _, offset = position.rpartition(":")
        self.last[partition] = max(int(offset), self.last.get(partition, -1))
        if event["type"] == "OrderCompleted":
            order_id = event["data"]["order_id"]
            self.sold[order_id] = self.unknown.pop(order_id)


def sale_of(order: Mapping[str, Any]) -> Sale:
    """What an order's lines come to."""
    lines = order["products"]
    gross = sum((Decimal(line["price"]) * line["quantity"] for line in lines), Decimal(0))
    return Sale(gross, sum(line["quantity"] for line in lines))


def check(ledger: Ledger, ask: Ask, categories: Sequence[str]) -> list[Missing]:
    """All that was acknowledged and is not in the figures. The orders of this test, and no
    others, are of these categories."""
    missing = [Missing(position, "one event", "two events") for position in ledger.repeated]
    if not ledger.last:
        return missing
    missing += _not_applied(ledger, ask)
    expected = _sum(ledger.sold.values())
    found = _counted(ask, categories)
    if found == expected:
        return missing
    orders = [*_orders(ledger, ask)]
    missing += orders
    if not orders and not _could_be(found, expected, ledger):
        missing.append(Missing("all orders", _text(expected), _text(found)))
    return missing


def _not_applied(ledger: Ledger, ask: Ask) -> Iterator[Missing]:
    """Waits for the last acknowledged position of every partition; those that do not come."""
    positions = [f"{partition}:{offset}" for partition, offset in sorted(ledger.last.items())]
    for start in range(0, len(positions), _MOST_POSITIONS):
        asked = {"min_position": positions[start : start + _MOST_POSITIONS], "wait": _WAIT_SECONDS}
        for _ in range(_ATTEMPTS):
            status, _answer = ask("/v1/sales/revenue", {"grain": "total", **asked})
            if status != 504:
                break
    status, answer = ask("/v1/sales/revenue", {"grain": "total"})
    if status != 200:
        yield Missing("the figures", "an answer", f"status {status}")
        return
    next_offsets = answer["complete_to"]["next_offsets"]
    for partition, offset in sorted(ledger.last.items()):
        topic, _, number = partition.partition(":")
        if topic in next_offsets and next_offsets[topic][int(number)] <= offset:
            yield Missing(partition, f"offset {offset}", "not applied")


def _counted(ask: Ask, categories: Sequence[str]) -> Sale:
    asked = {"grain": "total", "by": "category", "key": list(categories)}
    status, answer = ask("/v1/sales/revenue", asked)
    rows = answer["rows"] if status == 200 else []
    return Sale(
        sum((Decimal(row["gross"]) for row in rows), Decimal(0)), sum(row["units"] for row in rows)
    )


def _orders(ledger: Ledger, ask: Ask) -> Iterator[Missing]:
    """The acknowledged orders that are not there, or are worth something else."""
    for order_id, sale in ledger.sold.items():
        status, answer = ask(f"/v1/orders/{order_id}", {})
        if status != 200:
            yield Missing(f"order {order_id}", _text(sale), f"status {status}")
        elif Decimal(answer["gross"]) != sale.gross:
            yield Missing(f"order {order_id}", str(sale.gross), answer["gross"])


def _could_be(found: Sale, expected: Sale, ledger: Ledger) -> bool:
    """Whether what is there beyond the acknowledged may be what nobody answered for."""
    most = _sum([expected, *ledger.unknown.values()])
    return expected.gross <= found.gross <= most.gross and (
        expected.units <= found.units <= most.units
    )


def _sum(sales: Iterable[Sale]) -> Sale:
    found = Sale(Decimal(0), 0)
    for sale in sales:
        found = Sale(found.gross + sale.gross, found.units + sale.units)
    return found


def _text(sale: Sale) -> str:
    return f"{sale.gross} for {sale.units} units"


def report(ledger: Ledger, missing: Sequence[Missing]) -> str:
    """What a person reads at the end."""
    events = ledger.events.total()
    if not missing:
        left = f", {len(ledger.unknown)} orders without an answer" if ledger.unknown else ""
        return (
            f"✓ {events:,} events acknowledged, each at a place of its own; "
            f"all {len(ledger.sold):,} orders among them count{left}"
        )
    head = ("what", "acknowledged", "found")
    rows = [head, *missing[:50]]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    if len(missing) > 50:
        lines.append(f"and {len(missing) - 50:,} more")
    return "\n".join((f"✗ {len(missing):,} of {events:,} acknowledged are not as told:", *lines))
