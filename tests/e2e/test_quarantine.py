"""Failed events on the real servers: kept whole, shown to their shop, mended, counted once."""

import asyncio
import json
import subprocess
from typing import Any

import httpx2
import pytest
from aiokafka import AIOKafkaProducer

from projections.postgres import connect
from streams.log import Position
from streams.topics import partition_of
from tests.e2e.service import Service, run_cli

PRODUCTS = [{"product_id": "mug", "price": "9.90", "quantity": 2}]


def envelope(order: str, **more: Any) -> dict[str, Any]:
    """An order's sale as another producer writes it to the log."""
    fields = {
        "id": f"{order}-1",
        "type": "OrderCompleted",
        "shop": "main",
        "subject": order,
        "time": "2026-03-01T10:00:00Z",
        "received_at": "2026-03-01T10:00:01Z",
        "correlation_id": f"{order}-visit",
        "data": {"order_id": order, "currency": "EUR", "products": PRODUCTS},
    }
    return fields | more


async def append(service: Service, order: str, value: bytes) -> Position:
    """Puts a record on the log past the door."""
    settings = service.settings
    key = f"main/{order}".encode()
    partition = partition_of(key, settings.partitions)
    producer = AIOKafkaProducer(bootstrap_servers=settings.servers.kafka)
    await producer.start()
    try:
        done = await producer.send_and_wait(f"{settings.prefix}orders", value, key, partition)
    finally:
        await producer.stop()
    return Position("orders", partition, done.offset)


async def refused(client: httpx2.AsyncClient, position: Position) -> dict[str, Any]:
    """The record, once it is in quarantine."""
    async with asyncio.timeout(30):
        while (found := await client.get(f"/v1/quarantine/{position}")).status_code == 404:
            await asyncio.sleep(0.05)
    assert found.status_code == 200, found.text
    return dict(found.json())


async def figure(client: httpx2.AsyncClient, order: str, position: str) -> dict[str, Any]:
    found = await client.get(f"/v1/orders/{order}", params={"min_position": position, "wait": 20})
    assert found.status_code == 200, found.text
    return dict(found.json())


async def test_an_invalid_event_is_shown_with_its_reason_mended_and_counts_once(
    service: Service, tag: str
) -> None:
    wrong = [{**PRODUCTS[0], "quantity": "many"}]
    sent = envelope(tag, data={"order_id": tag, "currency": "EUR", "products": wrong})
    value = json.dumps(sent, indent=1).encode()
    position = await append(service, tag, value)
    behind = await append(service, tag, json.dumps(envelope(tag, id=f"{tag}-2")).encode())
    async with service.client() as client:
        record = await refused(client, position)
        assert record["payload"] == value.decode()
        assert record["field"] == "data.products[0].quantity"
        assert (record["shop"], record["event_id"]) == ("main", f"{tag}-1")
        assert "sales" in record["groups"]
        # Its partition goes on.
        assert (await figure(client, tag, str(behind)))["gross"] == "19.80"

        as_it_is = await client.post(f"/v1/quarantine/{position}/resubmit")
        assert as_it_is.status_code == 422
        assert as_it_is.json()["errors"][0]["field"] == "data.products[0].quantity"

        other = f"{tag}-other"
        data = {"order_id": other, "currency": "EUR", "products": PRODUCTS}
        mended = {"type": "OrderCompleted", "data": data}
        url = f"/v1/quarantine/{position}/resubmit"
        answers = await asyncio.gather(
            *(client.post(url, json=mended, params={"wait": 20}) for _ in range(5))
        )
        assert {answer.status_code for answer in answers} == {202}
        told = [answer.json() for answer in answers]
        assert len({(one["id"], one["position"]) for one in told}) == 1
        assert sorted(one["repeated"] for one in told) == [False, True, True, True, True]
        found = await figure(client, other, told[0]["position"])
        assert (found["gross"], found["revision"]) == ("19.80", 1)

        data["products"] = [{**PRODUCTS[0], "quantity": 3}]
        contradiction = await client.post(url, json=mended)
        assert contradiction.status_code == 409
        assert told[0]["position"] in contradiction.json()["detail"]
        shown = (await client.get(f"/v1/quarantine/{position}")).json()
        assert shown["resubmitted"]["position"] == told[0]["position"]
    logged = await _event(service, told[0]["position"])
    assert logged["time"] == "2026-03-01T10:00:00Z"
    assert (logged["causation_id"], logged["correlation_id"]) == (f"{tag}-1", f"{tag}-visit")


async def test_a_whole_event_that_was_refused_is_resubmitted_as_it_is(
    service: Service, tag: str
) -> None:
    """The same id was used before by an event that says something else: under its own id it is
    fine."""
    async with service.client() as client:
        await append(service, tag, json.dumps(envelope(tag)).encode())
        data = {"order_id": tag, "refund_id": "r1", "total": "5.00", "currency": "EUR"}
        other = envelope(tag, type="OrderRefunded", data=data)
        position = await append(service, tag, json.dumps(other).encode())
        assert (await refused(client, position))["field"] == "id"
        answer = await client.post(f"/v1/quarantine/{position}/resubmit", params={"wait": 20})
        assert answer.status_code == 202, answer.text
        found = await figure(client, tag, answer.json()["position"])
    assert (found["gross"], found["refunds"]) == ("19.80", "5.00")


async def test_what_is_personal_is_sealed_anew(service: Service, tag: str) -> None:
    words = f"it broke {tag}"
    sale = envelope(tag)
    refund = {"order_id": tag, "refund_id": "r1", "total": "5.00", "currency": "EUR"}
    async with service.client() as client:
        review = {"product_id": "mug", "rating": 5, "review_body": words}
        sent = {"type": "Product Reviewed", "person": f"p-{tag}", "data": review}
        first = await client.post("/v1/events", json=sent)
        sealed = await _event(service, first.json()["position"])
        # Brought back by someone whose copy of it lost its type.
        position = await append(service, tag, json.dumps({**sealed, "type": "Oops"}).encode())
        await append(service, tag, json.dumps(sale | {"data": refund}).encode())
        await refused(client, position)
        body = json.dumps({**sealed, "type": "ProductReviewed"})
        url = f"/v1/quarantine/{position}/resubmit"
        answer = await client.post(url, content=body, params={"wait": 20})
    assert answer.status_code == 202, answer.text
    again = await _event(service, answer.json()["position"])
    assert words not in json.dumps(again)
    assert again["sealed"] != sealed["sealed"]
    assert again["id"] == answer.json()["id"]


async def _event(service: Service, position: str) -> dict[str, Any]:
    from aiokafka import TopicPartition

    from streams.readback import read_back

    topic, partition, offset = Position.parse(position)
    at = TopicPartition(service.settings.prefix + topic, partition)
    async for _, records in read_back(service.settings.servers.kafka, {at: (offset, offset + 1)}):
        return dict(json.loads(records[0].value or b""))
    raise AssertionError("no such record")


async def test_it_is_filtered_and_paged(service: Service, tag: str) -> None:
    positions = [
        await append(service, f"{tag}-{n}", json.dumps(envelope(f"{tag}-{n}", type=tag)).encode())
        for n in range(5)
    ]
    async with service.client() as client:
        for position in positions:
            await refused(client, position)
        wanted: dict[str, Any] = {"reason": tag.upper(), "field": "type", "limit": 2}
        found: list[str] = []
        pages = 0
        while pages < 10:
            answer = (await client.get("/v1/quarantine", params=wanted)).json()
            found += [record["position"] for record in answer["records"]]
            pages += 1
            if answer["next_cursor"] is None:
                break
            wanted["cursor"] = answer["next_cursor"]
        told = {"reason": f"type: unknown type '{tag}'"}  # as it is shown: the field comes first
        named = await client.get("/v1/quarantine", params=told)
        nothing = await client.get("/v1/quarantine", params={"reason": tag, "topic": "carts"})
        wrong = await client.get("/v1/quarantine", params={"cursor": "yesterday"})
        misspelt = await client.get("/v1/quarantine", params={"reasn": tag})
    assert (pages, len(found)) == (3, 5)
    assert set(found) == {str(position) for position in positions}
    assert len(named.json()["records"]) == 5
    assert nothing.json() == {"records": [], "next_cursor": None}
    assert (wrong.status_code, misspelt.status_code) == (422, 422)


async def test_only_the_shops_own_key_sees_it(service: Service, tag: str) -> None:
    theirs = await append(service, tag, json.dumps({"shop": "other", "x": tag}).encode())
    nobodys = await append(service, tag, b"\xff\xfe no event " + tag.encode())
    ours = await append(service, tag, json.dumps({"shop": "main", "x": tag}).encode())
    async with service.client() as client:
        await refused(client, ours)
        for position in (theirs, nobodys):
            assert (await client.get(f"/v1/quarantine/{position}")).status_code == 404
            again = await client.post(f"/v1/quarantine/{position}/resubmit", json={})
            assert again.status_code == 404
        assert (await client.get("/v1/quarantine?shop=other")).status_code == 403
        listed = await client.get("/v1/quarantine", params={"limit": 100})
        assert str(theirs) not in listed.text
        assert listed.headers["cache-control"] == "no-store"
    async with httpx2.AsyncClient(base_url=service.api) as client:
        assert (await client.get("/v1/quarantine")).status_code == 401
        assert (await client.get(f"/v1/quarantine/{ours}")).status_code == 401
        assert (await client.post(f"/v1/quarantine/{ours}/resubmit")).status_code == 401


@pytest.mark.parametrize(
    "position", ["orders:0", "nothing:0:0", f"orders:{2**31}:0", f"orders:0:{2**63}", "orders:0:-1"]
)
async def test_no_record_is_anywhere_else(service: Service, position: str) -> None:
    async with service.client() as client:
        assert (await client.get(f"/v1/quarantine/{position}")).status_code == 404


async def test_the_command_line_sees_all_and_mends_what_nobody_owns(
    service: Service, tag: str
) -> None:
    position = await append(service, tag, b"\xff not JSON " + tag.encode())
    marker = await append(service, tag, json.dumps({"shop": "main", "x": tag}).encode())
    async with service.client() as client:
        await refused(client, marker)
    listed = await command(service, "quarantine", "list", "--limit", "100", "--json")
    assert str(position) in {json.loads(line)["position"] for line in listed.splitlines()}
    shown = json.loads(await command(service, "quarantine", "show", str(position)))
    assert shown["payload"] is None
    assert shown["payload_base64"]
    body = json.dumps({"type": "OrderCompleted", "data": envelope(tag)["data"]}).encode()
    resubmit = ("quarantine", "resubmit", str(position), "--body", "-", "--wait", "20")
    first = await command(service, *resubmit, "--shop", "main", stdin=body)
    again = await command(service, *resubmit, "--shop", "main", stdin=body)
    assert first == again
    async with service.client() as client:
        found = await figure(client, tag, first.split()[1])
    assert (found["gross"], found["revision"]) == ("19.80", 1)
    assert found["completed_at"].startswith("20")


async def command(service: Service, *arguments: str, stdin: bytes = b"") -> str:
    """What a command says. Fails where it fails."""
    code, said, told = await call(service, *arguments, stdin=stdin)
    assert code == 0, told
    return said


async def call(service: Service, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    process = run_cli(
        *arguments,
        environment=service.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    said, told = await asyncio.to_thread(process.communicate, stdin)
    return process.returncode, said.decode(), told.decode()


async def test_nothing_is_skipped_that_has_not_failed(service: Service, tag: str) -> None:
    position = await append(service, tag, json.dumps(envelope(tag)).encode())
    skip = ("quarantine", "skip", str(position), "--group", "sales", "--reason", "because")
    code, _, told = await call(service, *skip)
    assert code == 1
    assert "has not failed" in told


async def test_what_is_read_is_what_was_applied_repeated_and_quarantined(
    service: Service, tag: str
) -> None:
    first = await append(service, tag, json.dumps(envelope(tag)).encode())
    await append(service, tag, json.dumps(envelope(tag)).encode())
    last = await append(service, tag, b"nothing")
    settings = service.settings
    pool = await connect(settings.servers.postgres, settings.schema_name)
    try:
        async with asyncio.timeout(30):
            while (row := await _counted(pool, last))["next_offset"] <= last.offset:
                await asyncio.sleep(0.05)
        kept = await pool.fetchval(
            "SELECT count(*) FROM quarantine "
            "WHERE group_name = 'sales' AND topic = 'orders' AND partition = $1 "
            "AND record_offset BETWEEN $2 AND $3",
            last.partition,
            first.offset,
            last.offset,
        )
    finally:
        await pool.close()
    assert row["applied"] + row["repeated"] + row["quarantined"] == row["next_offset"]
    assert kept == 1


async def _counted(pool: Any, at: Position) -> Any:
    return await pool.fetchrow(
        "SELECT * FROM progress WHERE group_name = 'sales' AND topic = $1 AND partition = $2",
        at.topic,
        at.partition,
    )
