"""Coupons, tax rates and shipping rates as the staff keeps them, over HTTP."""

import asyncio
from typing import Any

import pytest

from app.api.access import Role
from tests.e2e.service import Service
from tests.e2e.test_commands import bearer

HUGE = "9" * 30
TEXT = "x" * 129


async def test_a_coupon_is_issued_changed_and_withdrawn(service: Service, tag: str) -> None:
    staff = bearer(service)
    terms = {"percent": "10", "limit": 5, "valid_from": "2026-01-01T01:00:00+01:00"}
    path = f"/v1/coupons/spring-{tag}"
    async with service.client() as client:
        issued = await client.post(
            "/v1/coupons", json={"code": f"spring-{tag}", **terms}, headers=staff
        )
        assert issued.status_code == 201, issued.text
        code = f"SPRING-{tag}".upper()
        assert issued.headers["Location"] == f"/v1/coupons/{code}"
        assert issued.json()["code"] == code
        assert issued.json()["valid_from"] == "2026-01-01T00:00:00Z"
        again = await client.post("/v1/coupons", json={"code": code, **terms}, headers=staff)
        assert again.status_code == 409
        seen = (await client.get(path, headers=staff)).headers["ETag"]
        edits = await asyncio.gather(
            *(
                client.put(path, json={"percent": percent}, headers={**staff, "If-Match": seen})
                for percent in ("11", "12")
            )
        )
        assert sorted(edit.status_code for edit in edits) == [200, 412]
        won = next(edit for edit in edits if edit.status_code == 200)
        found = (await client.get(path, headers=staff)).json()
        assert found["percent"] == won.json()["percent"]
        assert (found["redeemed"], found["disabled"]) == (0, False)
        assert (await client.delete(path, headers=staff)).json()["disabled"] is True
        assert (await client.delete(path, headers=staff)).status_code == 409
        assert (await client.put(path, json=terms, headers=staff)).status_code == 409


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({}, "percent"),
        ({"percent": "0"}, "percent"),
        ({"percent": "-5"}, "percent"),
        ({"percent": "101"}, "percent"),
        ({"percent": "1e1"}, "percent"),
        ({"percent": 10}, "percent"),
        ({"percent": "5", "amount": "5", "currency": "EUR"}, "percent"),
        ({"amount": "5"}, "currency"),
        ({"amount": "-5", "currency": "EUR"}, "amount"),
        ({"amount": HUGE, "currency": "EUR"}, "amount"),
        ({"amount": "0.001", "currency": "EUR"}, "amount"),
        ({"amount": "5", "currency": "euro"}, "currency"),
        ({"percent": "5", "valid_from": "2026-01-01T00:00:00"}, "valid_from"),
        ({"percent": "5", "valid_from": "0001-01-01T00:00:00+14:00"}, "valid_from"),
        ({"percent": "5", "valid_until": "9999-12-31T23:59:59-14:00"}, "valid_until"),
        ({"percent": "5", "limit": 0}, "limit"),
        ({"percent": "5", "limit": 10**30}, "limit"),
        ({"percent": "5", "limit_per_customer": "1"}, "limit_per_customer"),
        ({"percent": "5", "categories": ["a"] * 201}, "categories"),
        ({"percent": "5", "categories": ["\x00"]}, "categories.0"),
        ({"percent": "5", "name": TEXT}, "name"),
        ({"percent": "5", "free": True}, "free"),
        ({"percent": "5", "code": "two words"}, "code"),
        ({"percent": "5", "code": "x" * 65}, "code"),
    ],
)
async def test_terms_that_can_be_none_are_refused(
    service: Service, tag: str, terms: dict[str, Any], field: str
) -> None:
    staff = bearer(service)
    async with service.client() as client:
        new = {"code": f"BAD-{tag}", **terms}
        refused = await client.post("/v1/coupons", json=new, headers=staff)
        assert refused.status_code == 422, refused.text
        assert refused.json()["errors"][0]["field"] == field
        assert (await client.get(f"/v1/coupons/BAD-{tag}", headers=staff)).status_code == 404


async def test_codes_come_in_pages(service: Service, tag: str) -> None:
    staff = bearer(service)
    codes = [f"A-{tag}-{n}".upper() for n in range(5)]
    async with service.client() as client:
        for code in codes:
            await client.post("/v1/coupons", json={"code": code, "percent": "5"}, headers=staff)
        found: list[str] = []
        cursor = f"A-{tag}".upper()
        while len(found) < 5:
            page = await client.get(f"/v1/coupons?limit=2&cursor={cursor}", headers=staff)
            found += [one["code"] for one in page.json()["coupons"]]
            cursor = page.json()["next_cursor"]
    assert found[:5] == codes


@pytest.mark.parametrize("role", [None, Role.GUEST, Role.CUSTOMER])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/coupons"),
        ("GET", "/v1/coupons"),
        ("GET", "/v1/coupons/X"),
        ("PUT", "/v1/coupons/X"),
        ("DELETE", "/v1/coupons/X"),
        ("PUT", "/v1/tax-rates/XA"),
        ("PUT", "/v1/shipping-rates/XA"),
    ],
)
async def test_they_are_the_staffs(
    service: Service, role: Role | None, method: str, path: str
) -> None:
    headers = bearer(service, role) if role else {"Authorization": ""}
    async with service.client() as client:
        answer = await client.request(method, path, json={"rates": []}, headers=headers)
    assert answer.status_code == (403 if role else 401)


async def test_anyone_reads_rates(service: Service) -> None:
    rates = {
        "/v1/tax-rates/XB": [{"rate": "0.2"}, {"category": "books", "rate": "0"}],
        "/v1/shipping-rates/XB": [{"method": "post", "amount": "4.90", "currency": "EUR"}],
    }
    async with service.client() as client:
        for path, told in rates.items():
            answer = await client.put(path, json={"rates": told}, headers=bearer(service))
            assert answer.status_code == 200, answer.text
            read = await client.get(path, headers={"Authorization": ""})
            assert read.json()["rates"] == told
            assert read.headers["ETag"] == answer.headers["ETag"]
            above = path.rpartition("/")[0]
            listed = (await client.get(f"{above}?limit=200", headers={"Authorization": ""})).json()
            name = above.removeprefix("/v1/").replace("-", "_")
            assert read.json() in listed[name]
            assert (await client.get(f"{above}/XX")).status_code == 404


@pytest.mark.parametrize(
    ("path", "rate", "field"),
    [
        ("tax-rates/XC", {"rate": "19"}, "rates.0.rate"),
        ("tax-rates/XC", {"rate": "-0.1"}, "rates.0.rate"),
        ("tax-rates/XC", {"rate": 0.19}, "rates.0.rate"),
        ("tax-rates/XC", {"rate": "1.1"}, "rates.0.rate"),
        ("tax-rates/XC", {"rate": "0.19", "valid_from": "soon"}, "rates.0.valid_from"),
        ("tax-rates/xc", {"rate": "0.19"}, "country"),
        ("tax-rates/*", {"rate": "0.19"}, "country"),
        (
            "shipping-rates/XC",
            {"method": "post", "amount": "-1", "currency": "EUR"},
            "rates.0.amount",
        ),
        (
            "shipping-rates/XC",
            {"method": "post", "amount": HUGE, "currency": "EUR"},
            "rates.0.amount",
        ),
        (
            "shipping-rates/XC",
            {"method": "post", "amount": "1.5", "currency": "JPY"},
            "rates.amount",
        ),
        ("shipping-rates/XC", {"method": "", "amount": "1", "currency": "EUR"}, "rates.0.method"),
    ],
)
async def test_rates_that_can_be_none_are_refused(
    service: Service, path: str, rate: dict[str, Any], field: str
) -> None:
    async with service.client() as client:
        put = await client.put(f"/v1/{path}", json={"rates": [rate]}, headers=bearer(service))
        assert put.status_code == 422, put.text
        assert put.json()["errors"][0]["field"] == field
        twice = {"rates": [rate] * 501}
        assert (
            await client.put(f"/v1/{path}", json=twice, headers=bearer(service))
        ).status_code == 422


async def test_two_rates_for_the_same_are_refused_and_the_former_stay(service: Service) -> None:
    staff = bearer(service)
    async with service.client() as client:
        kept = await client.put(
            "/v1/tax-rates/XD", json={"rates": [{"rate": "0.2"}]}, headers=staff
        )
        both = {"rates": [{"rate": "0.2"}, {"rate": "0.1", "valid_from": "2030-01-01T00:00:00Z"}]}
        refused = await client.put("/v1/tax-rates/XD", json=both, headers=staff)
        assert (refused.status_code, refused.json()["code"]) == (422, "overlap")
        found = await client.get("/v1/tax-rates/XD")
        assert found.headers["ETag"] == kept.headers["ETag"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/coupons?limit=0", "limit"),
        ("/v1/coupons?limit=201", "limit"),
        ("/v1/coupons/%FF", "code"),
        ("/v1/shipping-rates/**", "country"),
        ("/v1/carts/x?country=Portugal", "country"),
    ],
)
async def test_what_nobody_would_ask_for_names_the_field(
    service: Service, path: str, field: str
) -> None:
    async with service.client() as client:
        answer = await client.get(path, headers=bearer(service))
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field
