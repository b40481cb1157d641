"""Accounts over HTTP, on the real servers."""

from tests.e2e.people import registered
from tests.e2e.service import Service


async def test_somebody_registers_logs_in_and_sees_themselves(service: Service) -> None:
    async with service.client() as client:
        ada = await registered(client, name="Ada Lovelace", country="PT")
        answer = await client.get("/v1/users/me", headers=ada.headers)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["user_id"], found["email"]) == (ada.user_id, ada.email)
    assert (found["name"], found["country"], found["role"]) == ("Ada Lovelace", "PT", "customer")
    assert answer.headers["ETag"] == '"1"'
    assert answer.headers["Cache-Control"] == "no-store"
