"""The documentation: nothing in it comes from elsewhere, and its examples are true."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from playwright.async_api import Browser, expect

from app.api.access import Role
from tests.e2e.browser import chromium, looking, needs_chromium
from tests.e2e.catalogue_examples import BUYERS, CATALOGUE, Prepare, Stage
from tests.e2e.service import Service

Schema = dict[str, Any]


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as found:
        yield found


@needs_chromium
@pytest.mark.parametrize(
    ("path", "shown"), [("/docs", "#operations-catalogue-products_create"), ("/redoc", "h2")]
)
async def test_it_is_shown_without_any_other_host(
    service: Service, browser: Browser, path: str, shown: str
) -> None:
    async with looking(browser, service.api + path) as (page, seen):
        await expect(page.locator(shown).first).to_be_visible(timeout=60_000)
        await expect(page.locator("body")).to_contain_text("/v1/products", timeout=60_000)
        await page.wait_for_load_state("networkidle")
    outside = {host for host in seen.hosts if host not in ("", service.api.split("//")[1])}
    assert outside == set()
    assert seen.errors == []


async def described(service: Service) -> Schema:
    async with service.client() as client:
        found: Schema = (await client.get("/openapi.json")).json()
        return found


class Operation(NamedTuple):
    """One method of one path, as it is described."""

    method: str
    path: str
    told: Schema


def operations(schema: Schema) -> Iterator[Operation]:
    for path, methods in schema["paths"].items():
        for method, told in methods.items():
            yield Operation(method, path, told)


def resolved(schema: Schema, part: Schema) -> Schema:
    while "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        part = schema["components"]["schemas"][name]
    return part


def example(schema: Schema, operation: Operation) -> Any:
    """A body that an operation's description shows; none where it takes none."""
    content = operation.told.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    shape = resolved(schema, content["schema"])
    for found in (content.get("example"), shape.get("example"), *shape.get("examples", [])):
        if found is not None:
            return found
    raise AssertionError(f"{operation.told['operationId']} has no example")


async def test_every_error_is_described_as_a_problem(service: Service) -> None:
    for operation in operations(await described(service)):
        for status, told in operation.told["responses"].items():
            if status >= "4":
                assert list(told["content"]) == ["application/problem+json"], operation
        assert "4XX" in operation.told["responses"], operation


async def test_every_body_has_an_example(service: Service) -> None:
    schema = await described(service)
    shown = [
        example(schema, operation)
        for operation in operations(schema)
        if operation.told["operationId"] not in NO_COMMANDS
    ]
    assert any(shown)


# Every command's example is carried out, in a shop of its own, after what it needs.

EXAMPLES: Mapping[str, tuple[Prepare, Mapping[str, str]]] = {**CATALOGUE}
"""What an operation's example needs, and the places of its path."""

NO_COMMANDS = {"events_append", "quarantine_resubmit", "webhooks_stripe"}
CUSTOMERS = BUYERS  # whose commands are theirs alone
OUTSIDE = {"images_add"}  # its example is an address of somebody else's


def commands_of(schema: Schema) -> Mapping[str, Operation]:
    """Operations that change something, by name."""
    found = {operation.told["operationId"]: operation for operation in operations(schema)}
    left_out = NO_COMMANDS | OUTSIDE
    return {
        name: operation
        for name, operation in found.items()
        if operation.method != "get" and name not in left_out
    }


async def test_every_command_has_an_example_that_is_tried(service: Service) -> None:
    assert commands_of(await described(service)).keys() == EXAMPLES.keys()


@pytest.mark.parametrize("name", EXAMPLES)
async def test_every_commands_example_is_carried_out(service: Service, name: str) -> None:
    schema = await described(service)
    operation = commands_of(schema)[name]
    prepare, places = EXAMPLES[name]
    role = Role.CUSTOMER if name in CUSTOMERS else Role.STAFF
    async with service.client() as client:
        stage = Stage(service, client, f"example-{name}")
        await prepare(stage)
        path = operation.path.format(**places)
        await stage.send(operation.method, path, role, json=example(schema, operation))
