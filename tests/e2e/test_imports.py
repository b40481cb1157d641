"""Somebody's own table of sales, by the steps of a person: over HTTP, and on the command line."""

import asyncio
import csv
import gzip
import io
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.service import Service

MOTORCYCLES = "Royal_Enfield_Classic_350_2024_Sales.csv.gz"


@pytest.fixture(scope="session")
def sheet(data: Path) -> bytes:
    """The 26-column motorcycle sheet."""
    return gzip.decompress((data / MOTORCYCLES).read_bytes())


async def bring(
    client: httpx2.AsyncClient, content: bytes, name: str, **asked: Any
) -> dict[str, Any]:
    """An import, as soon as it was looked through."""
    answer = await client.post("/v1/imports", params={"name": name, **asked}, content=content)
    assert answer.status_code == 201, answer.text
    return await looked(client, answer.json()["import_id"])


async def looked(client: httpx2.AsyncClient, import_id: str) -> dict[str, Any]:
    async with asyncio.timeout(120):
        while True:
            found = (await client.get(f"/v1/imports/{import_id}", params={"wait": 20})).json()
            if found["state"] != "received":
                return dict(found)


async def ended(client: httpx2.AsyncClient, import_id: str) -> dict[str, Any]:
    """As soon as nothing more becomes of it."""
    async with asyncio.timeout(120):
        while True:
            found = (await client.get(f"/v1/imports/{import_id}", params={"wait": 20})).json()
            if found["state"] in ("done", "failed", "cancelled", "draft"):
                return dict(found)
            await asyncio.sleep(0.1)


async def total(client: httpx2.AsyncClient, metric: str, shop: str) -> dict[str, Any]:
    asked = {"shop": shop, "grain": "total"}
    answer = await client.get(f"/v1/metrics/{metric}", params=asked)
    assert answer.status_code == 200, answer.text
    (row,) = answer.json()["rows"]
    return dict(row)


def recounted(sheet: bytes) -> tuple[int, int]:
    """Its units and its sum, by nothing of ours."""
    rows = list(csv.DictReader(io.StringIO(sheet.decode())))
    units = sum(int(row["Quantity_Sold"]) for row in rows)
    return units, sum(int(row["Quantity_Sold"]) * int(row["Price_INR"]) for row in rows)


async def test_the_motorcycle_sheet_goes_in_without_help_and_again_adds_nothing(
    service: Service, sheet: bytes, tag: str
) -> None:
    async with service.client() as client:
        first = await bring(client, sheet, f"enfield-{tag}.csv")
        shop = first["shop"]
        assert shop == f"main.enfield-{tag}"
        targets = {
            one["name"]: one["target"] for one in first["mapping"]["columns"] if one["target"]
        }
        assert targets == {
            "id": "row",
            "product_id": "product",
            "product_name": "name",
            "Date": "time",
            "Model": "variant",
            "Brand": "brand",
            "Dealer_Type": "channel",
            "Price_INR": "unit_price",
            "Quantity_Sold": "quantity",
        }
        done = await ended(client, first["import_id"])
        assert (done["state"], done["progress"]["added"]) == ("done", 366), done
        units, amount = recounted(sheet)
        assert (await total(client, "units", shop))["units"] == units
        assert await total(client, "gross", shop) == {"currency": "INR", "gross": f"{amount}.00"}
        assert (await total(client, "orders", shop))["orders"] == 366
        again = await bring(client, sheet, f"enfield-{tag}.csv")
        done = await ended(client, again["import_id"])
        counts = done["progress"]
        assert (counts["added"], counts["known"], counts["events"]) == (0, 366, 0)
        assert (await total(client, "orders", shop))["orders"] == 366


def broken(sheet: bytes) -> tuple[bytes, dict[int, tuple[str, str]]]:
    """A copy of which some rows cannot be taken, and by line what is wrong with them."""
    lines = sheet.decode().splitlines()
    spoiled = {
        4: ("2024-01-03", "2024-02-30", "Date"),
        9: (lines[8].rpartition(",")[2], "many", "Quantity_Sold"),
        20: ("RE350,", ",", "product_id"),
    }
    for line, (good, bad, _) in spoiled.items():
        head, found, tail = lines[line - 1].rpartition(good)
        assert found
        lines[line - 1] = head + bad + tail
    lines[29] += ",one,more"
    lines[39] = '=cmd()"' + lines[39].replace("Royal Enfield Classic 350", '"Royal')
    named = {line: (column, bad) for line, (_, bad, column) in spoiled.items()}
    named[20] = ("product_id", "")
    return "\n".join(lines).encode(), named


async def test_each_bad_row_of_a_broken_copy_is_named_and_the_others_go_in(
    service: Service, sheet: bytes, tag: str
) -> None:
    content, named = broken(sheet)
    async with service.client() as client:
        first = await bring(client, content, f"broken-{tag}.csv")
        done = await ended(client, first["import_id"])
        assert done["state"] == "done", done
        counts = done["progress"]
        assert counts["rows"] == counts["taken"] + counts["rejected"] == 366
        answer = await client.get(f"/v1/imports/{first['import_id']}/rejected.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    found = {int(row["line"]): (row["column"], row["value"]) for row in rows}
    assert all(row["reason"] for row in rows)
    assert found.items() >= named.items()
    assert set(found) == {*named, 30, 40}
    assert counts["rejected"] == 5


SHEET = "Pedido;Data;Produto;Qtd;Preço;Email\n" + "".join(
    f"n{number};0{number % 9 + 1}/0{number % 8 + 1}/2024;Caneca {number % 5};2;"
    f'"1.0{number:02},50";ana{number}@example.com\n'
    for number in range(40)
)


async def test_what_is_not_sure_is_asked_corrected_and_known_the_next_time(
    service: Service, tag: str
) -> None:
    sheet = SHEET.replace("Pedido", f"Pedido {tag}")
    async with service.client() as client:
        found = await bring(client, sheet.encode("cp1252"), f"vendas-{tag}.csv", currency="BRL")
        assert found["state"] == "draft"
        assert [one["field"] for one in found["asked"] if one["blocking"]] == ["columns.Data"]
        at = f"/v1/imports/{found['import_id']}"
        early = await client.post(f"{at}/start")
        assert (early.status_code, early.json()["code"]) == (409, "not_ready")
        wrong = await client.put(f"{at}/mapping", json={"columns": {"Data": "time:x"}})
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "columns.Data")
        said = {"columns": {"Data": "time:d/m/y"}}
        assert (await client.put(f"{at}/mapping", json=said)).status_code == 200
        found = await looked(client, found["import_id"])
        assert [one for one in found["asked"] if one["blocking"]] == []
        assert found["preview"][0]["time"] == "2024-01-01T00:00:00+00:00"
        assert found["preview"][0]["amount"] == "2001.00"
        assert "example.com" not in str(found)
        assert (await client.post(f"{at}/start")).status_code == 202
        done = await ended(client, found["import_id"])
        assert (done["state"], done["progress"]["added"]) == ("done", 40), done
        row = await total(client, "gross", found["shop"])
        expected = sum(2 * (1000 + number) + 1 for number in range(40))
        assert row == {"currency": "BRL", "gross": f"{expected}.00"}
        # The next file with this header needs no word.
        more = "".join(sheet.splitlines(keepends=True)[:20]).replace("\nn", "\nm")
        again = await bring(client, more.encode("cp1252"), f"vendas-{tag}.csv", currency="BRL")
        done = await ended(client, again["import_id"])
        assert (done["state"], done["progress"]["added"]) == ("done", 19), done


async def test_forms_previews_and_shops(service: Service, sheet: bytes, tag: str) -> None:
    async with service.client() as client:
        files = {"file": (f"form-{tag}.csv", sheet, "text/csv")}
        answer = await client.post("/v1/imports", params={"preview": "true"}, files=files)
        assert answer.status_code == 201, answer.text
        found = await looked(client, answer.json()["import_id"])
        assert (found["state"], found["name"]) == ("draft", f"form-{tag}.csv")
        assert found["preview"][0]["product"] == "RE350"
        at = f"/v1/imports/{found['import_id']}"
        gone = await client.post(f"{at}/cancel")
        assert (gone.status_code, gone.json()["state"]) == (202, "cancelled")
        assert (await client.post(f"{at}/start")).status_code == 409
        listed = (await client.get("/v1/imports")).json()["imports"]
        assert found["import_id"] in [one["import_id"] for one in listed]
        assert not (service.settings.home / "imports" / found["import_id"]).exists()
        named = await bring(client, sheet, "x.csv", preview="true", new=f"Meine Käufe {tag}")
        assert named["shop"] == f"main.meine-kaufe-{tag}"
        live = await bring(client, sheet, "x.csv", preview="true", shop="main")
        assert live["shop"] == "main"
        for content in (b"", b"PK\x03\x04nothing", b"\x1f\x8bnothing"):
            answer = await client.post("/v1/imports", content=content)
            assert answer.status_code in (201, 422), answer.text
            if answer.status_code == 201:
                failed = await ended(client, answer.json()["import_id"])
                assert failed["state"] == "failed"
                assert failed["detail"]
        form = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = await client.post("/v1/imports", content=b"no form", headers=form)
        assert answer.status_code in (400, 422)
        assert (await client.get("/v1/imports/nobody")).status_code == 404
