"""What the learner answers of customers: what is ahead of one, and of all of them."""

from datetime import date
from typing import Any

from fastapi import APIRouter

from app.api.problems import Problem
from app.learner.routing import Answer, Ready, waiting
from ml_online.customer_forecast import CUSTOMERS, Customers
from ml_online.customer_outlook import Outlook, Outlooks
from ml_online.customer_segments import (
    ACTIONS,
    SAYS,
    SEGMENTS,
    at_risk,
    reasons,
    segments,
    usual_gap,
)
from ml_online.models import Models
from ml_online.return_scores import Score
from streams.money import text

_DIGITS = 6
_UNIT = 10_000


def customer_answers(models: Models, ready: Ready, answer: Answer) -> APIRouter:
    """The routes, for the learner's own small API."""
    router = waiting(ready)

    def learner() -> Customers:
        found = models.learners[CUSTOMERS.name]
        assert isinstance(found, Customers)
        return found

    def told(shop: str, **rest: Any) -> dict[str, Any]:
        known = learner()
        return answer(
            CUSTOMERS.name,
            CUSTOMERS.version,
            shop=shop,
            as_of=known.as_of(shop),
            learned_through=known.learned_through(shop),
            **rest,
        )

    @router.get("/customers/outlook")
    async def customers_outlook(
        shop: str,
        customer: str,
        days: int,
        discount: float = 0.0,
    ) -> dict[str, Any]:
        found = learner().customer(shop, customer, days)
        if found is None:
            raise Problem(
                404, "unknown_customer", f"no completed order of the customer {customer!r} is known"
            )
        worth = learner().discounted(shop, customer, days, discount)
        return told(shop, customer=customer, horizon=days, **_outlook(found, worth, discount))

    @router.get("/customers/segments")
    async def customers_segments(
        shop: str,
        days: int,
        segment: str = "",
        limit: int = 50,
    ) -> dict[str, Any]:
        found = learner().customers(shop, days)
        places = segments(found, days)
        asked = segment.split(",") if segment else []
        chosen = [n for n in range(len(places)) if SEGMENTS[places[n]] in asked]
        chosen.sort(key=lambda place: -float(found.value[place]))
        return told(
            shop,
            horizon=days,
            segments=_summary(learner(), shop, found, places),
            customers=[
                {"segment": SEGMENTS[places[place]], **_listed(learner(), shop, found, place)}
                for place in chosen[:limit]
            ],
        )

    @router.get("/customers/at-risk")
    async def customers_at_risk(
        shop: str,
        days: int,
        min_churn: float,
        limit: int = 50,
    ) -> dict[str, Any]:
        found = learner().customers(shop, days)
        places = at_risk(found, min_churn).tolist()
        return told(
            shop,
            horizon=days,
            at_risk=len(places),
            customers=[_listed(learner(), shop, found, place) for place in places[:limit]],
        )

    @router.get("/customers/scores")
    async def customers_scores(shop: str, first: date, last: date) -> dict[str, Any]:
        found = learner().scores(shop, first, last)
        lessons = learner().lessons(shop)
        return told(
            shop,
            scores=[_scored(weeks, score) for weeks, score in found.items()],
            learned_outcomes=lessons.returning.learned if lessons else 0,
            rates=lessons.rates._asdict() if lessons else None,
            weights=lessons.returning.weights() if lessons else None,
        )

    return router


def _money(value: float) -> str:
    return text(round(value * _UNIT))


def _share(value: float) -> float:
    return round(value, _DIGITS)


def _outlook(found: Outlook, worth: float, discount: float) -> dict[str, Any]:
    low, middle, high = found.order_quantiles
    least, half, most = found.value_quantiles
    return {
        "orders": found.orders,
        "days_since_first": round(found.first_days, 2),
        "days_silent": round(found.silent_days, 2),
        "usual_gap": None if found.usual_gap is None else round(found.usual_gap, 2),
        "churn": _share(1 - found.chance),
        "chance_of_order": _share(found.chance),
        "still_a_customer": _share(found.still_there),
        "silence_is_usual": _share(found.usual_share),
        "expected_orders": _share(found.expected_orders),
        "orders_median": middle,
        "orders_80": [low, high],
        "currency": found.currency,
        "order_value": _money(found.order_value),
        "expected_value": _money(found.expected_value),
        "value_median": _money(half),
        "value_80": [_money(least), _money(most)],
        "discount": discount,
        "present_value": _money(found.expected_value * worth),
    }


def _listed(known: Customers, shop: str, found: Outlooks, place: int) -> dict[str, Any]:
    lessons = known.lessons(shop)
    assert lessons is not None
    currency = lessons.currencies[int(found.currency[place])]
    gap = float(usual_gap(found)[place])
    number = int(found.who[place])
    # What orders are usually worth is known once a week was closed.
    relative = float(found.relative[place]) if known.learned_through(shop) else 1.0
    return {
        "customer": known.name_of(shop, number),
        "churn": _share(1 - float(found.chance[place])),
        "still_a_customer": _share(float(found.still_there[place])),
        "orders": int(found.buyers.x[place]) + 1,
        "days_silent": round(float(found.silent[place]) * 7, 2),
        "usual_gap": None if gap != gap else round(gap * 7, 2),
        "expected_orders": _share(float(found.expected[place])),
        "currency": currency,
        "expected_value": _money(float(found.value[place])),
        "value_at_risk": _money(float((1 - found.chance[place]) * found.at_stake[place])),
        "reasons": [one._asdict() for one in reasons(found, place, relative)],
    }


def _summary(known: Customers, shop: str, found: Outlooks, places: Any) -> list[dict[str, Any]]:
    lessons, rows = known.lessons(shop), []
    for number, segment in enumerate(SEGMENTS):
        own = places == number
        value = {
            currency: _money(float(found.value[own & (found.currency == place)].sum()))
            for place, currency in enumerate(lessons.currencies if lessons else ())
            if (own & (found.currency == place)).any()
        }
        count = int(own.sum())
        rows.append(
            {
                "segment": segment,
                "says": SAYS[segment],
                "action": ACTIONS[segment],
                "customers": count,
                "share": _share(count / len(places)) if len(places) else None,
                "churn": _share(1 - float(found.chance[own].mean())) if count else None,
                "expected_orders": _share(float(found.expected[own].sum())),
                "expected_value": value,
            }
        )
    return rows


def _scored(weeks: int, score: Score) -> dict[str, Any]:
    chances = score.chances
    return {
        "weeks": weeks,
        "foretold": chances.chances,
        "ordered": _share(chances.base_rate),
        "auc": None if score.auc is None else _share(score.auc),
        "brier": _share(chances.brier),
        "calibration_error": _share(chances.ece),
        "log_loss": _share(chances.log_loss),
        "mae_orders": _share(score.mae_orders),
        "rmse_orders": _share(score.rmse_orders),
        "aggregate_orders": None if score.aggregate is None else _share(score.aggregate),
        "inside_80": _share(score.inside),
        "bg_nbd": {
            "auc": None if score.process_auc is None else _share(score.process_auc),
            "brier": _share(score.process_brier),
        },
        "calibration": [
            {"chances": count, "foretold": _share(chance), "came_true": _share(came)}
            for count, chance, came in chances.parts
        ],
    }
