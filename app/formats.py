"""The formats that `tillstream replay` reads, in one table, and how each accounts for its lines."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from app.settings import Settings
from streams import captured, money, online_retail, rees46, retailrocket
from streams.csv_file import Rejected
from streams.online_retail import Kind
from streams.past import Past
from streams.replay import Entry


class Lines(NamedTuple):
    """So many lines of one kind, and what became of them."""

    lines: int
    what: str
    events: str = ""
    amount: str = ""


class Account(NamedTuple):
    """Every line of a file, by what it was; `sums` is what its figures are, where it has any."""

    kinds: Sequence[Lines]
    lines: int
    events: int
    rejected: Sequence[Rejected]
    sums: str = ""


class Opened(NamedTuple):
    """A file's events, to be taken one by one; its account is whole once they are.

    How many `lines` they are made of is not known beforehand where a file is read as it is played.
    """

    entries: Iterable[Entry]
    account: Callable[[], Account]
    lines: int | None = None


Open = Callable[[Path, Settings, str, datetime], Opened]
"""From a path, the settings, the shop and the time of now. May raise OSError, Unreadable."""


# Online Retail.


def _online_retail(path: Path, settings: Settings, shop: str, now: datetime) -> Opened:
    retail = online_retail.read(path, settings.timezone, shop, now)
    summary = retail.summary
    lines = summary.lines - len(summary.rejected)
    return Opened(retail.entries, lambda: retail_account(summary), lines)


_RETAIL: Mapping[Kind, tuple[str, str]] = {
    Kind.SALE: ("sales", "OrderCompleted"),
    Kind.CANCELLATION: ("cancellations", "OrderRefunded"),
    Kind.NEGATIVE_PRICE: ("negative prices", "SalesAdjusted"),
    Kind.ZERO_PRICE_NEGATIVE_QUANTITY: ("no price, negative quantity", "StockAdjusted"),
    Kind.ZERO_PRICE_OTHER: ("no price, positive quantity", "StockAdjusted"),
    Kind.OTHER: ("rejected", ""),
}


def retail_account(summary: online_retail.Summary) -> Account:
    """An Online Retail file's lines."""
    amounts = {
        Kind.SALE: summary.gross,
        Kind.CANCELLATION: -summary.refunds,
        Kind.NEGATIVE_PRICE: summary.adjustments,
    }
    kinds = []
    for kind, (words, event_type) in _RETAIL.items():
        lines = summary.lines_by_kind.get(kind, 0)
        # Of lines without a price each is an event of its own, and two kinds make the same type.
        events = lines if event_type == "StockAdjusted" else summary.events_by_type.get(event_type)
        made = f"{events:,} {event_type}" if event_type and events else ""
        amount = amounts.get(kind)
        told = "" if amount is None else f"{amount:,} {online_retail.CURRENCY}"
        kinds.append(Lines(lines, words, made, told))
    return Account(
        kinds,
        summary.lines,
        sum(summary.events_by_type.values()),
        summary.rejected,
        f"gross {summary.gross:,}, refunds {summary.refunds:,}, net {summary.net:,} "
        f"{online_retail.CURRENCY}",
    )


# Those that are read as they are played.


def _rees46(path: Path, settings: Settings, shop: str, now: datetime) -> Opened:
    past = rees46.read(path, shop, now, settings.currency)
    return _streamed(past, _REES46, settings.currency)


def _retailrocket(path: Path, _settings: Settings, shop: str, now: datetime) -> Opened:
    return _streamed(retailrocket.read(path, shop, now), _RETAILROCKET)


def _captured(path: Path, _settings: Settings, shop: str, _now: datetime) -> Opened:
    return _streamed(captured.read(path, shop))


_REES46: Mapping[str, tuple[str, str]] = {
    "view": ("views", "ProductViewed"),
    "cart": ("into carts", "ProductAdded"),
    "remove_from_cart": ("out of carts", "ProductRemoved"),
    rees46.PURCHASE: ("purchases", "OrderCompleted"),
}
_RETAILROCKET: Mapping[str, tuple[str, str]] = {
    retailrocket.VIEW: ("views", "ProductViewed"),
    retailrocket.CART: ("into carts", "ProductAdded"),
    retailrocket.TRANSACTION: ("of transactions", "OrderCompleted, without a price"),
}


def _streamed(
    past: Past, words: Mapping[str, tuple[str, str]] | None = None, currency: str = ""
) -> Opened:
    return Opened(past.entries, lambda: tallied(past, words, currency))


def tallied(
    past: Past, words: Mapping[str, tuple[str, str]] | None = None, currency: str = ""
) -> Account:
    """A tally's lines by kind; without words, a kind is the type of its events."""
    tally = past.tally
    told = words or {kind: ("events", kind) for kind, _ in tally.events_by_kind.most_common()}
    kinds = []
    for kind, (what, event_type) in told.items():
        events, amount = tally.events_by_kind[kind], tally.amounts[kind]
        made = f"{events:,} {event_type}" if events else ""
        worth = f"{Decimal(money.text(amount)):,} {currency}" if amount else ""
        kinds.append(Lines(tally.lines_by_kind[kind], what, made, worth))
    kinds.append(Lines(len(tally.rejected), "rejected"))
    return Account(kinds, tally.lines, tally.events, sorted(tally.rejected))


FORMATS: Mapping[str, Open] = {
    "online-retail": _online_retail,
    "rees46": _rees46,
    "retailrocket": _retailrocket,
    "tillstream": _captured,
}
