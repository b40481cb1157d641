"""Asking the API for every figure of a truth file, and telling where the two differ."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import httpx2

from loadtests.simulator.books import (
    ALL_TIME,
    MONEY,
    ORDER_COLUMNS,
    REVENUE_COLUMNS,
    TOP_COLUMNS,
    Key,
    Values,
    View,
    amount_text,
)
from loadtests.simulator.truth import Truth, digest

_TIMEOUT_SECONDS = 60.0
_WAIT_SECONDS = 10.0
_AT_ONCE = 8
_DAYS_AT_ONCE = 7
_MOST_POSITIONS = 100
_TOP = 1000
_ABSENT = ""


class Unanswered(Exception):
    """The API does not answer what it is asked; the message says what and why."""


class Difference(NamedTuple):
    """One figure that is not what it has to be; an empty text where it is not there at all."""

    view: str
    row: str
    column: str
    truth: str
    found: str


class Comparison(NamedTuple):
    """How many figures there are, those that differ, and the digest of those that were found."""

    figures: int
    differences: Sequence[Difference]
    digest: str


async def compare(
    api: str,
    truth: Truth,
    *,
    on_asked: Callable[[str, int], None] = lambda *_: None,
    on_waiting: Callable[[], None] = lambda: None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> Comparison:
    """Waits until all that was acknowledged is applied, then asks for everything.

    `on_asked` hears of each view, with its rows. Raises Unanswered.
    """
    limits = httpx2.Limits(max_connections=_AT_ONCE)
    async with httpx2.AsyncClient(
        base_url=api, timeout=_TIMEOUT_SECONDS, transport=transport, limits=limits
    ) as client:
        asking = _Asking(client, truth.shop)
        await asking.wait_applied(truth.acknowledged, on_waiting)
        wanted, found = truth.views, dict[str, View]()
        for name in wanted:
            found[name] = await asking.view(name, truth, wanted[name])
            on_asked(name, len(found[name]))
    differences = [
        one for name in wanted for one in differing(name, _columns(name), wanted[name], found[name])
    ]
    figures = sum(len(values) for view in wanted.values() for values in view.values())
    return Comparison(figures, differences, digest(found))


class _Asking:
    """The questions, one for each kind of view."""

    def __init__(self, client: httpx2.AsyncClient, shop: str) -> None:
        self._client = client
        self._shop = shop

    async def wait_applied(
        self, acknowledged: Mapping[str, int], on_waiting: Callable[[], None]
    ) -> None:
        """Until every acknowledged position is in the figures."""
        positions = [f"{partition}:{offset}" for partition, offset in acknowledged.items()]
        for start in range(0, len(positions), _MOST_POSITIONS):
            asked: dict[str, Any] = {"grain": "total", "wait": _WAIT_SECONDS}
            asked["min_position"] = positions[start : start + _MOST_POSITIONS]
            while await self._get(_REVENUE, asked, none=504) is None:
                on_waiting()

    async def view(self, name: str, truth: Truth, wanted: View) -> View:
        kind, *rest = name.split("/")
        if kind == "revenue":
            return await self._revenue(rest[0], rest[1], truth)
        if kind == "top-products":
            rows = await self._top("units", rest[0])
            return {(row["product"], row["currency"]): _values(row, TOP_COLUMNS) for row in rows}
        if kind == "ranking":
            rows = await self._top(rest[0], rest[1])
            return {(str(row["rank"]),): _values(row, (rest[0],)) for row in rows}
        return await self._orders([order_id for (order_id,) in wanted])

    async def _revenue(self, dimension: str, grain: str, truth: Truth) -> View:
        """Hours are asked for a week at a time, everything else at once."""
        spans: Iterator[dict[str, date]] = iter([{}])
        if grain == "hour":
            spans = weeks(truth.until - timedelta(days=truth.days - 1), truth.until)
        rows: list[Any] = []
        for span in spans:
            answer = await self._get(_REVENUE, {"by": dimension, "grain": grain, **span})
            rows += answer["rows"]
        return {
            (row.get(grain, ""), row.get(dimension) or "", row["currency"]): _values(
                row, REVENUE_COLUMNS
            )
            for row in rows
        }

    async def _top(self, measure: str, span: str) -> list[dict[str, Any]]:
        asked = {} if span == ALL_TIME else month(span)
        answer = await self._get(_TOP_PRODUCTS, {"by": measure, "limit": _TOP, **asked})
        rows: list[dict[str, Any]] = answer["rows"]
        return rows

    async def _orders(self, order_ids: Sequence[str]) -> View:
        found: View = {}
        left = iter(order_ids)

        async def ask() -> None:
            for order_id in left:
                answer = await self._get(f"/v1/orders/{order_id}", {}, none=404)
                if answer is not None:
                    found[order_id,] = _values(answer, ORDER_COLUMNS)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(_AT_ONCE):
                tasks.create_task(ask())
        return found

    async def _get(self, path: str, asked: Mapping[str, Any], *, none: int | None = None) -> Any:
        """An answer; None where its status is `none`. Raises Unanswered."""
        parameters = {"shop": self._shop, **asked}
        try:
            answer = await self._client.get(path, params=parameters)
        except httpx2.HTTPError as error:
            raise Unanswered(f"{path} is not answered: {error!r}") from error
        if answer.status_code == none:
            return None
        if answer.status_code != 200:
            raise Unanswered(f"{answer.url} answered {answer.status_code}: {answer.text[:300]}")
        return answer.json()


_REVENUE, _TOP_PRODUCTS = "/v1/sales/revenue", "/v1/sales/top-products"


def _values(row: Mapping[str, Any], columns: Sequence[str]) -> Values:
    return tuple(
        amount_text(Decimal(row[column])) if column in MONEY else _told(row[column])
        for column in columns
    )


def _told(value: Any) -> str | int:
    return value if isinstance(value, int) else value or _ABSENT


def differing(name: str, columns: Sequence[str], wanted: View, found: View) -> Iterator[Difference]:
    """Every figure of a view that is missing, too many, or of another value."""
    for key in sorted(wanted.keys() | found.keys()):
        absent = (_ABSENT,) * len(columns)
        for column, truth, answer in zip(
            columns, wanted.get(key, absent), found.get(key, absent), strict=True
        ):
            if truth != answer:
                yield Difference(name, _row(key), column, str(truth), str(answer))


def _columns(name: str) -> Sequence[str]:
    kind, _, rest = name.partition("/")
    if kind == "ranking":
        return (rest.partition("/")[0],)
    return {"revenue": REVENUE_COLUMNS, "top-products": TOP_COLUMNS}.get(kind, ORDER_COLUMNS)


def _row(key: Key) -> str:
    return " ".join(part for part in key if part) or "all"


def weeks(first: date, last: date) -> Iterator[dict[str, date]]:
    """`from` and `to` of stretches of a week, which together are the days first..last."""
    while first <= last:
        end = min(last, first + timedelta(days=_DAYS_AT_ONCE - 1))
        yield {"from": first, "to": end}
        first = end + timedelta(days=1)


def month(span: str) -> dict[str, date]:
    """`from` and `to` of a month such as `2026-11`."""
    first = date.fromisoformat(f"{span}-01")
    following = (first + timedelta(days=31)).replace(day=1)
    return {"from": first, "to": following - timedelta(days=1)}
