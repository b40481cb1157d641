"""Workbooks by xlsxwriter, row by row: what is written goes to a file at once.

Numbers are doubles, as Excel knows no others: what has more than 15 digits is written as text.
Days and times are real ones, in the shop's zone. Text is text, whatever it begins with.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import xlsxwriter

from app.exports.cells import Value, in_zone, is_exact, value
from app.exports.charts import Chart
from app.exports.task import Said
from app.reports.report import Column, Kind

MOST_ROWS = 1_048_576  # in a sheet, as Excel has it
_MOST_LETTERS = 32_767  # in a cell
_FIRST_YEAR = 1900

_SHOWN: Mapping[Kind, str] = {
    "money": "#,##0.00##",
    "count": "#,##0",
    "share": "0.00%",
    "number": "General",
    "day": "yyyy-mm-dd",
    "month": "yyyy-mm",
    "time": "yyyy-mm-dd hh:mm:ss",
}
_WIDTHS: Mapping[Kind, int] = {"text": 24, "time": 20, "money": 15}
_OPTIONS = {
    "constant_memory": True,
    "strings_to_numbers": False,
    "strings_to_formulas": False,
    "strings_to_urls": False,
}


class Book:
    """A workbook that is being written. Its first sheet is the summary, and is written last."""

    def __init__(self, path: Path, zone: ZoneInfo) -> None:
        self._book = xlsxwriter.Workbook(str(path), {**_OPTIONS, "tmpdir": str(path.parent)})
        self._zone = zone
        self._bold = self._book.add_format({"bold": True})
        self._title = self._book.add_format({"bold": True, "font_size": 16})
        self._shown = {
            kind: self._book.add_format({"num_format": shown}) for kind, shown in _SHOWN.items()
        }
        self._summary = self._book.add_worksheet("Summary")

    def close(self) -> None:
        """Writes what is left."""
        self._book.close()

    def table(self, name: str, columns: Sequence[Column]) -> "Table":
        """A sheet of rows, and further ones where they are too many for it."""
        return Table(self, name, columns)

    def sheet(self, name: str, columns: Sequence[Column]) -> Any:
        """A sheet with a line of names that stays in sight."""
        found = self._book.add_worksheet(name)
        for number, column in enumerate(columns):
            told = f"{column.name} ({self._zone.key})" if column.kind == "time" else column.name
            found.set_column(number, number, max(_WIDTHS.get(column.kind, 12), len(told) + 3))
            found.write_string(0, number, told, self._bold)
        found.freeze_panes(1, 0)
        return found

    def cell(self, sheet: Any, row: int, column: int, what: Value, kind: Kind) -> None:
        """Writes a value; of what Excel has no cell for, the text."""
        shown = self._shown.get(kind)
        if isinstance(what, int | Decimal) and is_exact(what):
            sheet.write_number(row, column, float(what), shown)
        elif isinstance(what, datetime) and what.year > _FIRST_YEAR:
            sheet.write_datetime(row, column, in_zone(what, self._zone), shown)
        elif isinstance(what, date) and what.year > _FIRST_YEAR:
            sheet.write_datetime(row, column, what, shown)
        elif what is not None:
            text = f"{what:f}" if isinstance(what, Decimal) else str(what)
            sheet.write_string(row, column, text[:_MOST_LETTERS])

    def summary(self, said: Said, tables: Sequence["Summed"], charts: Sequence[Chart]) -> None:
        """Writes the first sheet: what this is, its totals, and charts, whose figures have a sheet
        of their own."""
        sheet = self._summary
        sheet.set_column(0, 0, 28)
        sheet.set_column(1, 9, 18)
        sheet.write_string(0, 0, said.title, self._title)
        row = 2
        for name, what in said.lines:
            sheet.write_string(row, 0, name, self._bold)
            sheet.write_string(row, 1, what[:_MOST_LETTERS])
            row += 1
        for table in tables:
            row = self._summed(row + 1, table)
        if charts:
            self._charts(row + 1, charts)

    def _summed(self, row: int, table: "Summed") -> int:
        self._summary.write_string(row, 0, table.title, self._bold)
        for number, column in enumerate(table.columns):
            self._summary.write_string(row + 1, number, column.name, self._bold)
        row += 2
        for told in table.rows:
            for number, column in enumerate(table.columns):
                found = value(told[column.name], column.kind)
                self.cell(self._summary, row, number, found, column.kind)
            row += 1
        return row

    def _charts(self, row: int, charts: Sequence[Chart]) -> None:
        name = "Chart figures"
        sheet = self._book.add_worksheet(name)
        sheet.set_column(0, 20, 18)
        at = 0
        for number, chart in enumerate(charts):
            drawn = self._book.add_chart({"type": _kind_of(chart)})
            sheet.write_string(at, 0, chart.title, self._bold)
            for column, line in enumerate(chart.lines, 1):
                sheet.write_string(at, column, line)
            first, last = at + 1, at + len(chart.labels)
            for offset, label in enumerate(chart.labels):
                sheet.write_string(first + offset, 0, label)
                for column, values in enumerate(chart.lines.values(), 1):
                    if (found := values[offset]) is not None:
                        sheet.write_number(first + offset, column, float(found))
            for column, _ in enumerate(chart.lines, 1):
                drawn.add_series(
                    {
                        "name": [name, at, column],
                        "categories": [name, first, 0, last, 0],
                        "values": [name, first, column, last, column],
                    }
                )
            _dress(drawn, chart)
            self._summary.insert_chart(
                row + number // 2 * 19, number % 2 * 5, drawn, {"object_position": 2}
            )
            at = last + 2


class Summed:
    """A small table of the summary."""

    def __init__(
        self, title: str, columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]
    ) -> None:
        self.title = title
        self.columns = columns
        self.rows = rows


class Table:
    """Rows that are written one after another, into as many sheets as they need."""

    def __init__(self, book: Book, name: str, columns: Sequence[Column]) -> None:
        self._book = book
        self._name = name
        self._columns = columns
        self._sheets = 0
        self._open()
        self.rows = 0

    def _open(self) -> None:
        self._sheets += 1
        name = self._name if self._sheets == 1 else f"{self._name} {self._sheets}"
        self._sheet = self._book.sheet(name, self._columns)
        self._row = 1

    def add(self, values: Iterable[Value]) -> None:
        """Writes one row."""
        if self._row == MOST_ROWS:
            self._filter()
            self._open()
        for number, (column, what) in enumerate(zip(self._columns, values, strict=True)):
            self._book.cell(self._sheet, self._row, number, what, column.kind)
        self._row += 1
        self.rows += 1

    def end(self) -> None:
        """Nothing follows."""
        self._filter()

    def _filter(self) -> None:
        self._sheet.autofilter(0, 0, self._row - 1, len(self._columns) - 1)


def _kind_of(chart: Chart) -> str:
    return "line" if chart.over_time else "bar"


def _dress(drawn: Any, chart: Chart) -> None:
    drawn.set_title({"name": chart.title, "name_font": {"size": 12}})
    drawn.set_size({"width": 620, "height": 360})
    if len(chart.lines) < 2:
        drawn.set_legend({"none": True})
    else:
        drawn.set_legend({"position": "bottom"})
    if not chart.over_time:
        drawn.set_y_axis({"reverse": True})  # the largest on top
