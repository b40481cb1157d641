"""What holds of every report, and of what they are asked, before any query."""

import pytest

from app.reports.asking import asked_of
from app.reports.table import REPORTS


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_found_by_its_name(name: str) -> None:
    folder, _, last = REPORTS[name].path.rpartition("/")
    if folder in ("/v1/reports", "/v1/metrics"):
        assert last == name


@pytest.mark.parametrize("name", REPORTS)
def test_only_amounts_and_counts_are_ever_added_up(name: str) -> None:
    report = REPORTS[name]
    asked = asked_of(report, {})
    added = [column for column in report.columns(asked) if column.name in report.sums]
    assert len(added) == len(report.sums)
    assert {column.kind for column in added} <= {"money", "count"}
    assert not {column.name for column in added} & {*report.key(asked)}


def test_what_is_converted_waits_for_the_rates_too() -> None:
    net, shop = REPORTS["net"], {"shop": ["main"]}
    assert net.others(asked_of(net, shop)) == ()
    assert net.others(asked_of(net, {**shop, "into": ["EUR"]})) == ("activity",)


@pytest.mark.parametrize("name", ["net", "customers", "funnel", "visitors"])
@pytest.mark.parametrize("by", [["country,country"], ["country", "country"]])
def test_a_dimension_that_is_told_twice_is_told_once(name: str, by: list[str]) -> None:
    report = REPORTS[name]
    asked = asked_of(report, {"by": by})
    columns = [column.name for column in report.columns(asked)]
    assert columns.count("country") == 1
    assert asked.model_dump()["by"] == ["country"]
