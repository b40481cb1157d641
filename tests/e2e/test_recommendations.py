"""Recommendations through the API, from the event to the answer, and what becomes of answers."""

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from websockets.asyncio.client import connect

from app.settings import Servers
from app.subscriptions import RECOMMENDERS
from streams.events import (
    Event,
    Line,
    OrderCompleted,
    ProductListed,
    ProductViewed,
    StockAdjusted,
    StockReceived,
)
from streams.money import Money
from tests.conftest import settings_for
from tests.e2e.service import Service, end, run_cli, running
from tests.e2e.test_commands import bearer
from tests.e2e.test_learner import append
from tests.recommended import told

NOW = datetime.now(UTC) - timedelta(minutes=1)


@pytest.fixture(scope="module")
async def recommending(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """An API and the recommenders; each test has a shop of its own."""
    settings = settings_for(servers, tmp_path_factory.mktemp("recommending"))
    async with running(settings, workers=0) as service:
        learner = service.start_learner(RECOMMENDERS)
        await service.learns(learner, RECOMMENDERS)
        yield service


def history(shop: str) -> list[Event]:
    """Five mugs and five plates, each looked at together with the others of its kind."""
    events = []
    for n in range(10):
        kind = "mugs" if n < 5 else "plates"
        listed = ProductListed(product_id=f"p{n}", category=kind, price=Money(10_000 * (n + 1)))
        events.append(told(listed, f"p{n}", f"{shop}-listed-{n}", at=NOW, shop=shop))
        stocked = StockReceived(product_id=f"p{n}", quantity=5)
        events.append(told(stocked, f"p{n}", f"{shop}-stocked-{n}", at=NOW, shop=shop))
    for visitor in range(12):
        for step in range(4):
            one = f"p{(visitor + step) % 5 + 5 * (visitor % 2)}"
            viewed = ProductViewed(product_id=one)
            at = NOW + timedelta(seconds=visitor + step)
            name = f"{shop}-view-{visitor}-{step}"
            events.append(told(viewed, f"v{visitor}", name, at=at, shop=shop))
        bought = f"p{visitor % 5 + 5 * (visitor % 2)}"
        order = OrderCompleted(
            order_id=f"{shop}-{visitor}",
            currency="EUR",
            products=[Line(product_id=bought, price=Money(10_000))],
        )
        person = f"person-{visitor // 4}"
        name = f"{shop}-order-{visitor}"
        events.append(told(order, order.order_id, name, at=NOW, shop=shop, person=person))
    return events


async def ask(service: Service, path: str, **params: Any) -> dict[str, Any]:
    """As the shop's staff, whose answers the log hears of."""
    staff = bearer(service, shop=params.get("shop", "main"))
    async with service.client() as client:
        answer = await client.get(path, params={"wait": 30, **params}, headers=staff)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(found: dict[str, Any]) -> list[str]:
    return [one["product_id"] for one in found["products"]]


async def test_an_experiment_over_recommenders_gives_each_visitor_their_arm(
    recommending: Service,
) -> None:
    service = recommending
    places = await append(service.settings, history("main"))
    terms = {
        "id": "recommenders",
        "flag": "recommender",
        "goal": "conversion",
        "arms": [{"name": "usual"}, {"name": "what-trends", "value": "trending"}],
    }
    async with service.client() as client:
        begun = await client.post("/v1/experiments", json=terms, headers=bearer(service))
        assert begun.status_code == 201, begun.text
        given = {}
        for number in range(12):
            unit = f"guest-{number}"
            path = f"/v1/recommendations/session/{unit}"
            found = await ask(service, path, min_position=places, placement="try")
            assigned = await client.get(
                "/v1/experiments/recommenders/assignment", params={"unit": unit}
            )
            given[unit] = (assigned.json()["arm"], found["policy"])
        assert set(given.values()) == {("usual", "mixed"), ("what-trends", "trending")}
        asked = await ask(
            service, "/v1/recommendations/session/guest-0", policy="trending", placement="try"
        )
        assert asked["policy"] == "trending"
        # The log is told nothing on the word of somebody who need not say who they are.
        trends = next(unit for unit, (arm, _) in given.items() if arm == "what-trends")
        path = f"/v1/recommendations/session/{trends}"
        unknown = await client.get(path, params={"explore": 1}, headers={"Authorization": ""})
        assert unknown.json()["policy"] == "mixed"
        assert not any(one["explored"] for one in unknown.json()["products"])


async def test_from_the_event_to_the_answer_and_what_becomes_of_it(recommending: Service) -> None:
    shop = f"r{uuid4().hex[:8]}"
    service = recommending
    at = {"shop": shop, "explore": 0, "diversity": 0}
    places = await append(service.settings, history(shop))
    viewed = told(ProductViewed(product_id="p1"), "newcomer", f"{shop}-new", shop=shop, at=NOW)
    position = await append(service.settings, [viewed])
    path = "/v1/recommendations/session/newcomer"
    both = f"{places},{position}"
    found = await ask(service, path, limit=4, min_position=both, placement="home", **at)
    assert found["known"]["session"] == 1
    assert set(ids(found)) <= {f"p{n}" for n in range(5)}
    assert found["products"][0]["reason"] == {"kind": "session", "because": "p1"}
    assert found["answer_id"].startswith("home.mixed.")
    assert found["model"]["name"] == "recommender"
    assert found["complete_to"]["next_offsets"]["interactions"]

    alike = await ask(service, "/v1/products/p1/similar", shop=shop, limit=4)
    assert "p1" not in ids(alike)
    assert set(ids(alike)) <= {f"p{n}" for n in range(5)}
    trends = await ask(service, "/v1/recommendations/trending", shop=shop, category="plates")
    assert set(ids(trends)) == {f"p{n}" for n in range(5, 10)}
    cheap = {"min_price": "7", "max_price": "8"}
    assert set(ids(await ask(service, "/v1/recommendations/trending", shop=shop, **cheap))) == {
        "p6",
        "p7",
    }
    own = await ask(service, "/v1/recommendations/person-0", **at)
    kinds = {one["reason"]["kind"] for one in own["products"]}
    assert "history" in kinds
    others = await ask(service, "/v1/recommendations/person-0", exclude_bought=True, **at)
    assert not {one["reason"]["kind"] for one in others["products"]} & {"history"}
    like = await ask(service, "/v1/customers/person-0/similar", shop=shop)
    assert {one["customer"] for one in like["customers"]} == {"person-2"}

    # Out of stock: gone from every answer that knows of it.
    first = ids(found)[0]
    gone = told(StockAdjusted(product_id=first, quantity=-5), first, f"{shop}-gone", shop=shop)
    position = await append(service.settings, [gone])
    for path_of, more in (
        (path, {"limit": 20, "min_position": position, "shop": shop, "explore": 1}),
        ("/v1/recommendations/trending", {"limit": 20, "shop": shop}),
        (f"/v1/products/{ids(alike)[-1]}/similar", {"limit": 20, "shop": shop}),
    ):
        assert first not in ids(await ask(service, path_of, **more))

    # What was drawn by lot is on the log, and what became of it in the figures.
    explored = await ask(service, path, limit=4, shop=shop, explore=1, placement="home")
    drawn = [one["product_id"] for one in explored["products"] if one["explored"]]
    assert drawn
    answer = {"answer_id": explored["answer_id"]}
    sent = [
        {"type": "RecommendationsViewed", "data": {**answer, "products": drawn}},
        {"type": "RecommendationClicked", "data": {**answer, "product_id": drawn[0]}},
        {
            "type": "OrderCompleted",
            "data": {
                "order_id": f"{shop}-last",
                "products": [
                    {"product_id": drawn[0], "price": 1, "recommendation_id": answer["answer_id"]}
                ],
            },
        },
    ]
    # The key is of another shop: of what is sent with it, figures are that shop's.
    events = [
        {"id": f"{shop}-{n}", **({"subject": "newcomer"} if n < 2 else {}), **one}
        for n, one in enumerate(sent)
    ]
    async with service.client() as client:
        refused = await client.post(
            "/v1/events",
            json={"type": "RecommendationsServed", "subject": "v", "data": {**answer}},
        )
        assert refused.status_code == 422
        accepted = (await client.post("/v1/events", json=events)).json()
        assert accepted["rejected"] == []
        position = ",".join(one["position"] for one in accepted["accepted"])
    counted = await ask(service, "/v1/recommendations/scores", min_position=position)
    (home,) = (one for one in counted["placements"] if one["placement"] == "home")
    assert (home["viewed"], home["clicks"], home["purchases"]) == (1, 1, 1)
    async with asyncio.timeout(30):  # it is told behind the answer
        while True:
            told_of = await ask(service, "/v1/recommendations/scores", shop=shop)
            rows = {one["placement"]: one["served"] for one in told_of["placements"]}
            if rows.get("home"):
                break
            await asyncio.sleep(0.1)
    assert told_of["ranking"]["judged"] > 0
    estimates = await ask(service, "/v1/recommendations/policies", shop=shop)
    assert estimates["policies"] == []  # nobody of this shop has seen any

    # Live, and the same after a death and along its journal.
    ws = service.api.replace("http", "ws") + "/v1/live"
    async with connect(ws) as listening:
        query = {"subscribe": "recommendations_trending", "id": "t", "shop": shop}
        await listening.send(json.dumps(query))
        async with asyncio.timeout(30):
            while True:
                message = json.loads(await listening.recv())
                if message.get("type") == "snapshot":
                    break
    assert {one["value"]["product_id"] for one in message["figures"]} <= {
        f"p{n}" for n in range(10)
    }
    before = digest(service)
    (learner,) = service.workers
    assert end(learner, signal.SIGKILL) == -signal.SIGKILL
    service.workers.remove(learner)
    await service.learns(service.start_learner(RECOMMENDERS), RECOMMENDERS)
    assert digest(service) == before
    rebuilt = run_cli(
        *("rebuild", RECOMMENDERS),
        environment=service.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = rebuilt.communicate(timeout=120)[1]
    assert rebuilt.returncode == 0, said
    assert "the same models as before" in said


def digest(service: Service) -> str:
    process = run_cli(
        *("learner", "--group", RECOMMENDERS, "--digest"),
        environment=service.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: str = process.communicate(timeout=60)[0].split()[0]
    assert len(found) == 64
    return found


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("/v1/recommendations/trending", {"min_price": "3", "max_price": "2"}, "max_price"),
        ("/v1/recommendations/session/v", {"explore": 2}, "explore"),
        ("/v1/recommendations/session/v", {"placement": "a.b"}, "placement"),
        ("/v1/recommendations/someone", {"polcy": "mixed"}, "polcy"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    recommending: Service, path: str, params: dict[str, Any], field: str
) -> None:
    async with recommending.client() as client:
        answer = await client.get(path, params=params)
    assert answer.status_code == 422, answer.text
    assert field in [error["field"] for error in answer.json()["errors"]]
