"""Which sums answer for a range: every day of it once, and no other."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from projections.measured import GRAINS, Ask, Grain
from projections.sales import _spans

_DAYS = st.dates(date(2024, 1, 1), date(2025, 12, 31))


@given(_DAYS, _DAYS, st.sampled_from([grain for grain in GRAINS if grain != "hour"]))
def test_spans_are_the_days_that_are_asked_in_whole_months_where_that_can_be(
    one: date, other: date, grain: Grain
) -> None:
    first, last = min(one, other), max(one, other)
    spans = _spans(Ask("main", first, last, grain))
    days = [
        begins + timedelta(days=number)
        for _, begins, ends in spans
        for number in range((ends - begins).days)
    ]
    assert days == [first + timedelta(days=number) for number in range((last - first).days + 1)]
    for kept, begins, ends in spans:
        if kept == "month":
            assert (begins.day, ends.day) == (1, 1)
        elif grain in ("total", "month", "quarter", "year"):
            assert (ends - begins).days < 62  # what is left at the edges


def test_without_an_end_there_are_no_edges() -> None:
    assert _spans(Ask("main", grain="year")) == [("month", date.min, date.max)]
