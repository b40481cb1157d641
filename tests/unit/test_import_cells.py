"""Cells, by hand: what an amount or a time is in a format, and what it is not."""

from datetime import UTC, datetime, time

import pytest

from app.imports.cells import (
    Unread,
    amount,
    date_formats,
    decimal_marks,
    id_of,
    moment,
    moment_of,
    time_of_day,
    units_of,
)


@pytest.mark.parametrize(
    ("text", "mark", "units"),
    [
        ("1,234.56", ".", 12_345_600),
        ("1.234,56", ",", 12_345_600),
        ("1'234.56", ".", 12_345_600),
        ("1 234,56", ",", 12_345_600),
        ("1\u202f234,5 €", ",", 12_345_000),
        ("€ 12", ",", 120_000),
        ("R$ 1.234,50", ",", 12_345_000),
        ("USD 7.5", ".", 75_000),
        ("₹1,85,361", ".", 1_853_610_000),
        ("(12.50)", ".", -125_000),
        ("12,50-", ",", -125_000),
        ("−3", ".", -30_000),
        ("-£3.20", ".", -32_000),
        ("12,-", ",", 120_000),
        (".5", ".", 5_000),
        ("0.00005", ".", 0),
        ("0.00015", ".", 2),
        ("1.5E+2", ".", 1_500_000),
    ],
)
def test_an_amount_is_read_in_its_format(text: str, mark: str, units: int) -> None:
    assert amount(text, mark) == units


@pytest.mark.parametrize("text", ["", "-", "abc", "12 Mugs", "1,23,45", "12.3.4", "9" * 14, "١٢"])
def test_what_is_no_amount_is_said_to_be_none(text: str) -> None:
    with pytest.raises(Unread):
        amount(text, ".")


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("12", ".,"),
        ("1,234", ".,"),
        ("1.234", ".,"),
        ("1,234.5", "."),
        ("1.234.567", ","),
        ("0.125", "."),
        ("1234,567", ","),
        ("12,5", ","),
        ("2024-01-02", None),
        ("mug", None),
    ],
)
def test_a_mark_is_not_guessed_where_a_number_fits_both(text: str, marks: str | None) -> None:
    assert decimal_marks(text) == marks


@pytest.mark.parametrize(
    ("text", "form", "at"),
    [
        ("2010-12-01 08:26:00", "y-m-d", datetime(2010, 12, 1, 8, 26)),  # noqa: DTZ001
        ("2024/1/5", "y-m-d", datetime(2024, 1, 5)),  # noqa: DTZ001
        ("5.1.2024", "d/m/y", datetime(2024, 1, 5)),  # noqa: DTZ001
        ("1/5/24 2:05 PM", "m/d/y", datetime(2024, 1, 5, 14, 5)),  # noqa: DTZ001
        ("31/12/1999", "d/m/y", datetime(1999, 12, 31)),  # noqa: DTZ001
        ("5. März 2024", "named", datetime(2024, 3, 5)),  # noqa: DTZ001
        ("Mar 5, 2024 10:00", "named", datetime(2024, 3, 5, 10)),  # noqa: DTZ001
        ("5 de março de 2024", "named", datetime(2024, 3, 5)),  # noqa: DTZ001
        ("5 août 2024", "named", datetime(2024, 8, 5)),  # noqa: DTZ001
        ("20240131", "compact", datetime(2024, 1, 31)),  # noqa: DTZ001
        ("45292.5", "excel", datetime(2024, 1, 1, 12)),  # noqa: DTZ001
        ("1704067200", "unix", datetime(2024, 1, 1, tzinfo=UTC)),
        ("1704067200000", "unix-ms", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-01-01T10:00:00Z", "y-m-d", datetime(2024, 1, 1, 10, tzinfo=UTC)),
        ("2024-01-01 10:00:00.250 UTC", "y-m-d", datetime(2024, 1, 1, 10, 0, 0, 250_000, UTC)),
    ],
)
def test_a_time_is_read_in_its_format(text: str, form: str, at: datetime) -> None:
    assert moment(text, form) == at


@pytest.mark.parametrize(
    ("text", "form"),
    [("31/02/2024", "d/m/y"), ("13/13/2024", "m/d/y"), ("5 Foo 2024", "named"), ("1e9", "excel"),
     ("2024-01-02", "d/m/y"), ("x", "unix"), ("2024-01-01 25:00", "y-m-d")],
)  # fmt: skip
def test_what_is_no_time_is_said_to_be_none(text: str, form: str) -> None:
    with pytest.raises(Unread):
        moment(text, form)


def test_only_a_day_after_the_twelfth_tells_day_and_month_apart() -> None:
    assert date_formats("5/6/2024") == ("d/m/y", "m/d/y")
    assert date_formats("25/6/2024") == ("d/m/y",)
    assert date_formats("6/25/2024") == ("m/d/y",)
    assert date_formats("12.50") == ()


def test_what_a_spreadsheet_types_is_taken_as_it_is() -> None:
    assert units_of(12.1, ",") == 121_000
    assert units_of(3, ".") == 30_000
    assert moment_of(45292, "excel") == datetime(2024, 1, 1)  # noqa: DTZ001
    assert id_of(17850.0) == id_of("17850.0") == "17850"
    assert time_of_day(0.5) == time_of_day("12:00 PM") == time(12)
    with pytest.raises(Unread):
        units_of(True, ".")
