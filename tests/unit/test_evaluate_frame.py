"""Files of daily values, read: sums, gaps, words as inputs; and what is said of a bad one."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pytest

from loadtests.evaluate.frame import Columns, Frame, filled, read
from loadtests.evaluate.sheet import BadTable
from ml_online.accuracy import Array

NAN = np.nan


def table(folder: Path, text: str, name: str = "t.csv") -> Path:
    file = folder / name
    file.write_text("".join(f"{line.strip()}\n" for line in text.strip().splitlines()))
    return file


def same(found: Array, expected: Sequence[Sequence[float]]) -> bool:
    return np.array_equal(found, np.array(expected, dtype=np.float64), equal_nan=True)


SHOPS = """
    day,shop,sold,promo
    2024-03-01,b,1,1
    2024-03-02,a,2,0
    2024-03-02,a,3,1
    2024-03-05,a,4,0
    2024-03-04,b,5.5,1
"""
WHOLE = Columns("day", "sold", "shop", ["promo"])
PLAIN = Columns("day", "sold")


@pytest.fixture
def shops(tmp_path: Path) -> Path:
    return table(tmp_path, SHOPS)


def test_days_are_summed_and_those_without_a_row_are_zeros(shops: Path) -> None:
    frame = read(shops, WHOLE)
    assert frame.keys == ["a", "b"]
    assert [frame.day(0).isoformat(), frame.day(4).isoformat()] == ["2024-03-01", "2024-03-05"]
    assert same(frame.values, [[NAN, 5, 0, 0, 4], [1, 0, 0, 5.5, NAN]])


def test_or_they_are_not_known(shops: Path) -> None:
    frame = read(shops, WHOLE, missing="gap")
    assert same(frame.values, [[NAN, 5, NAN, NAN, 4], [1, NAN, NAN, 5.5, NAN]])


def test_an_input_is_the_mean_of_its_rows_and_what_others_agree_on(shops: Path) -> None:
    frame = read(shops, WHOLE)
    assert frame.inputs == ["promo"]
    # Of the days that a series does not tell, the other one does; the third day nobody does: a
    # price would be the last one, as is half a promotion.
    assert same(frame.known[..., 0], [[1, 0.5, 0.5, 1, 0], [1, 0.5, 0.5, 1, 0]])


def test_a_switch_that_nobody_tells_is_off(tmp_path: Path) -> None:
    file = table(tmp_path, "day,sold,promo\n2024-03-01,1,1\n2024-03-03,1,1")
    frame = read(file, Columns("day", "sold", None, ["promo"]))
    assert same(frame.known[..., 0], [[1, 0, 1]])


def test_a_price_goes_on_until_another_is_told() -> None:
    told = np.array([[NAN, 3, NAN, NAN, 4], [1, NAN, NAN, 2, NAN], [NAN, NAN, 5, 3, NAN]])
    expected = [[1, 3, 5, 5, 4], [1, 3, 5, 2, 4], [1, 3, 5, 3, 4]]
    assert same(filled(told, carried=True), expected)
    alone = np.array([[NAN, 3, NAN, 4, NAN]])
    assert same(filled(alone, carried=True), [[3, 3, 3, 4, 4]])
    assert same(filled(alone, carried=False), [[0, 3, 0, 4, 0]])


def test_an_empty_value_is_not_known_whatever_a_missing_row_is(tmp_path: Path) -> None:
    file = table(tmp_path, "day,sold\n2024-03-01,1\n2024-03-02,\n2024-03-04,NA\n2024-03-05,2")
    frame = read(file, Columns("day", "sold"))
    assert same(frame.values, [[1, NAN, 0, NAN, 2]])


def test_words_become_an_input_each_and_two_of_them_one(tmp_path: Path) -> None:
    file = table(
        tmp_path,
        """
        day,sold,holiday,open
        2024-03-01,1,0,yes
        2024-03-02,1,a,no
        2024-03-03,1,b,yes
        2024-03-04,1,,yes
        """,
    )
    frame = read(file, Columns("day", "sold", None, ["holiday", "open"]))
    assert frame.inputs == ["holiday=0", "holiday=a", "holiday=b", "open=yes"]
    assert same(frame.known[0].T, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 1, 1]])


def test_dates_and_decimals_are_read_as_they_are_written(tmp_path: Path) -> None:
    file = table(tmp_path, "Datum;Umsatz\n30.12.2023;1.234,5\n31.12.2023;10,25\n01.01.2024;7")
    frame = read(file, Columns("Datum", "Umsatz"))
    assert frame.day(0).isoformat() == "2023-12-30"
    assert same(frame.values, [[1234.5, 10.25, 7]])


def test_dates_without_marks_are_read_too(tmp_path: Path) -> None:
    file = table(tmp_path, "day,sold\n20240301,1\n20240302,2")
    assert read(file, Columns("day", "sold")).day(0).isoformat() == "2024-03-01"


def same_frame(one: Frame, other: Frame) -> bool:
    return (
        one.keys == other.keys
        and (one.first, one.inputs) == (other.first, other.inputs)
        and np.array_equal(one.values, other.values, equal_nan=True)
        and np.array_equal(one.known, other.known)
    )


def test_gzip_and_parquet_say_the_same(shops: Path, tmp_path: Path) -> None:
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(shops.read_bytes()))
    typed, text = tmp_path / "t.parquet", tmp_path / "text.parquet"
    with duckdb.connect(":memory:") as database:
        database.execute(f"COPY (FROM read_csv('{shops}')) TO '{typed}'")
        database.execute(f"COPY (FROM read_csv('{shops}', all_varchar=true)) TO '{text}'")
        database.execute(f"CREATE TABLE t AS SELECT * REPLACE (promo = 1 AS promo, day::TIMESTAMPTZ"
                         f" AS day) FROM read_csv('{shops}')")  # fmt: skip
        switched = tmp_path / "switched.parquet"
        database.execute(f"COPY t TO '{switched}'")
    first = read(shops, WHOLE)
    for file in (packed, typed, text, switched):
        assert same_frame(read(file, WHOLE), first), file.name


def known(*columns: str) -> Columns:
    return PLAIN._replace(known=columns)


@pytest.mark.parametrize(
    ("rows", "columns", "says"),
    [
        ("2024-03-01,1,", Columns("date", "sold"), "no column 'date': it has 'day', 'sold', 'why'"),
        ("2024-03-01,1,", Columns("day", "sold", "sold"), "'sold' cannot be two of"),
        ("2024-03-01,1,", known("sold"), "what is to be foretold"),
        ("2024-03-01,1,", known("day"), "'day': the column is named twice"),
        ("2024-03-01,1,", known("why"), "'why' is empty in every row"),
        ("2024-03-01,much,", PLAIN, "'sold' is not of numbers, such as 'much'"),
        ("2024-03-01,1,\n2024-03-02,x,", PLAIN, "'sold' has 'x' in 1 rows: no number"),
        ('2024-03-01,"1,234",', PLAIN, "such as '1,234': say which with --decimal"),
        ("2024-03-01,,\n2024-03-02,,", PLAIN, "no value at all"),
        ("yesterday,1,", PLAIN, "'day' is not of dates, such as 'yesterday'"),
        ("2024-02-30,1,", PLAIN, "'day' is not of dates, such as '2024-02-30'"),
        ("2024-03-01,1,\n,2,", PLAIN, "'day' is empty in 1 rows"),
        ("1/2/2024,1,\n2/3/2024,2,", PLAIN, "say which with --date-format"),
        ("1924-03-01,1,\n2024-03-02,1,", PLAIN, "Is one of the dates wrong?"),
    ],
)
def test_a_bad_file_is_refused_by_column_and_reason(
    tmp_path: Path, rows: str, columns: Columns, says: str
) -> None:
    with pytest.raises(BadTable) as refused:
        read(table(tmp_path, f"day,sold,why\n{rows}"), columns)
    assert says in str(refused.value)


def test_columns_may_be_called_as_anything(tmp_path: Path) -> None:
    file = table(tmp_path, 'series,"the ""day""",amount,row\na,2024-03-01,1,2\na,2024-03-02,3,4')
    frame = read(file, Columns('the "day"', "amount", "series", ["row"]))
    assert same(frame.values, [[1, 3]])
    assert same(frame.known[..., 0], [[2, 4]])


def test_what_is_not_plain_can_be_said(tmp_path: Path) -> None:
    file = table(tmp_path, 'day,sold\n1/2/2024,"1,234"\n2/2/2024,2')
    frame = read(file, Columns("day", "sold"), date_format="d/m/y", decimal=",")
    assert frame.day(0).isoformat() == "2024-02-01"
    assert same(frame.values, [[1.234, 2]])


def test_what_is_said_is_one_of_what_can_be(tmp_path: Path) -> None:
    file = table(tmp_path, "day,sold\n01.02.2024,1")
    with pytest.raises(BadTable, match="--date-format 'dd.mm.yyyy': it is one of y-m-d, d/m/y"):
        read(file, PLAIN, date_format="dd.mm.yyyy")
    with pytest.raises(BadTable, match="--decimal ';': it is . or ,"):
        read(file, PLAIN, date_format="d/m/y", decimal=";")


def test_letters_of_eight_bits_and_of_sixteen_are_read(tmp_path: Path) -> None:
    for encoding in ("cp1252", "utf-16", "utf-8-sig"):
        file = tmp_path / f"{encoding}.csv"
        file.write_bytes(
            "Tag;Größe;Straße\n1.3.2024;1,5;Äußere\n31.3.2024;2;Äußere".encode(encoding)
        )
        frame = read(file, Columns("Tag", "Größe", "Straße"))
        assert frame.keys == ["Äußere"], encoding
        assert frame.values[0, 0] == 1.5


def test_more_words_than_inputs_are_refused(tmp_path: Path) -> None:
    rows = "\n".join(f"2024-03-{day:02},1,because {day}" for day in range(1, 31))
    file = table(tmp_path, f"day,sold,why\n{rows}")
    with pytest.raises(BadTable, match="30 different values, such as 'because 1': at most 20"):
        read(file, Columns("day", "sold", None, ["why"]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"day,sold\n", "no row below its header"),
        (b"%PDF-1.4 of sales", "it is a PDF"),
        (b"PAR1 and nothing else", "cannot be read"),
        (b"\x1f\x8bbroken", "cannot be read"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(content)
    with pytest.raises(BadTable) as refused:
        read(file, Columns("day", "sold"))
    assert says in str(refused.value)
