"""Accounts for tests over HTTP: registered and logged in, each with an address of its own."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2
from aiokafka import TopicPartition

from streams import codec
from streams.readback import log_ends, read_back
from tests.e2e.service import Service

PASSWORD = "a good long password"


@dataclass
class Person:
    """Somebody who is logged in."""

    user_id: str
    email: str
    access: str
    refresh: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"}


def somebody(**changed: Any) -> dict[str, Any]:
    """What an account is registered with."""
    name = uuid4().hex[:12]
    return {"email": f"{name}@example.com", "password": PASSWORD, "name": name, **changed}


async def log_in(
    client: httpx2.AsyncClient, email: str, password: str = PASSWORD, shop: str = "main"
) -> Person:
    answer = await client.post(
        f"/v1/auth/login?shop={shop}", json={"email": email, "password": password}
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return Person(found["user_id"], email, found["access_token"], found["refresh_token"])


async def registered(client: httpx2.AsyncClient, shop: str = "main", **changed: Any) -> Person:
    """A customer who has just registered and logged in."""
    new = somebody(**changed)
    answer = await client.post(
        f"/v1/auth/register?shop={shop}", json=new, headers={"Authorization": ""}
    )
    assert answer.status_code == 201, answer.text
    return await log_in(client, new["email"], shop=shop)


async def told_of(service: Service, topic: str, subject: str) -> dict[str, bytes]:
    """What the log says of somebody: the records, by the types of their events."""
    settings = service.settings
    names = [
        TopicPartition(settings.prefix + topic, number) for number in range(settings.partitions)
    ]
    ends = await log_ends(settings.servers.kafka, names)
    records = [
        record.value
        async for _, found in read_back(settings.servers.kafka, ends)
        for record in found
    ]
    events = [(codec.decode_envelope(value), value) for value in records]
    return {event.type: value for event, value in events if event.subject == subject}
