"""What stands at the edges of imports: forms as they come in, what is known, what goes out."""

import asyncio
import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from app.api.access import within
from app.api.imports import _as_csv
from app.api.problems import Problem
from app.api.uploads import Upload
from app.exports.cells import harmless
from app.imports.known import Standing, standing
from app.imports.orders import events_of
from app.imports.reading import Kind, Sold
from app.imports.store import shop_named
from projections.orders import Order, evolve
from streams import codec
from streams.codec import Fact

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def request_of(blocks: Iterable[bytes], content_type: str) -> Request:
    waiting = [*blocks]

    async def receive() -> Message:
        body = waiting.pop(0) if waiting else b""
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    headers = [(b"content-type", content_type.encode())]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


def taken(folder: Path, blocks: Iterable[bytes], content_type: str, most: int = 10_000) -> Upload:
    upload = Upload(folder, most)
    asyncio.run(upload.take(request_of(blocks, content_type), "body.csv"))
    return upload


FORM = (
    b'--x\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="../a/sales.csv"\r\n'
    b"Content-Type: text/csv\r\n\r\na,b\r\n1,2\r\n\r\n--x\r\n"
    b'Content-Disposition: form-data; name="file"; filename="b.xlsx"\r\n\r\nPK\r\n--x--\r\n'
)


@QUICK
@given(cuts=st.lists(st.integers(0, len(FORM)), max_size=12).map(sorted))
def test_a_form_is_the_same_however_it_is_cut(
    cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("form")
    blocks = [FORM[a:b] for a, b in zip([0, *cuts], [*cuts, len(FORM)], strict=True)]
    upload = taken(folder, [one for one in blocks if one], "multipart/form-data; boundary=x")
    assert [(one["name"], one["bytes"]) for one in upload.files] == [
        ("sales.csv", 10),
        ("b.xlsx", 2),
    ]
    assert upload.fields == {"note": "hello"}
    contents = [(folder / one["stored"]).read_bytes() for one in upload.files]
    assert contents == [b"a,b\r\n1,2\r\n", b"PK"]


def test_what_is_too_large_or_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem) as large:
        taken(tmp_path, [b"a" * 600, b"b" * 600], "text/csv", most=1_000)
    assert large.value.status == 413
    with pytest.raises(Problem) as nothing:
        taken(tmp_path, [], "text/csv")
    assert nothing.value.status == 422
    with pytest.raises(Problem) as no_form:
        taken(tmp_path, [b"--y\r\nno form"], "multipart/form-data; boundary=x")
    assert no_form.value.status == 400


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@cmd", "\t=1", " =HYPERLINK(1)", "\r=1"])
def test_no_spreadsheet_computes_what_is_rejected(text: str) -> None:
    assert harmless(text).startswith("'")
    (row,) = csv.reader(io.StringIO(_as_csv([("1", harmless(text))]).decode(), newline=""))
    assert row == ["1", f"'{text}"]
    assert [harmless(text) for text in ("", "12.50 mugs")] == ["", "12.50 mugs"]


def row(order: str, quantity: int = 1, kind: Kind = Kind.SALE) -> Sold:
    return Sold(
        2, kind, order, "" if order else "content", 1_700_000_000_000_000, "mug", "Mug", "", "", "",
        quantity, 99_000, 0, 0, 0, 0, "EUR", "DE", "", "", 0, 0,
    )  # fmt: skip


def applied(rows: list[Sold]) -> Order:
    order = Order()
    for offset, entry in enumerate(events_of(rows, "main", NOW).entries):
        data = codec.decode_fields(entry.event.type, entry.event.data)
        order = evolve(order, Fact("orders", 0, offset, entry.event, data))
    return order


def standings(rows: list[Sold], order: Order | None) -> list[Standing]:
    return [standing(entry.event, order) for entry in events_of(rows, "main", NOW).entries]


def test_the_same_rows_are_known_and_others_of_a_known_order_differ() -> None:
    sold, back = row("o1"), row("o1", kind=Kind.REFUND)
    assert standings([sold, back], None) == [Standing.NEW, Standing.NEW]
    assert standings([sold, back], applied([sold, back])) == [Standing.KNOWN, Standing.KNOWN]
    assert standings([sold, back], applied([sold])) == [Standing.KNOWN, Standing.NEW]
    assert standings([row("o1", 3)], applied([sold])) == [Standing.DIFFERS]
    more = row("o1", 2, Kind.REFUND)
    assert standings([more], applied([sold, back])) == [Standing.DIFFERS]


def test_rows_without_an_order_are_told_apart_by_how_often_they_come() -> None:
    once, twice = (events_of([row("")] * times, "main", NOW).entries for times in (1, 2))
    assert once[0].event.subject in {entry.event.subject for entry in twice}
    assert len({entry.event.id for entry in twice}) == 2


def test_an_imports_own_shop_is_of_the_shop_that_made_it() -> None:
    shop = shop_named("main", "Vendas São João 2024.CSV.gz")
    assert shop == "main.vendas-sao-joao-2024"
    assert within(shop, "main", of_imports=True)
    assert not within(shop, "main", of_imports=False)
    assert not within(shop, "mai", of_imports=True)
    assert not within("other.vendas", "main", of_imports=True)
    assert not within("main", shop, of_imports=True)
    with pytest.raises(ValueError, match="too long"):
        shop_named("m" * 100, "sales.csv")
