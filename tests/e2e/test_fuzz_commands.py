"""Every command, by who may give it, with something odd anywhere in it: refused by name, or carried
out, and never a 500."""

import json
import sys
from collections import Counter
from random import Random
from typing import Any

import httpx2

from tests.e2e.service import Service
from tests.e2e.test_documentation import EXAMPLES, World, described, example
from tests.e2e.test_fuzz import MORE, ODD, places, spoilt

EACH = 12 * (MORE or 1)


def odd_bodies(shown: Any, random: Random) -> list[bytes]:
    """An example with something odd in one place, or under an odd name beside it."""
    there = places(shown)
    names = (None, None, None, "", "\x00", "__proto__", "ø", "shop")
    return [
        spoilt(shown, random.choice(there), random.choice(ODD), random.choice(names))
        for _ in range(EACH)
    ]


async def test_no_command_fails_by_what_it_is_told(service: Service) -> None:
    schema, counts = await described(service), Counter[tuple[str, int]]()
    async with httpx2.AsyncClient(base_url=service.api, timeout=60) as client:
        for name, prepare in EXAMPLES.items():
            random = Random(f"{name} {MORE}")
            world = World(service, client, schema)
            await prepare(world)
            operation = world.found[name]
            shown = example(schema, operation)
            for body in odd_bodies(shown, random) if shown else [b"", b"null", b"[]", ODD[7]]:
                counts[name, await status(world, name, body, random)] += 1
    for (name, code), count in sorted(counts.items()):
        sys.stdout.write(f"{name:30} {code} {count:4}\n")
    assert sum(count for (_, code), count in counts.items() if code == 422) > len(EXAMPLES)


async def status(world: World, name: str, body: bytes, random: Random) -> int:
    """How a command is answered that has this body, an odd version and an odd key."""
    operation = world.found[name]
    odd = {
        "If-Match": random.choice(('"1"', '"99"', "*", "W/x", '"-1"', "9" * 40)),
        "Idempotency-Key": random.choice(("k", "k" * 255, "k" * 300, "~", "{}", "a b")),
    }
    chosen = random.sample(sorted(odd), random.randint(0, 2))
    answer = await world.client.request(
        operation.method,
        operation.path.format(**world.places),
        params={"shop": world.shop},
        content=body,
        headers={
            **world.headers,
            "Content-Type": "application/json",
            **{header: odd[header] for header in chosen},
        },
    )
    sent = f"{name} {body[:300]!r} {chosen}"
    assert answer.status_code < 500 or answer.status_code == 503, (sent, answer.text)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json", sent
        found = json.loads(answer.content)
        assert found["detail"], sent
    return answer.status_code
