"""The words and figures of reports: how they are asked, and how an answer shows them."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, localcontext
from typing import Any

from app.reports.report import Kind
from projections.measured import Unit
from streams import money

DIGITS = 100
"""More than any sum has, converted or not: what is rounded is what is shown."""
PERIODS: Mapping[str, Kind] = {"hour": "time", "day": "day", "week": "day", "month": "month"}
"""What stands in the column of a period; of quarters and years it is text."""
_PLACES = 6


def split(told: Any) -> Any:
    """`by=country,product` as `by=country&by=product`; whatever is told twice is told once."""
    if not isinstance(told, list):
        return told
    return list(dict.fromkeys(part for one in told for part in str(one).split(",")))


def two(told: list[str]) -> list[str]:
    """Raises ValueError where there are more."""
    if len(told) > 2:
        raise ValueError(f"at most two, and these are {len(told)}: {', '.join(told)}")
    return told


def shown(value: Decimal | int | None, unit: Unit) -> str | int | None:
    """A value as JSON has it: money in up to four decimal places, shares and numbers in six. It is
    rounded here alone, and a half to the even digit."""
    if value is None or unit == "count":
        return None if value is None else int(value)
    with localcontext(prec=DIGITS):
        if unit == "money":
            return money.text(money.from_decimal(round(Decimal(value), money.SCALE)))
        return f"{round(Decimal(value), _PLACES).normalize():f}"


def share(part: int, whole: int) -> str | int | None:
    """A part of a whole; nothing of nothing."""
    with localcontext(prec=DIGITS):
        return shown(Decimal(part) / whole, "share") if whole else None


def period_of(grain: str, period: date | datetime) -> str:
    """A period by its name: `2026-03-01T12:00:00+01:00`, `2026-03-01`, a week by its first day,
    `2026-03`, `2026-Q1`, `2026`."""
    if grain == "month":
        return f"{period:%Y-%m}"
    if grain == "quarter":
        return f"{period.year}-Q{(period.month + 2) // 3}"
    return str(period.year) if grain == "year" else period.isoformat()
