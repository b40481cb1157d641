"""Many buyers at once over HTTP: what there is is sold once, and nobody waits for ever."""

import asyncio
from collections import Counter as Tally
from random import Random
from typing import Any

import httpx2

from tests.e2e.counter import Counter, counter, wish
from tests.e2e.service import Service

BUYERS = 200
UNITS = 50
_PASSING = {"busy", "in_flight"}


async def insisted(shop: Counter, path: str, body: Any, headers: dict[str, str]) -> httpx2.Response:
    """What one is told in the end: who is told to come again does, under the same key, and so does
    who was told nothing."""
    while True:
        try:
            answer = await shop.post(path, body, headers)
        except (httpx2.ReadError, httpx2.RemoteProtocolError):
            continue  # the connection was closed at this moment, for nothing was sent for long
        if answer.status_code != 503 and answer.json().get("code") not in _PASSING:
            return answer
        await asyncio.sleep(float(answer.headers["Retry-After"]))


async def bought(shop: Counter, buyer: str, lines: dict[str, int]) -> httpx2.Response:
    """What a buyer is told in the end."""
    headers = {**shop.customer(buyer), "Idempotency-Key": f"{shop.shop}-{buyer}"}
    return await insisted(shop, "/v1/orders", wish(lines), headers)


async def changed(shop: Counter, order_id: str, what: str) -> None:
    """An order after what the staff does with it."""
    headers = {**shop.by(), "Idempotency-Key": f"{what}-{order_id}"}
    answer = await insisted(shop, f"/v1/orders/{order_id}/{what}", {}, headers)
    assert answer.status_code == 200, answer.text


def told(answers: list[httpx2.Response]) -> Tally[tuple[int, Any]]:
    return Tally((answer.status_code, answer.json().get("code")) for answer in answers)


async def test_two_hundred_buyers_of_fifty_units_get_fifty(service: Service, tag: str) -> None:
    async with counter(service, f"storm-{tag}") as shop:
        await shop.lists("mug", stock=UNITS)
        async with asyncio.timeout(120):
            answers = await asyncio.gather(
                *(bought(shop, f"u-{number}", {"mug": 1}) for number in range(BUYERS))
            )
        assert told(answers) == {(201, None): UNITS, (409, "out_of_stock"): BUYERS - UNITS}
        assert await shop.stock() == {"mug": (UNITS, UNITS)}
        sold = [answer.json()["order_id"] for answer in answers if answer.status_code == 201]
        assert len(set(sold)) == UNITS
        async with asyncio.timeout(60):
            await asyncio.gather(*(changed(shop, one, "ship") for one in sold))
        assert await shop.stock() == {"mug": (0, 0)}


async def test_baskets_of_the_same_in_any_order_never_lock_each_other_out(
    service: Service, tag: str
) -> None:
    """Each takes several variants, named in an order of its own; some are cancelled meanwhile."""
    random = Random(17)
    variants = [f"v{number}" for number in range(6)]
    async with counter(service, f"baskets-{tag}") as shop:
        for variant in variants:
            await shop.lists(variant, stock=UNITS)
        baskets = [
            {variant: random.randint(1, 3) for variant in random.sample(variants, 4)}
            for _ in range(80)
        ]

        async def buy(number: int) -> tuple[httpx2.Response, bool]:
            answer = await bought(shop, f"u-{number}", baskets[number])
            back = answer.status_code == 201 and number % 4 == 0
            if back:
                await changed(shop, answer.json()["order_id"], "cancel")
            return answer, back

        async with asyncio.timeout(120):
            found = await asyncio.gather(*(buy(number) for number in range(len(baskets))))
        statuses = told([answer for answer, _ in found])
        assert statuses.keys() <= {(201, None), (409, "out_of_stock")}
        assert min(statuses.values()) > 0
        taken: Tally[str] = Tally()
        for basket, (answer, back) in zip(baskets, found, strict=True):
            if answer.status_code == 201 and not back:
                taken.update(basket)
        assert await shop.stock() == {variant: (UNITS, taken[variant]) for variant in variants}


async def test_who_cannot_be_served_now_is_told_so(service: Service, tag: str) -> None:
    """While somebody holds on to the stock, buyers take up all connections, and no more wait for
    one than can have it soon: all are told to come again, and then are served."""
    async with counter(service, f"held-{tag}") as shop:
        await shop.lists("mug")
        before = await shop.rows()
        async with shop.database() as other:
            async with other.transaction():
                await other.execute(
                    "SELECT 1 FROM stock WHERE shop = $1 AND id = 'mug' FOR UPDATE", shop.shop
                )
                async with asyncio.timeout(60):
                    answers = await asyncio.gather(
                        *(
                            shop.post("/v1/orders", wish({"mug": 1}), shop.customer(f"u-{number}"))
                            for number in range(30)
                        )
                    )
                assert {answer.status_code for answer in answers} == {409, 503}
                for answer in answers:
                    assert int(answer.headers["Retry-After"]) > 0
                    assert answer.json()["code"] in ("busy", "postgres_unavailable")
        assert await shop.rows() == before
        assert (await shop.orders({"mug": 1}))["status"] == "completed"
