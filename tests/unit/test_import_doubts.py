"""What a table leaves in doubt is asked, or its row is rejected: nothing is turned into something
else without a word."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.imports.mapping import Correction
from app.imports.prepare import Prepared, prepare, rows_of
from app.imports.reading import Bad, Fault, Kind, Reader, Sold

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def prepared(path: Path, **said: Any) -> Prepared:
    return prepare([(path, path.name)], Correction(**said), {}, currency="EUR", timezone="UTC",
                   most_bytes=10_000_000, now=NOW)  # fmt: skip


def table(tmp_path: Path, header: str, *rows: str) -> Path:
    path = tmp_path / "sales.csv"
    path.write_text("\n".join((header, *rows, "")))
    return path


def read(path: Path, found: Prepared) -> tuple[list[Sold], list[Fault]]:
    reader = Reader(found.mapping, NOW, b"key")
    rows: list[Sold] = []
    faults: list[Fault] = []
    for record in rows_of([(path, path.name)], found.shapes):
        try:
            rows.append(reader.read(record))
        except Bad as bad:
            faults += bad.faults
    return rows, faults


def test_an_order_id_that_begins_with_c_gives_nothing_back(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "Order,Date,Product,Qty,Price",
        *(f"C{1001 + n},2024-01-{n % 28 + 1:02},mug,2,9.90" for n in range(30)),
        "C1001,2024-02-01,mug,-1,9.90",
    )
    rows, faults = read(path, prepared(path))
    assert faults == []
    assert [Kind(row.kind) for row in rows] == [*[Kind.SALE] * 30, Kind.REFUND]


def test_an_empty_quantity_is_not_one_unit(tmp_path: Path) -> None:
    lines = [f"o{n},2024-01-{n % 28 + 1:02},mug,2,9.90" for n in range(30)]
    lines[6] = "o6,2024-01-07,mug,,9.90"
    path = table(tmp_path, "Order,Date,Product,Quantity_Sold,Price", *lines)
    rows, faults = read(path, prepared(path))
    assert faults == [Fault(8, "Quantity_Sold", "", "empty")]
    assert {row.quantity for row in rows} == {2}


HEADER = "Order,Date,Product,Qty,Price"


def priced(*prices: str) -> list[str]:
    return [f'o{n},2024-01-{n % 28 + 1:02},mug,1,"{price}"' for n, price in enumerate(prices)]


def blocking(found: Prepared) -> list[str]:
    return [one.field for one in found.asked if one.blocking]


@pytest.mark.parametrize(
    "prices", [["€9.90", "$9.90"] * 14, [*["€9.90"] * 27, "$9.90"], ["$1.50", *["9.90"] * 27]]
)
def test_a_sign_of_several_currencies_among_others_is_asked(
    prices: list[str], tmp_path: Path
) -> None:
    path = table(tmp_path, HEADER, *priced(*prices))
    assert blocking(prepared(path)) == ["currency"]
    found = prepared(path, currency="USD")
    assert blocking(found) == []
    rows, faults = read(path, found)
    assert faults == []
    assert [row.currency for row in rows] == ["EUR" if "€" in one else "USD" for one in prices]


def test_a_sign_that_cannot_be_the_currency_told_rejects_its_row(tmp_path: Path) -> None:
    path = table(tmp_path, HEADER, *priced(*["€9.90"] * 27, "$9.90"))
    rows, faults = read(path, prepared(path, currency="EUR"))
    assert {row.currency for row in rows} == {"EUR"}
    ((line, _, _, reason),) = faults
    assert (line, reason.split(" is ")[0]) == (29, "$")


def test_signs_that_are_sure_are_each_rows_currency_also_far_down(tmp_path: Path) -> None:
    path = table(tmp_path, HEADER, *priced(*["€9.90"] * 6_000, "£8.00", "R$ 7.00", "BRL 6.00"))
    found = prepared(path)
    assert blocking(found) == []
    rows, faults = read(path, found)
    assert faults == []
    assert [row.currency for row in rows[-4:]] == ["EUR", "GBP", "BRL", "BRL"]


def test_an_amount_without_a_sign_among_several_is_asked(tmp_path: Path) -> None:
    path = table(tmp_path, HEADER, *priced(*["€9.90", "£8.00"] * 14, "7.00"))
    assert blocking(prepared(path)) == ["currency"]
    rows, _ = read(path, prepared(path, currency="GBP"))
    assert [row.currency for row in rows[-3:]] == ["EUR", "GBP", "GBP"]


def test_a_column_of_currencies_and_a_sign_that_differ_are_no_row(tmp_path: Path) -> None:
    lines = [f"{one},EUR" for one in priced(*["€9.90"] * 9, "£9.90")]
    path = table(tmp_path, f"{HEADER},Currency", *lines)
    rows, faults = read(path, prepared(path))
    assert len(rows) == 9
    assert [one.line for one in faults] == [11]


@pytest.mark.parametrize(
    ("product", "customer", "order"),
    [
        ("Artikelnr.", "Kundennr.", "Bestellnr."),
        ("Artikelnr", "Kundennr", "Rechnungsnr"),
        ("Art.-Nr.", "Kd.-Nr.", "Best.-Nr."),
        ("Artikel-Nr.", "Kunden-Nr.", "Auftrags-Nr."),
        ("SKU", "KundenNr", "Beleg-Nr."),
    ],
)
def test_headings_as_they_are_shortened(
    product: str, customer: str, order: str, tmp_path: Path
) -> None:
    lines = [f"B{n};2024-01-{n % 28 + 1:02};A-{n % 7};K{n % 9};2;9,90" for n in range(30)]
    path = table(tmp_path, f"{order};Datum;{product};{customer};Menge;Preis", *lines)
    found = prepared(path)
    assert blocking(found) == []
    told = {one.name: one.target for one in found.mapping.columns}
    assert [told[name] for name in (product, customer, order)] == ["product", "customer", "order"]
    rows, faults = read(path, found)
    assert faults == []
    assert {row.product for row in rows} == {f"A-{n}" for n in range(7)}
