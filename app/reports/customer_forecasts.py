"""What the learner says of customers, as live queries: with the names, the filters and the rows of
`/v1/customers`, and asked again when an order comes or a day is closed."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from app.reports.report import Asked, AskedRange, Column, Key, Moment, Report
from ml_online.customer_segments import LIKELY
from projections.read_model import Transaction
from streams.codec import EARLIEST_YEAR, LATEST_YEAR

_GROUP = "learners"
_PATIENCE = 2.0  # seconds that the learner has to learn what it has noted already
_Days = Annotated[int, Field(ge=1, le=3650, description="days ahead")]
_Limit = Annotated[int, Field(ge=1, le=500)]


class AskedOne(Asked):
    customer: Annotated[Key, Field(min_length=1, max_length=128)]
    horizon: _Days = 90


class AskedValue(AskedOne):
    horizon: _Days = 365


class AskedSegments(Asked):
    horizon: _Days = 90


class AskedAtRisk(Asked):
    horizon: _Days = 90
    min_churn: Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)] = LIKELY
    limit: _Limit = 50


async def _answer(
    transaction: Transaction, moment: Moment, path: str, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """What the learner answers once it has learned all orders that this transaction sees it has
    read; nothing where it knows nothing of it. Raises Away."""
    assert moment.learner is not None
    rows = await transaction.fetch(
        "SELECT partition, next_offset FROM progress WHERE group_name = $1 AND topic = 'orders'"
        " AND next_offset > 0 ORDER BY partition",
        _GROUP,
    )
    read_to = ",".join(f"orders:{row['partition']}:{row['next_offset'] - 1}" for row in rows)
    params = {**asked, "min_position": read_to, "wait": _PATIENCE}
    status, body = await moment.learner.told(path, params, _PATIENCE)
    return body if status == 200 else {}


_CHURN = (
    *("customer", "orders", "days_silent", "usual_gap", "churn", "chance_of_order"),
    *("still_a_customer", "silence_is_usual"),
)
_CLV = (
    *("customer", "currency", "expected_orders", "orders_median", "orders_80"),
    *("order_value", "expected_value", "value_median", "value_80"),
)


async def _one(
    transaction: Transaction, moment: Moment, asked: AskedOne, names: Sequence[str]
) -> list[dict[str, Any]]:
    params = {"shop": asked.shop, "customer": asked.customer, "days": asked.horizon}
    found = await _answer(transaction, moment, "/customers/outlook", params)
    return [{name: found[name] for name in names}] if found else []


async def _churn(transaction: Transaction, moment: Moment, asked: AskedOne) -> list[dict[str, Any]]:
    return await _one(transaction, moment, asked, _CHURN)


async def _clv(transaction: Transaction, moment: Moment, asked: AskedOne) -> list[dict[str, Any]]:
    return await _one(transaction, moment, asked, _CLV)


async def _segments(
    transaction: Transaction, moment: Moment, asked: AskedSegments
) -> list[dict[str, Any]]:
    params = {"shop": asked.shop, "days": asked.horizon}
    found = await _answer(transaction, moment, "/customers/segments", params)
    return list(found.get("segments", ()))


async def _at_risk(
    transaction: Transaction, moment: Moment, asked: AskedAtRisk
) -> list[dict[str, Any]]:
    params = {
        "shop": asked.shop,
        "days": asked.horizon,
        "min_churn": asked.min_churn,
        "limit": asked.limit,
    }
    found = await _answer(transaction, moment, "/customers/at-risk", params)
    return list(found.get("customers", ()))


async def _scores(
    transaction: Transaction, moment: Moment, asked: AskedRange
) -> list[dict[str, Any]]:
    params = {
        "shop": asked.shop,
        "first": (asked.first.isoformat() if asked.first else f"{EARLIEST_YEAR}-01-01"),
        "last": (asked.last.isoformat() if asked.last else f"{LATEST_YEAR}-12-31"),
    }
    found = await _answer(transaction, moment, "/customers/scores", params)
    return list(found.get("scores", ()))


def _columns(*names: str) -> Sequence[Column]:
    return [Column(name) for name in names]


QUERIES: Sequence[Report[Any]] = (
    Report(
        name="customers_churn",
        says="how likely a customer does not order again within the horizon",
        path="/v1/customers/{customer_id}/churn",
        group=_GROUP,
        asked=AskedOne,
        columns=lambda _: _columns(*_CHURN),
        key=lambda _: ("customer",),
        rows=_churn,
        tag="customers",
        past=False,
    ),
    Report(
        name="customers_clv",
        says="what a customer is expected to bring within the horizon",
        path="/v1/customers/{customer_id}/clv",
        group=_GROUP,
        asked=AskedValue,
        columns=lambda _: _columns(*_CLV),
        key=lambda _: ("customer",),
        rows=_clv,
        tag="customers",
        past=False,
    ),
    Report(
        name="customers_segments",
        says="customers by what they are expected to do, and what to do of them",
        path="/v1/customers/segments",
        group=_GROUP,
        asked=AskedSegments,
        columns=lambda _: [
            *_columns("segment", "says", "action"),
            Column("customers", "count"),
            *_columns("share", "churn", "expected_orders", "expected_value"),
        ],
        key=lambda _: ("segment",),
        rows=_segments,
        tag="customers",
        past=False,
    ),
    Report(
        name="customers_at_risk",
        says="customers who are likely to stay away, those first of whom most would be lost",
        path="/v1/customers/at_risk",
        group=_GROUP,
        asked=AskedAtRisk,
        columns=lambda _: [
            *_columns("customer", "churn", "still_a_customer"),
            Column("orders", "count"),
            *_columns("days_silent", "usual_gap", "expected_orders", "currency"),
            *_columns("expected_value", "value_at_risk", "reasons"),
        ],
        key=lambda _: ("customer",),
        rows=_at_risk,
        tag="customers",
        past=False,
    ),
    Report(
        name="customers_scores",
        says="how well it was foretold who orders again, by weeks ahead",
        path="/v1/customers/scores",
        group=_GROUP,
        asked=AskedRange,
        columns=lambda _: [
            Column("weeks", "count"),
            *_columns("foretold", "ordered", "auc", "brier", "calibration_error", "log_loss"),
            *_columns("mae_orders", "rmse_orders", "aggregate_orders", "inside_80", "bg_nbd"),
            *_columns("calibration"),
        ],
        key=lambda _: ("weeks",),
        rows=_scores,
        tag="customers",
        past=False,
    ),
)
