"""Customers over HTTP: who they are, who comes back, what each has brought, and who may see it."""

from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx2
import pytest

from tests.e2e.people import registered
from tests.e2e.service import Service

Rows = list[dict[str, Any]]
_YEARS = count(1971)


def sale(
    order: str, at: str, person: str | None, *sold: tuple[str, str, int], **more: Any
) -> dict[str, Any]:
    lines = [
        {"product_id": product, "price": price, "quantity": units} for product, price, units in sold
    ]
    data = {"order_id": order, "currency": "EUR", "country": "DE", "products": lines} | more
    told = {"type": "OrderCompleted", "id": order, "time": at, "data": data}
    return told if person is None else told | {"person": person}


@dataclass
class Year:
    """A year in which nobody else orders anything: `ada`, `bob`, `eve` and a guest."""

    tag: str
    year: int
    positions: list[str]

    @property
    def asked(self) -> dict[str, Any]:
        return {"from": f"{self.year}-01-01", "to": f"{self.year}-12-31"}

    def named(self, name: str) -> str:
        return f"{self.tag}-{name}"


@pytest.fixture
async def ours(service: Service, tag: str) -> Year:
    year = next(_YEARS)
    events = [
        sale(f"{tag}-1", f"{year}-01-31T22:30:00Z", f"{tag}-ada", (f"{tag}-mug", "9.90", 2)),
        sale(f"{tag}-2", f"{year}-02-01T23:30:00Z", f"{tag}-bob", (f"{tag}-pen", "2.00", 1)),
        sale(f"{tag}-3", f"{year}-02-10T10:00:00Z", f"{tag}-ada", (f"{tag}-pen", "2.00", 5)),
        sale(f"{tag}-4", f"{year}-02-11T10:00:00Z", None, (f"{tag}-pen", "2.00", 1)),
        sale(f"{tag}-5", f"{year}-04-20T10:00:00Z", f"{tag}-bob", (f"{tag}-mug", "9.90", 1)),
        sale(
            *(f"{tag}-6", f"{year}-04-21T10:00:00Z", f"{tag}-eve", (f"{tag}-mug", "9", 1)),
            country="FR",
            currency="GBP",
        ),
        {
            "type": "OrderRefunded",
            "id": f"{tag}-back",
            "time": f"{year}-04-22T10:00:00Z",
            "data": {"order_id": f"{tag}-3", "revenue": "4.00"},
        },
    ]
    async with service.client() as client:
        answer = await client.post("/v1/events", json=events)
        assert answer.is_success, answer.text
        accepted = answer.json()["accepted"]
    assert len(accepted) == len(events)
    return Year(tag, year, [one["position"] for one in accepted])


async def told(client: httpx2.AsyncClient, path: str, ours: Year, **asked: Any) -> Rows:
    asked = {"wait": 20, "min_position": ours.positions, **ours.asked, **asked}
    found = await client.get(path, params=asked)
    assert found.status_code == 200, found.text
    body = found.json()
    assert all([*row] == [one["name"] for one in body["columns"]] for row in body["rows"])
    return list(body["rows"])


async def test_customers_are_counted_once_in_every_period(service: Service, ours: Year) -> None:
    months = {f"{ours.year}-{month:02d}": month for month in range(1, 13)}
    async with service.client() as client:

        async def monthly(metric: str, **asked: Any) -> dict[int, Any]:
            rows = await told(client, f"/v1/metrics/{metric}", ours, grain="month", **asked)
            return {months[row["month"]]: row[metric] for row in rows}

        assert await monthly("customers") == {1: 1, 2: 2, 4: 2}
        assert await monthly("new_customers") == {1: 1, 2: 1, 4: 1}
        assert await monthly("returning_customers") == {2: 1, 4: 1}
        assert await monthly("returning_rate") == {1: "0", 2: "0.5", 4: "0.5"}
        assert await monthly("orders_without_customer") == {2: 1}
        assert await monthly("customers", country="FR") == {4: 1}
        whole = await told(client, "/v1/metrics/repeat_rate", ours, grain="total")
        assert whole == [{"repeat_rate": "0.666667"}]
        assert await told(client, "/v1/metrics/customers", ours, grain="total", by="country") == [
            {"country": "DE", "customers": 2},
            {"country": "FR", "customers": 1},
        ]


async def test_reports_on_where_customers_come_from_and_whether_they_stay(
    service: Service, ours: Year
) -> None:
    async with service.client() as client:
        asked = {"grain": "year", "by": "product"}
        assert await told(client, "/v1/reports/acquisition", ours, **asked) == [
            {"year": str(ours.year), "product": ours.named("mug"), "new_customers": 2}
            | {"share": "0.666667"},
            {"year": str(ours.year), "product": ours.named("pen"), "new_customers": 1}
            | {"share": "0.333333"},
        ]
        by_country = await told(client, "/v1/reports/acquisition", ours, by="country")
        assert [row["country"] for row in by_country] == ["DE", "DE", "FR"]

        churn = await told(client, "/v1/reports/churn", ours, days=30, to=f"{ours.year}-05-31")
        names = ("active_at_start", "new", "regained", "churned", "active_at_end", "lost")
        assert [tuple(row[name] for name in (*names, "churn_rate")) for row in churn] == [
            (0, 1, 0, 0, 1, 0, None),
            (1, 1, 0, 0, 2, 0, "0"),
            (2, 0, 0, 2, 0, 2, "1"),
            (0, 1, 1, 0, 2, 0, None),
            (2, 0, 0, 2, 0, 2, "1"),
        ]
        cohorts = await told(client, "/v1/reports/cohorts", ours, months=2)
        assert [(row["cohort"][-2:], row["size"], row["customers"]) for row in cohorts] == [
            *(("01", 1, 1), ("01", 1, 1), ("01", 1, 0)),
            *(("02", 1, 1), ("02", 1, 0), ("02", 1, 1)),
            *(("04", 1, 1), ("04", 1, 0), ("04", 1, 0)),
        ]


async def test_reports_on_what_customers_bring(service: Service, ours: Year) -> None:
    async with service.client() as client:
        top = await told(client, "/v1/reports/top_customers", ours, limit=1)
        assert [(row["currency"], row["customer"], row["net"]) for row in top] == [
            ("EUR", ours.named("ada"), "25.80"),
            ("GBP", ours.named("eve"), "9.00"),
        ]
        by_country = await told(client, "/v1/reports/top_customers", ours, by="country")
        assert [(row["country"], row["rank"], row["customer"]) for row in by_country] == [
            ("DE", 1, ours.named("ada")),
            ("DE", 2, ours.named("bob")),
            ("FR", 1, ours.named("eve")),
        ]
        [value] = await told(
            client, "/v1/reports/customer_values", ours, customer=ours.named("bob")
        )
        assert (value["orders"], value["net"], value["average_order_value"]) == (2, "11.90", "5.95")
        scores = await told(client, "/v1/reports/customer_scores", ours, currency="EUR")
        assert [(row["customer"], row["segment"], row["monetary"]) for row in scores] == [
            (ours.named("ada"), "hibernating", 3),
            (ours.named("bob"), "about_to_sleep", 1),
        ]
        segments = await told(client, "/v1/reports/customer_segments", ours, currency="EUR")
        assert [(row["segment"], row["customers"], row["net"]) for row in segments] == [
            ("about_to_sleep", 1, "11.90"),
            ("hibernating", 1, "25.80"),
            ("without_customer", 0, "2.00"),
        ]


async def test_one_customer_to_date_and_their_orders_by_pages(service: Service, ours: Year) -> None:
    ada = f"/v1/customers/{ours.named('ada')}"
    seen: dict[str, Any] = {"min_position": ours.positions, "wait": 20}
    async with service.client() as client:
        found = (await client.get(f"{ada}/clv", params=seen)).json()
        assert found["customer"] == ours.named("ada")
        assert found["to_date"]["orders"] == 2
        assert found["to_date"]["first_day"] == f"{ours.year}-01-31"
        [value] = found["to_date"]["values"]
        assert value["currency"] == "EUR"
        assert [value[name] for name in ("gross", "refunds", "net")] == ["29.80", "4.00", "25.80"]

        pages, cursor = [], dict[str, str]()
        while True:
            answer = await client.get(f"{ada}/orders", params={"limit": 1, **cursor})
            body = answer.json()
            pages.append([(order["order_id"], order["net"]) for order in body["orders"]])
            if body["next_cursor"] is None:
                break
            cursor = {"cursor": body["next_cursor"]}
        assert pages == [[(f"{ours.tag}-3", "6.00")], [(f"{ours.tag}-1", "19.80")]]
        wrong = await client.get(f"{ada}/orders", params={"cursor": "WzFlOTk5LCJhIl0"})
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "cursor")
        nobody = (await client.get("/v1/customers/nobody-at-all/clv")).json()
        assert nobody["to_date"]["values"] == []
        assert (await client.get("/v1/customers/nobody-at-all/orders")).json()["orders"] == []


async def test_a_customer_sees_their_own_figures_and_nobody_elses(
    service: Service, ours: Year
) -> None:
    async with service.client() as client:
        ada, bob = await registered(client), await registered(client)
        order = sale(
            f"{ours.tag}-own", f"{ours.year}-06-01T10:00:00Z", ada.user_id, ("mug", "5", 1)
        )
        sent = (await client.post("/v1/events", json=order)).json()
        for path in ("clv", "orders"):
            for whose in ("me", ada.user_id):
                answer = await client.get(
                    f"/v1/customers/{whose}/{path}",
                    params={"min_position": sent["position"], "wait": 20},
                    headers=ada.headers,
                )
                assert answer.status_code == 200, answer.text
                assert answer.json()["customer"] == ada.user_id
                assert "5.00" in answer.text
            others = f"/v1/customers/{ada.user_id}/{path}"
            assert (await client.get(others, headers=bob.headers)).status_code == 404
            # `me` is whoever is logged in, and a key is nobody.
            nobody = await client.get(f"/v1/customers/me/{path}")
            assert (nobody.status_code, nobody.json()["code"]) == (404, "unknown_customer")
