"""A report's values as cells of a file: of the kind that their column says.

Text that a customer wrote may begin as a formula. In Excel every text is written as text; in CSV,
where nothing tells them apart, it gets an apostrophe first (OWASP's rule); Parquet has types.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from app.reports.report import Column, Kind

Value = str | int | Decimal | date | datetime | None

NUMBERS: frozenset[Kind] = frozenset({"money", "count", "share", "number"})
MOST_DIGITS = 15
"""What an Excel number, a double, holds exactly; more digits are written as text."""
_LEADS_TO_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def value(told: Any, kind: Kind) -> Value:
    """A value of a report's JSON as what it means. Raises ValueError where it is no such."""
    if told is None:
        return None
    if kind == "text":
        return told if isinstance(told, str) else json.dumps(told, ensure_ascii=False, default=str)
    if kind == "count":
        return int(told)
    if kind in NUMBERS:
        return Decimal(told)
    if kind == "month":
        return date.fromisoformat(f"{told}-01")
    return date.fromisoformat(str(told)) if kind == "day" else datetime.fromisoformat(str(told))


def in_zone(at: datetime, zone: ZoneInfo) -> datetime:
    """What the shop's clock shows, without its zone: Excel knows none."""
    return at.astimezone(zone).replace(tzinfo=None)


def is_exact(number: int | Decimal) -> bool:
    """Whether an Excel number shows it as it is."""
    digits = Decimal(number).normalize().as_tuple().digits
    return len(digits) <= MOST_DIGITS


def harmless(text: str) -> str:
    """Text for a CSV: one apostrophe before what Excel may take for a formula, and before another
    apostrophe. Whoever takes one away from where there is one has it as it was."""
    leads = text.startswith(_LEADS_TO_A_FORMULA) or text.lstrip().startswith(_LEADS_TO_A_FORMULA)
    return f"'{text}" if leads else text


def as_csv(told: Any, kind: Kind) -> str:
    """A value as a field: numbers, days and times as in the API's JSON, text made harmless."""
    if told is None:
        return ""
    if kind != "text":
        return str(told)
    text = value(told, kind)
    assert isinstance(text, str)
    return harmless(text)


def sums(
    columns: Sequence[Column], names: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> tuple[Sequence[Column], Sequence[Mapping[str, Any]]]:
    """The columns of these names over all rows, for each currency by itself: columns and rows."""
    added = [column for column in columns if column.name in names]
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        currency = row.get("currency") or ""
        of = found.setdefault(currency, {c.name: Decimal(0) for c in added})
        for column in added:
            of[column.name] += Decimal(row[column.name] or 0)
    told = [{"currency": currency or None, **of} for currency, of in sorted(found.items())]
    return ([Column("currency"), *added], told) if added else ([], [])
