"""An experiment over HTTP, from its start to what is left to everyone, live all the way."""

import asyncio
import json
from typing import Any

import httpx2
from websockets.asyncio.client import connect

from app.identity.tokens import Role
from tests.e2e.service import KEY, Service
from tests.e2e.test_commands import bearer
from tests.e2e.test_ingest import order
from tests.e2e.test_sales import send
from tests.live import Held

UNITS = 30


def offers(tag: str, **changed: Any) -> dict[str, Any]:
    return {
        "id": f"offers-{tag}",
        "flag": f"recommender-{tag}",
        "arms": [{"name": "usual"}, {"name": "sessions", "weight": 2, "value": "by session"}],
        "goal": "conversion",
        "guard_rails": [{"metric": "refunds", "margin": "0.1"}],
        **changed,
    }


async def told(answer: httpx2.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_an_experiment_from_its_start_to_what_is_left_to_everyone(
    service: Service, tag: str
) -> None:
    name = f"offers-{tag}"
    path = f"/v1/experiments/{name}"
    live = service.api.replace("http", "ws") + "/v1/live"
    staff, key = bearer(service), {**KEY}
    async with (
        httpx2.AsyncClient(base_url=service.api, timeout=60) as client,
        connect(live) as socket,
    ):
        begun = await client.post("/v1/experiments", json=offers(tag), headers=staff)
        started = await told(begun, 201)
        assert begun.headers["Location"] == path
        assert started["currency"] == service.settings.currency
        again = await client.post("/v1/experiments", json=offers(tag), headers=staff)
        await told(again, 409)
        await socket.send(
            json.dumps({"subscribe": "experiment_results", "filter": {"experiment": name}})
        )

        # Each unit has its arm at once, and always the same; the log is told of it once.
        async def assigned(unit: str, **more: Any) -> dict[str, Any]:
            asked = {"unit": unit, **more}
            found: dict[str, Any] = await told(
                await client.get(f"{path}/assignment", params=asked, headers=key)
            )
            return found

        units = [f"v-{tag}-{number}" for number in range(UNITS)]
        arms = {unit: (await assigned(unit, record=False))["arm"] for unit in units}
        assert set(arms.values()) == {"usual", "sessions"}
        for unit in units:
            found = await assigned(unit)
            assert found["arm"] == arms[unit]
            assert found["value"] == ("by session" if found["arm"] == "sessions" else None)
            async with asyncio.timeout(60):
                while not (await assigned(unit))["recorded"]:
                    await asyncio.sleep(0.05)
        flag = await client.get(
            f"/v1/flags/recommender-{tag}", params={"unit": units[0]}, headers=key
        )
        of_flag = await told(flag)
        assert (of_flag["experiment"], of_flag["arm"]) == (name, arms[units[0]])
        none = await told(await client.get("/v1/flags/none", params={"unit": "v"}, headers=key))
        assert (none["value"], none["experiment"]) == (None, None)

        # What they do from there on counts, for the arm that they saw.
        buyers = [unit for n, unit in enumerate(units) if arms[unit] == "sessions" or n % 5 == 0]
        orders = [
            {**order(f"o-{unit}"), "context": {"visitor": unit}, "id": f"e-{unit}"}
            for unit in buyers
        ]
        positions = await send(service, *orders, {**orders[0]})

        async def results() -> dict[str, Any]:
            seen: dict[str, str | int] = {"min_position": positions, "wait": 30}
            found: dict[str, Any] = await told(
                await client.get(f"{path}/results", params=seen, headers=staff)
            )
            return found

        async with asyncio.timeout(60):  # exposures tell no position
            while sum((found := await results())["sample_ratio"]["units"].values()) < UNITS:
                await asyncio.sleep(0.1)
        conversion = {row["arm"]: row for row in found["rows"] if row["role"] == "goal"}
        for arm, row in conversion.items():
            its = [unit for unit in units if arms[unit] == arm]
            bought = [unit for unit in buyers if arms[unit] == arm]
            assert (row["units"], row["active"]) == (len(its), len(bought))
        revenue = {row["arm"]: row["total"] for row in found["rows"] if row["metric"] == "revenue"}
        sold = sum(arms[unit] == "sessions" for unit in buyers)
        assert revenue["sessions"] == f"{19.8 * sold:.2f}"
        assert found["sample_ratio"]["alarm"] is False
        assert found["guard_rails"] == [{"metric": "refunds", "arm": "sessions", "verdict": "open"}]
        assert found["decision"] == {"state": "open", "arm": None}  # of so few nothing is sure

        held = Held()
        async with asyncio.timeout(60):
            while not held.revision or held.rows != found["rows"]:
                message = json.loads(await socket.recv())
                if message["type"] in ("snapshot", "delta"):
                    held.take(message)

        # It changes, and ends.
        stale = {**staff, "If-Match": '"7"'}
        change = {"weights": {"usual": 2}}
        await told(await client.patch(path, json=change, headers=stale), 412)
        changed = await told(await client.patch(path, json=change, headers=staff))
        assert [one["weight"] for one in changed["arms"]] == [2, 2]
        end = {"stopped": True, "arm": "sessions", "reason": "better"}
        ended = await told(await client.patch(path, json=end, headers=staff))
        assert (ended["left_to_everyone"], ended["reason"]) == ("sessions", "better")
        await told(await client.patch(path, json=change, headers=staff), 409)
        async with asyncio.timeout(60):
            while any([(await assigned(unit))["arm"] != "sessions" for unit in units[:5]]):
                await asyncio.sleep(0.1)
        assert (await assigned("new"))["recorded"] is False
        one = await told(await client.get(path, headers=staff))
        assert {**one, "position": ended["position"]} == ended
        seen = {"min_position": ended["position"], "wait": 30}
        every = await told(await client.get("/v1/experiments", params=seen, headers=staff))
        [row] = [row for row in every["rows"] if row["id"] == name]
        assert (row["state"], row["units"]) == ("stopped", UNITS)


async def test_what_is_no_experiment_is_refused_by_field_and_who_may_not_is_kept_out(
    service: Service, tag: str
) -> None:
    staff, path = bearer(service), f"/v1/experiments/offers-{tag}"
    async with httpx2.AsyncClient(base_url=service.api, timeout=60) as client:
        usual = {"name": "usual"}
        for wrong, field in (
            ({"arms": [usual]}, "arms"),
            ({"arms": [usual, usual]}, "arms.1.name"),
            ({"arms": [usual, {"name": "b", "weight": 0}]}, "arms"),
            ({"arms": [usual, {"name": "b", "weight": "many"}]}, "arms.1.weight"),
            ({"goal": "happiness"}, "goal"),
            ({"traffic": "1.5"}, "traffic"),
            ({"alpha": "0.9"}, "alpha"),
            ({"guard_rails": [{"metric": "conversion"}]}, "guard_rails.0.metric"),
            ({"colour": "blue"}, "colour"),
            (
                {"flag": "forecaster", "arms": [usual, {"name": "b", "value": "tea leaves"}]},
                "arms.1.value",
            ),
        ):
            body = offers(tag, **wrong)
            answer = await client.post("/v1/experiments", json=body, headers=staff)
            found = await told(answer, 422)
            assert found["errors"][0]["field"].endswith(field), found
            assert found["errors"][0]["reason"]
        await told(await client.post("/v1/experiments", json=offers(tag), headers=staff), 201)
        for change, field in (
            ({}, "weights"),
            ({"weights": {"newer": 1}}, "weights.newer"),
            ({"arm": "usual"}, "arm"),
            ({"stopped": True, "traffic": "0"}, "traffic"),
            ({"stopped": True, "arm": "newer"}, "arm"),
            ({"goal": "orders"}, "goal"),
        ):
            found = await told(await client.patch(path, json=change, headers=staff), 422)
            assert found["errors"][0]["field"].endswith(field), found

        unknown = f"/v1/experiments/none-{tag}"
        for asked, headers in (
            (unknown, staff),
            (f"{unknown}/results", staff),
            (f"{unknown}/assignment?unit=v", KEY),
        ):
            await told(await client.get(asked, headers=headers), 404)
        shopper = bearer(service, Role.CUSTOMER)
        await told(await client.post("/v1/experiments", json=offers(tag), headers=shopper), 403)
        await told(await client.patch(path, json={"traffic": "0"}, headers=shopper), 403)
        await told(await client.get(f"{path}/assignment?unit=v", headers=shopper), 403)
        await told(await client.get(f"{path}/assignment?unit=v"), 401)
        for wrong_unit in ("", "ada@example.com"):
            asked = f"{path}/assignment?unit={wrong_unit}"
            found = await told(await client.get(asked, headers=KEY), 422)
            assert found["errors"][0]["field"] == "unit"
