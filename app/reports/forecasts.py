"""What the process that learns answers, as live queries: they have the names, the filters and the
rows of `/v1/forecasts`, and are asked again when a day or a month is closed or something is
planned; of stock also as time goes by."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from app.learner.forecasts import By
from app.learner.stock_out_answers import MOST_DAYS
from app.reports.report import Asked, AskedRange, Column, CurrencyCode, Key, Moment, Report
from ml_online.daily import HORIZON
from ml_online.monthly import HORIZON as MONTHS
from ml_online.sales_series import Measure
from ml_online.stock_out_forecast import ALERT
from projections.read_model import Transaction
from streams.codec import Refused
from streams.events import SalesLevel

_GROUP, _TOPIC = "learners", "days"
_PATIENCE = 2.0  # seconds that the learner has to learn what it has noted already
_TO_ORDER = ("reorder_point", "order_up_to", "suggested_quantity")
_SCORED_DAYS = 90  # of a calibration, which rows have not
_SCORES = ("pairs", "mae", "rmse", "r2", "wape", "mase", "rmsse", "crps", "coverage")


class AskedForecasts(Asked):
    level: SalesLevel = "total"
    id: Key = ""
    currency: CurrencyCode | None = None
    measure: Measure = "net"
    horizon: Annotated[int, Field(ge=1, le=HORIZON, description="days ahead")] = HORIZON


class AskedMonthForecasts(AskedForecasts):
    horizon: Annotated[int, Field(ge=1, le=MONTHS, description="months ahead")] = MONTHS


class AskedScores(AskedRange):
    level: SalesLevel | None = None
    currency: CurrencyCode | None = None
    measure: Measure = "net"
    by: By = "bucket"


_Days = Annotated[int, Field(ge=0, lt=MOST_DAYS)]
_Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
_Cost = Annotated[float | None, Field(gt=0.0, le=1e9, allow_inf_nan=False, validate_default=True)]


class AskedStockOuts(Asked):
    lead_time: Annotated[int, Field(ge=1, le=MOST_DAYS)] = 7
    review: _Days = 0
    cover: Annotated[_Days, Field(validate_default=True)] = 0
    service_level: Annotated[float, Field(ge=0.5, le=0.9999, allow_inf_nan=False)] = 0.95
    short_cost: _Cost = None
    over_cost: _Cost = None
    product: Annotated[Key | None, Field(max_length=128)] = None
    min_probability: _Share = 0.0
    alert: _Share = ALERT
    limit: Annotated[int, Field(ge=1, le=500)] = 50

    @field_validator("cover")
    @classmethod
    def _is_foretold(cls, cover: int, asked: ValidationInfo) -> int:
        if asked.data.get("lead_time", 0) + asked.data.get("review", 0) + cover > MOST_DAYS:
            raise ValueError(f"with lead_time and review no more than {MOST_DAYS} days")
        return cover

    @field_validator("over_cost")
    @classmethod
    def _has_both(cls, over_cost: float | None, asked: ValidationInfo) -> float | None:
        if "short_cost" in asked.data and (asked.data["short_cost"] is None) != (over_cost is None):
            raise ValueError("is given with short_cost, or neither is")
        return over_cost


async def _answer(
    transaction: Transaction, moment: Moment, path: str, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """What the learner answers once it has learned all that this transaction sees it has read;
    nothing where it does not know the series. Raises Away, Refused."""
    assert moment.learner is not None
    read = await transaction.fetchval(
        "SELECT next_offset FROM progress WHERE group_name = $1 AND topic = $2 AND partition = 0",
        _GROUP,
        _TOPIC,
    )
    read_to = f"{_TOPIC}:0:{read - 1}" if read else ""
    params = {**asked, "min_position": read_to, "wait": _PATIENCE}
    status, body = await moment.learner.told(path, params, _PATIENCE)
    if status == 422:
        error = body["errors"][0]
        raise Refused(f"filter.{error['field']}", error["reason"])
    return body if status == 200 else {}


async def _sales(
    transaction: Transaction, moment: Moment, asked: AskedForecasts
) -> Sequence[Mapping[str, Any]]:
    params = asked.model_dump(include={"shop", "level", "id", "currency", "measure", "horizon"})
    found = await _answer(transaction, moment, "/forecasts/sales", params)
    return list(found.get("forecasts", ()))


async def _months(
    transaction: Transaction, moment: Moment, asked: AskedMonthForecasts
) -> Sequence[Mapping[str, Any]]:
    """The month that runs, as far as anything of it is known, and those to come. A forecast of the
    running one made before it began is the first of them: `so_far` says which row is which."""
    params = asked.model_dump(include={"shop", "level", "id", "currency", "measure", "horizon"})
    found = await _answer(transaction, moment, "/forecasts/months", params)
    running = found.get("running")
    nothing = {"closed_days": None, "so_far": None, "nowcast": None, "nowcast_intervals": None}
    return [
        {
            **month,
            **(
                {
                    "closed_days": running["closed_days"],
                    "so_far": running["so_far"],
                    "nowcast": running["value"],
                    "nowcast_intervals": running["intervals"],
                }
                if running and running["month"] == month["month"]
                else nothing
            ),
        }
        for month in found.get("forecasts", ())
    ]


async def _scores(
    transaction: Transaction, moment: Moment, asked: AskedScores
) -> Sequence[Mapping[str, Any]]:
    params = asked.model_dump(
        mode="json", include={"shop", "level", "currency", "measure", "first", "last", "by"}
    )
    found = await _answer(transaction, moment, "/forecasts/scores", params)
    return [
        {
            "level": level["level"],
            "currency": level["currency"],
            "model": model,
            **{name: part[name] for name in _part(asked)},
            **scores,
        }
        for level in found.get("levels", ())
        for part in level[f"by_{asked.by}"]
        for model, scores in part.items()
        if isinstance(scores, dict)
    ]


def _part(asked: AskedScores) -> Sequence[str]:
    return ("date",) if asked.by == "day" else ("from", "to")


async def _models(
    transaction: Transaction, moment: Moment, asked: Asked
) -> Sequence[Mapping[str, Any]]:
    found = await _answer(transaction, moment, "/forecasts/models", {"shop": asked.shop})
    return list(found.get("models", ()))


async def _stock_outs(
    transaction: Transaction, moment: Moment, asked: AskedStockOuts
) -> Sequence[Mapping[str, Any]]:
    params = asked.model_dump(include=set(AskedStockOuts.model_fields) - {"as_of"})
    found = await _answer(
        transaction, moment, "/forecasts/stockouts", {**params, "scored_days": _SCORED_DAYS}
    )
    return list(found.get("stock_outs", ()))


async def _anomalies(_: Transaction, moment: Moment, asked: Asked) -> Sequence[Mapping[str, Any]]:
    assert moment.learner is not None
    _status, body = await moment.learner.told("/anomalies", {"shop": asked.shop}, _PATIENCE)
    return list(body.get("anomalies", ()))


QUERIES: Sequence[Report[Any]] = (
    Report(
        name="forecasts_sales",
        says="sales on each of the next days, with intervals",
        path="/v1/forecasts/sales",
        group=_GROUP,
        asked=AskedForecasts,
        columns=lambda _: [
            Column("date", "day"),
            Column("horizon", "count"),
            *(Column(name) for name in ("value", "intervals", "seasonal_naive", "known")),
        ],
        key=lambda _: ("date",),
        rows=_sales,
        tag="forecasts",
        past=False,
        topic=_TOPIC,
    ),
    Report(
        name="forecasts_months",
        says="sales in each of the next months, with intervals, and what the running one comes to",
        path="/v1/forecasts/months",
        group=_GROUP,
        asked=AskedMonthForecasts,
        columns=lambda _: [
            Column("month", "month"),
            Column("horizon", "count"),
            *(Column(name) for name in ("value", "intervals", "seasonal_naive")),
            Column("closed_days", "count"),
            *(Column(name) for name in ("so_far", "nowcast", "nowcast_intervals")),
        ],
        key=lambda _: ("month",),
        rows=_months,
        tag="forecasts",
        past=False,
        topic=_TOPIC,
    ),
    Report(
        name="forecasts_scores",
        says="how well forecasts did, for each level, model and bucket of horizons",
        path="/v1/forecasts/scores",
        group=_GROUP,
        asked=AskedScores,
        columns=lambda asked: [
            *(Column(name) for name in ("level", "currency", "model", *_part(asked))),
            *(Column(name, "number") for name in _SCORES),
        ],
        key=lambda asked: ("level", "currency", "model", *_part(asked)),
        rows=_scores,
        tag="forecasts",
        past=False,
        topic=_TOPIC,
    ),
    Report(
        name="forecasts_models",
        says="what is learned of a shop, which models are served, and which shifts were noticed",
        path="/v1/forecasts/models",
        group=_GROUP,
        asked=Asked,
        columns=lambda _: [
            *(Column(name) for name in ("measure", "currency", "level")),
            *(Column(name) for name in ("series", "full", "served", "recent", "shifts")),
        ],
        key=lambda _: ("measure", "currency", "level"),
        rows=_models,
        tag="forecasts",
        past=False,
        topic=_TOPIC,
    ),
    Report(
        name="forecasts_stockouts",
        says="which variants run out of stock, when, and what to order, the likeliest first",
        path="/v1/forecasts/stockouts",
        group=_GROUP,
        asked=AskedStockOuts,
        columns=lambda _: [
            *(Column(name) for name in ("product_id", "variant")),
            *(Column(name, "count") for name in ("on_hand", "reserved", "available", "on_order")),
            *(Column(name) for name in ("demand", "probability", "alert")),
            Column("expected_date", "day"),
            *(Column(name) for name in ("days_of_cover", "by_day")),
            *(Column(name, "count") for name in _TO_ORDER),
        ],
        key=lambda _: ("variant",),
        rows=_stock_outs,
        tag="forecasts",
        ages=True,  # stock moves between the days, and what is left of today shortens
        past=False,
        topic=_TOPIC,
    ),
    Report(
        name="anomalies",
        says="what is out of the ordinary, since when, and what it comes from",
        path="/v1/anomalies",
        group=_GROUP,
        asked=Asked,
        columns=lambda _: [
            *(Column(name) for name in ("metric", "direction", "since", "until", "ended")),
            *(Column(name, "count") for name in ("minutes",)),
            *(Column(name) for name in ("missing", "came", "expected", "low", "high")),
            *(Column(name) for name in ("digits", "parts", "says")),
        ],
        key=lambda _: ("metric", "until"),
        rows=_anomalies,
        tag="operations",
        ages=True,  # what does not come is missed
        past=False,
    ),
)
