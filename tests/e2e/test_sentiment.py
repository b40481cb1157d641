"""Reviews through the API: sealed on the log, judged, followed, cited, and heard without their text
once their writer's key is gone."""

import asyncio
import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import asyncpg
from websockets.asyncio.client import connect

from streams import codec
from streams.events import Event, ReviewRetracted
from tests.e2e.service import Service, run_cli
from tests.e2e.test_learner import append, ask, next_of

SAID = (
    ("ann", 5, "Great quality, and I love the colour!"),
    ("ben", 2, "It runs small and broke after two days."),
    ("cem", 1, "Runs small. Terrible, what a waste of money."),
    ("dot", 4, "I love it and recommend it, excellent and lovely, but it runs small."),
    ("eve", 1, "Kuppi oli rikki ja myöhässä, en ole lainkaan tyytyväinen"),
)


def review(product: str, person: str, stars: int, body: str) -> Mapping[str, Any]:
    data = {
        "product_id": product,
        "review_id": f"{product}-{person}",
        "rating": stars,
        "review_body": body,
    }
    return {"type": "ProductReviewed", "person": f"{product}-{person}", "data": data}


async def send(service: Service, *events: Mapping[str, Any]) -> list[str]:
    """Positions in the log."""
    async with service.client() as client:
        answer = await client.post("/v1/events", json=list(events))
    accepted = answer.json()["accepted"]
    assert len(accepted) == len(events), answer.text
    return [one["position"] for one in accepted]


async def test_reviews_are_judged_as_they_arrive_and_cited(learning: Service, tag: str) -> None:
    product = f"cup-{tag}"
    at = await send(learning, *(review(product, *said) for said in SAID))
    found = await ask(learning, "/v1/sentiment", product=product, min_position=at)
    assert found["model"]["name"] == "sentiment"
    rows = {row["aspect"]: row for row in found["sentiment"]}
    overall = rows["overall"]
    assert (overall["positive"], overall["negative"], overall["reviews"]) == (2, 2, 4), found
    assert (overall["unknown_language"], overall["without_text"]) == (1, 0)
    assert rows["size"]["negative"] == 3
    by_day = await ask(learning, "/v1/sentiment", product=product, grain="day", aspect="size")
    assert [row["reviews"] for row in by_day["sentiment"]] == [3]

    suggested = await ask(learning, "/v1/sentiment/suggestions", product=product)
    (one,) = suggested["suggestions"]
    assert (one["problem"], one["aspect"], one["reviews"]) == ("too_small", "size", 3)
    assert sorted(one["review_ids"]) == [f"{product}-{person}" for person in ("ben", "cem", "dot")]

    of_product = await ask(learning, f"/v1/products/{product}/sentiment")
    latest = {one["review_id"]: one for one in of_product["latest"]}
    assert latest[f"{product}-eve"]["sentiment"] == "unknown"
    assert latest[f"{product}-ben"]["problems"] == ["too_small", "broke"]
    assert 0 < latest[f"{product}-ann"]["confidence"] <= 1
    told = await ask(learning, "/v1/sentiment/scores")
    assert told["overall"]["reviews"] >= 4
    assert 0 <= told["overall"]["brier"] <= 2

    async with learning.client() as client:
        said = {"text": "Great colour, but it runs small."}
        judged = (await client.post("/v1/sentiment", json=said)).json()
        empty = await client.post("/v1/sentiment", json={"text": ""})
        backwards = {"from": "2026-02-01", "to": "2026-01-01"}
        wrong = await client.get("/v1/sentiment", params=backwards)
    assert (empty.status_code, wrong.status_code) == (422, 422)
    assert [one["sentiment"] for one in judged["aspects"]] == ["positive", "negative"]
    assert judged["problems"][0]["words"] == "runs small"
    again = await ask(learning, "/v1/sentiment/scores")
    assert again["languages"] == told["languages"]  # asking taught nothing


async def test_what_is_taken_back_leaves_the_figures_and_moves_who_listens(
    learning: Service, tag: str
) -> None:
    product = f"jug-{tag}"
    at = await send(learning, *(review(product, *said) for said in SAID[:2]))
    await ask(learning, "/v1/sentiment", product=product, min_position=at)
    async with connect(learning.api.replace("http", "ws") + "/v1/live") as socket:
        wanted = {"subscribe": "sentiment", "filter": {"product": product, "aspect": "overall"}}
        await socket.send(json.dumps({**wanted, "id": "s"}))
        snapshot = await next_of(socket, "snapshot")
        assert [one["value"]["negative"] for one in snapshot["figures"]] == [1]
        gone = ReviewRetracted(product_id=product, review_id=f"{product}-ben")
        now = datetime.now(UTC)
        event = Event(
            id=f"gone-{tag}",
            type="ReviewRetracted",
            shop="main",
            subject=product,
            time=now,
            received_at=now,
            data=codec.raw(gone),
        )
        await append(learning.settings, [event])
        delta = await next_of(socket, "delta")
        assert [one["value"]["negative"] for one in delta["figures"]] == [0]


async def test_whose_key_is_gone_is_heard_without_a_text(learning: Service, tag: str) -> None:
    product = f"pot-{tag}"
    at = await send(learning, *(review(product, *said) for said in SAID[:2]))
    await ask(learning, "/v1/sentiment", product=product, min_position=at)
    servers, schema = learning.settings.servers, learning.settings.schema_name
    connection = await asyncpg.connect(servers.postgres)
    try:
        status = await connection.execute(
            f'DELETE FROM "{schema}".person_keys WHERE person = $1', f"{product}-ben"
        )
    finally:
        await connection.close()
    assert status == "DELETE 1"
    process = run_cli(
        *("rebuild", "learners"), environment=learning.environment, stdout=subprocess.DEVNULL
    )
    assert await asyncio.to_thread(process.wait, 120) == 0
    async with asyncio.timeout(120), learning.client() as client:
        while True:
            params = {"product": product, "aspect": "overall"}
            answer = await client.get("/v1/sentiment", params=params)
            if answer.status_code == 200:
                (row,) = answer.json()["sentiment"]
                if row["without_text"] == 1:
                    break
            await asyncio.sleep(0.1)
        assert (row["reviews"], row["positive"], row["negative"]) == (1, 1, 0)
        found = (await client.get(f"/v1/products/{product}/sentiment")).json()
    assert [one["review_id"] for one in found["latest"]] == [f"{product}-ann"]
