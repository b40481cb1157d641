"""What is decided about currency rates: what is said of days, and what of it is news."""

from collections.abc import Sequence
from datetime import date, timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from app.domain import currency_rate
from app.domain.aggregate import Told
from app.domain.currency_rate import (
    CURRENCY_RATE_YEARS,
    CurrencyRateYear,
    Pair,
    SaidRate,
    Year,
    by_year,
    say,
)
from app.domain.refusal import Invalid
from streams.events import CurrencyRate, CurrencyRatesChanged
from tests.deciding import NOW, given

USD_EUR = Pair("USD", "EUR")
MARCH = date(2026, 3, 1)
YEAR = Year(USD_EUR, 2026)


def said(day: int, rate: str | None, pair: Pair = USD_EUR) -> SaidRate:
    return SaidRate(pair, MARCH + timedelta(days=day), rate)


def told(*rates: tuple[str, str | None]) -> CurrencyRatesChanged:
    return CurrencyRatesChanged(
        currency="USD", into="EUR", rates=[CurrencyRate(day=day, rate=rate) for day, rate in rates]
    )


def test_rates_are_told_in_order_of_days() -> None:
    expected = told(("2026-03-01", "0.92"), ("2026-03-02", "0.925"))
    given(CURRENCY_RATE_YEARS).when(say, YEAR, [said(1, "0.925"), said(0, "0.92")]).then(expected)


def test_what_was_said_before_is_no_news_however_it_is_written() -> None:
    known = given(CURRENCY_RATE_YEARS, told(("2026-03-01", "0.92")))
    known.when(say, YEAR, [said(0, "0.920")]).then()
    known.when(say, YEAR, [said(0, "0.9")]).then(told(("2026-03-01", "0.9")))
    known.when(say, YEAR, [said(7, None)]).then()


def test_a_withdrawn_rate_is_none() -> None:
    known = given(CURRENCY_RATE_YEARS, told(("2026-03-01", "0.92"), ("2026-03-09", "9.2")))
    known.when(say, YEAR, [said(8, None)]).then(told(("2026-03-09", None)))
    after = given(CURRENCY_RATE_YEARS, told(("2026-03-01", "0.92")), told(("2026-03-01", None)))
    assert after.state == CurrencyRateYear("USD", "EUR", {})


@pytest.mark.parametrize(
    ("rates", "field"),
    [
        ([said(0, "1", Pair("EUR", "EUR"))], "rates.0.into"),
        ([said(0, "1"), said(1, "0.000")], "rates.1.rate"),
        ([said(0, "1"), said(0, "2")], "rates"),
        ([SaidRate(USD_EUR, date(1969, 12, 31), "1")], "rates.0.day"),
    ],
)
def test_rates_that_can_be_none_are_refused(rates: Sequence[SaidRate], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        by_year(rates)
    assert refused.value.field == field


DAYS = st.integers(-70, 400)
RATES = st.sampled_from([None, "1", "1.0", "0.5", "0.92", "0.920", "123.000001"])


@for_all(st.lists(st.dictionaries(DAYS, RATES, min_size=1, max_size=8), max_size=8))
def test_years_together_hold_what_was_said_last_and_their_events_say_it_again(
    commands: list[dict[int, str | None]],
) -> None:
    states: dict[Year, CurrencyRateYear] = {}
    expected: dict[str, str] = {}
    for command in commands:
        for year, rates in by_year(said(*one) for one in command.items()).items():
            for event in say(states.get(year), year, rates):
                assert CURRENCY_RATE_YEARS.about[type(event)](event) == year.id
                states[year] = currency_rate.evolve(states.get(year), Told(NOW, event))
            assert say(states.get(year), year, rates) == [], "said twice, it is no news"
        for day, rate in command.items():
            key = (MARCH + timedelta(days=day)).isoformat()
            expected.pop(key, None)
            if rate is not None:
                expected[key] = rate
    found = {day: rate for state in states.values() for day, rate in state.rates.items()}
    assert found.keys() == expected.keys()
    assert all(float(found[day]) == float(rate) for day, rate in expected.items())
