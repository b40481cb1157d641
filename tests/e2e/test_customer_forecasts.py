"""What customers will do, through the API: from orders and closed weeks to who is at risk."""

import json
from datetime import UTC, datetime, time, timedelta
from random import Random
from typing import Any

import pytest

from tests.e2e.people import registered
from tests.e2e.service import Service
from tests.e2e.test_learner import append, ask
from tests.e2e.test_live import next_message, watching
from tests.learning import MONDAY, day_event, order_event

SHOP = "who-returns"
DAYS = 77


@pytest.fixture(scope="module")
async def told(learning: Service) -> str:
    """Eleven weeks in which some order every week and some only once or twice: the orders first,
    as an import tells of them, and then the days; the positions of all."""
    random, orders = Random(8), []
    for customer in range(30):
        day, count = random.uniform(0, 14), 0
        while day < DAYS and not (customer % 3 == 0 and count >= 1 + customer % 2):
            at = datetime.combine(MONDAY, time(), UTC) + timedelta(days=day)
            number = customer * 1000 + count
            products = ["p"] * random.randint(1, 3)
            person = f"c{customer}"
            orders.append(order_event(number, products, at=at, person=person, shop=SHOP,
                                      event_id=f"{SHOP}-{number}"))  # fmt: skip
            day, count = day + random.expovariate(1 / 7), count + 1
    positions = await append(learning.settings, orders)
    await ask(learning, "/v1/customers/c1/churn", shop=SHOP, min_position=positions)
    days = [day_event(number, {"": 100}, shop=SHOP) for number in range(DAYS)]
    return f"{positions},{await append(learning.settings, days)}"


async def test_one_customer_and_all_of_them(learning: Service, told: str) -> None:
    seen = {"shop": SHOP, "min_position": told, "horizon": 30}
    churn = await ask(learning, "/v1/customers/c1/churn", **seen)
    assert churn["as_of"].startswith((MONDAY + timedelta(days=DAYS)).isoformat())
    assert churn["learned_through"] == (MONDAY + timedelta(days=DAYS - 1)).isoformat()
    assert churn["model"]["name"] == "customers"
    gone = await ask(learning, "/v1/customers/c0/churn", shop=SHOP, horizon=30)
    assert 0 < churn["churn"] < 0.5 < gone["churn"] < 1

    clv = await ask(learning, "/v1/customers/c1/clv", shop=SHOP, horizon=30, discount=0.1)
    predicted = clv["predicted"]
    assert predicted["churn"] == churn["churn"]
    low, high = map(float, predicted["value_80"])
    assert low <= float(predicted["value_median"]) <= high
    assert 0 < float(predicted["present_value"]) < float(predicted["expected_value"])
    assert predicted["currency"] == "EUR"

    found = await ask(learning, "/v1/customers/segments", shop=SHOP, horizon=30, segment="steady")
    assert sum(one["customers"] for one in found["segments"]) == 30
    assert all(one["segment"] == "steady" for one in found["customers"])
    assert all(one["reasons"] for one in found["customers"])
    risk = await ask(learning, "/v1/customers/at_risk", shop=SHOP, horizon=30, min_churn=0, limit=5)
    lost = [float(one["value_at_risk"]) for one in risk["customers"]]
    assert len(lost) == 5
    assert lost == sorted(lost, reverse=True)
    scores = await ask(learning, "/v1/customers/scores", shop=SHOP)
    assert [one["weeks"] for one in scores["scores"]] == [4, 8]
    assert scores["scores"][0]["auc"] > 0.5
    assert scores["learned_outcomes"] > 100


async def test_the_next_answer_knows_of_an_order_and_it_is_live(
    learning: Service, told: str
) -> None:
    before = await ask(learning, "/v1/customers/c0/churn", shop=SHOP, min_position=told)
    at = datetime.combine(MONDAY, time(1), UTC) + timedelta(days=DAYS)
    order = order_event(99_000, ["p"], at=at, person="c0", shop=SHOP, event_id=f"{SHOP}-again")
    one: dict[str, Any] = {"shop": SHOP, "filter": {"customer": "c0"}}
    async with watching(learning, subscribe="customers_churn", **one) as socket:
        first = await next_message(socket, "snapshot")
        assert f'"orders": {before["orders"]}' in json.dumps(first)
        position = await append(learning.settings, [order])
        after = await ask(learning, "/v1/customers/c0/churn", shop=SHOP, min_position=position)
        assert after["orders"] == before["orders"] + 1
        assert after["churn"] < before["churn"]
        delta = await next_message(socket, "delta")
        changed = json.dumps(delta)
        assert f'"orders": {after["orders"]}' in changed
        assert str(after["churn"]) in changed


async def test_a_customer_sees_their_own_and_lists_are_for_the_shop(learning: Service) -> None:
    async with learning.client() as client:
        ada, bob = await registered(client), await registered(client)
        for path in ("churn", "clv"):
            others = await client.get(f"/v1/customers/{ada.user_id}/{path}", headers=bob.headers)
            assert others.status_code == 404
        own = await client.get("/v1/customers/me/churn", headers=ada.headers)
        assert (own.status_code, own.json()["code"]) == (404, "unknown_customer")
        value = await client.get("/v1/customers/me/clv", headers=ada.headers)
        assert value.json()["predicted"] is None
        for wrong in ({"horizon": 0}, {"horizon": 9999}, {"segment": "rich"}, {"limit": 0}):
            answer = await client.get("/v1/customers/segments", params=wrong)
            assert answer.status_code == 422, answer.text
