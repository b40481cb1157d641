"""What a command's body may be: how large, how slow, how deep, and in which characters."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.api.bodies import MOST_JSON_BYTES
from tests.e2e.service import Service
from tests.e2e.test_commands import bearer, mug

JSON = {"Content-Type": "application/json"}


async def posted(service: Service, body: Any, **headers: str) -> Any:
    async with service.client() as client:
        return await client.post(
            "/v1/products", content=body, headers={**bearer(service), **JSON, **headers}
        )


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 100_000):
        yield body[at : at + 100_000]


@pytest.mark.parametrize("told", [True, False])
async def test_a_body_has_a_bound_also_where_it_does_not_tell_its_length(
    service: Service, tag: str, told: bool
) -> None:
    body = json.dumps(mug(tag, description="x" * MOST_JSON_BYTES)).encode()
    answer = await posted(service, body if told else pieces(body))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_a_body_in_pieces_is_one_body(service: Service, tag: str) -> None:
    body = json.dumps(mug(tag, description="x" * 20_000)).encode()
    assert (await posted(service, pieces(body))).status_code == 201


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("name",), "a\0b"),
        (("variants", 0, "id"), "\ud800"),
        (("description",), "\udc00\ud800"),
        (("variants", 0, "options", "colour"), "\0"),
    ],
)
async def test_what_is_no_text_is_refused_by_name(
    service: Service, tag: str, path: tuple[str | int, ...], text: str
) -> None:
    product = mug(tag)
    product["variants"][0]["options"] = {}
    holder: Any = product
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = text
    answer = await posted(service, json.dumps(product).encode())
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == ".".join(map(str, path))


async def test_a_name_that_is_no_text_is_refused_where_it_stands(
    service: Service, tag: str
) -> None:
    product = mug(tag)
    product["variants"][0]["options"] = {"a\0": "b"}
    answer = await posted(service, json.dumps(product).encode())
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "variants.0.options"


async def test_a_backslash_before_u0000_is_text(service: Service, tag: str) -> None:
    product = mug(tag, name="\\u0000")
    answer = await posted(service, json.dumps(product).encode())
    assert answer.status_code == 201
    assert answer.json()["name"] == "\\u0000"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 200_000, 422),
        (b'{"name":' * 100_000 + b"1" + b"}" * 100_000, 400),
        (b'{"name": "\xff\xfe"}', 400),
        (b'{"name": "a\0b"}', 422),
        (b"", 422),
        (b"null", 422),
        (b"{", 422),
    ],
)
async def test_what_is_no_json_is_refused(service: Service, body: bytes, status: int) -> None:
    answer = await posted(service, body)
    assert answer.status_code in (400, status), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data"])
async def test_only_json_is_read(service: Service, tag: str, content_type: str) -> None:
    body = json.dumps(mug(tag)).encode()
    answer = await posted(service, body, **{"Content-Type": content_type})
    assert answer.status_code == 415, answer.text
    assert answer.headers["accept"] == "application/json"


@pytest.mark.parametrize("address", ["/v1/products?shop=a%00b", "/v1/products%00"])
async def test_an_address_has_no_nul(service: Service, tag: str, address: str) -> None:
    async with service.client() as client:
        answer = await client.post(address, json=mug(tag), headers=bearer(service))
    assert answer.status_code == 422


async def test_who_never_sends_the_body_is_not_waited_for(service: Service) -> None:
    host, port = service.api.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/products HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    token = bearer(service)["Authorization"]
    writer.write(f"{head}Authorization: {token}\r\nContent-Length: 100\r\n\r\n".encode())
    try:
        async with asyncio.timeout(60):
            assert b" 408 " in await reader.readline()
    finally:
        writer.close()
