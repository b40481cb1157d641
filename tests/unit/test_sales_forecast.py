"""Sales forecasts: predicted, scored, then learned; the scores recounted from the answers alone."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.forecasts import net_by_day
from ml_online.sales_forecast import SalesForecaster, SeriesKey
from ml_online.scores import HORIZON, MODELS, summed
from ml_online.series import FIRST_FORECAST
from streams import codec
from streams.events import DayClosed, Event
from tests.learning import MONDAY, Values, day_event, facts, weekly

TOTAL = SeriesKey("total", "", "EUR")


def learned(events: Iterable[Event]) -> SalesForecaster:
    forecaster = SalesForecaster()
    for fact in facts(events):
        forecaster.learn(fact)
    return forecaster


def closed(days: Sequence[Values], shop: str = "main") -> list[Event]:
    return [day_event(number, values, shop=shop) for number, values in enumerate(days)]


def saved(forecaster: SalesForecaster) -> bytes:
    return msgspec.json.encode(list(forecaster.state()))


def again(forecaster: SalesForecaster) -> SalesForecaster:
    """What comes of killing it and going on from what it saved."""
    found = SalesForecaster()
    found.restore(msgspec.json.decode(saved(forecaster)))
    return found


def recounted(answers: dict[int, list[tuple[int, int]]], actual: Sequence[int]) -> dict[str, float]:
    """MAE and MASE from what was answered after each close, as a textbook has them."""
    errors: dict[str, list[float]] = {name: [] for name in ("model", "seasonal_naive")}
    scaled: dict[str, list[float]] = {name: [] for name in errors}
    for origin, forecasts in answers.items():
        known = actual[: origin + 1]
        in_sample = [abs(a - b) for a, b in zip(known[7:], known, strict=False)]
        scale = sum(in_sample) / len(in_sample) if in_sample else 0
        for horizon, values in enumerate(forecasts, 1):
            if origin + horizon >= len(actual):
                break
            for name, value in zip(errors, values, strict=True):
                error = abs(actual[origin + horizon] - value)
                errors[name].append(error)
                if scale:
                    scaled[name].append(error / scale)
    return {
        f"{name} {measure}": sum(found) / len(found)
        for measure, of in (("mae", errors), ("mase", scaled))
        for name, found in of.items()
    }


def answered(forecaster: SalesForecaster, key: SeriesKey) -> list[tuple[int, int]]:
    return [(one.value, one.naive) for one in forecaster.forecasts("main", key)]


def test_scores_are_those_of_what_was_answered_before_each_day() -> None:
    days = weekly(80)
    forecaster, answers = SalesForecaster(), {}
    for number, fact in enumerate(facts(closed(days))):
        forecaster.learn(fact)
        if found := answered(forecaster, TOTAL):
            answers[number] = found
    assert min(answers) == FIRST_FORECAST - 1
    count, scores = summed(forecaster.series("main")[TOTAL].tallies)
    expected = recounted(answers, [day[""] * 10_000 for day in days])
    assert count == sum(min(HORIZON, len(days) - 1 - origin) for origin in answers)
    for name in MODELS:
        assert scores[name].mae == pytest.approx(expected[f"{name} mae"], rel=1e-9)
        assert scores[name].mase == pytest.approx(expected[f"{name} mase"], rel=1e-5)


def test_the_naive_is_the_same_weekday_of_the_last_week() -> None:
    days = weekly(30)
    found = learned(closed(days)).forecasts("main", TOTAL)
    assert [one.day for one in found] == [MONDAY + timedelta(days=30 + n) for n in range(28)]
    assert [one.naive for one in found] == [days[23 + n % 7][""] * 10_000 for n in range(28)]


def test_a_correction_mends_history_and_the_scores_of_its_day() -> None:
    days = weekly(60)
    wrong = [dict(day) for day in days]
    for number in (41, 59):
        wrong[number][""] += 5_000
    forecaster, answers = SalesForecaster(), {}
    mended = [day_event(n, {"": days[n][""]}, corrected=True) for n in (41, 59)]
    for number, fact in enumerate(facts([*closed(wrong), *mended])):
        forecaster.learn(fact)
        if number < 60 and (found := answered(forecaster, TOTAL)):
            answers[number] = found
    series = forecaster.series("main")[TOTAL]
    assert series.values == [day[""] * 10_000 for day in days]
    _, scores = summed(series.tallies)
    expected = recounted(answers, series.values)
    assert scores["model"].mae == pytest.approx(expected["model mae"], rel=1e-9)
    fresh = learned(closed(days)).series("main")[TOTAL]
    assert (series.naive_sum, series.naive_count) == (fresh.naive_sum, fresh.naive_count)


def test_a_correction_may_bring_a_series_that_nobody_knew() -> None:
    late = day_event(5, {"new": 70}, corrected=True)
    early = day_event(2, {"new": 30}, corrected=True)
    series = learned([*closed(weekly(10)), late, early]).series("main")
    found = series[SeriesKey("category", "new", "EUR")]
    assert [value // 10_000 for value in found.values] == [30, 0, 0, 70, 0, 0, 0, 0]
    assert found.naive_count == 1


@pytest.mark.parametrize("currency", ["EUR", "GBP"])
def test_days_without_a_sale_before_the_first_begin_no_series(currency: str) -> None:
    """As they come, oldest first, where a history of another decade is read into a living shop."""
    living = [day_event(500 + n, values) for n, values in enumerate(weekly(20))]
    silence = {"": 0, "c0": 0, "c9": 0}
    zeros = [day_event(n, silence, currency=currency) for n in range(500)]
    found = learned([*living, *zeros])
    assert found.series("main") == learned(living).series("main")
    again_sold = [*living, day_event(519, {"": 0, "c9": 70}, currency=currency, corrected=True)]
    assert SeriesKey("category", "c9", currency) in learned(again_sold).series("main")


def test_a_day_that_is_closed_again_counts_once() -> None:
    events = closed(weekly(40))
    repeated = [*events, *(msgspec.structs.replace(one, id=f"again-{one.id}") for one in events)]
    assert saved(learned(repeated)) == saved(learned(events))


def test_days_that_nobody_closed_had_no_sales() -> None:
    days = weekly(40)
    for number in (20, 21):
        days[number] = dict.fromkeys(days[number], 0)
    left_out = [event for n, event in enumerate(closed(days)) if n not in (20, 21)]
    assert saved(learned(left_out)) == saved(learned(closed(days)))


def test_what_is_no_date_and_what_is_far_away_does_no_harm() -> None:
    events = closed(weekly(20))
    no_date = msgspec.structs.replace(
        events[0], data=msgspec.Raw(bytes(events[0].data).replace(b"2020-03-02", b"2020-02-30"))
    )
    assert saved(learned([*events, no_date])) == saved(learned(events))
    later = learned([*events, day_event(20_000, {"": 7})])
    assert later.trained_through("main") == MONDAY + timedelta(days=20_000)
    assert [one.values for one in later.series("main").values()] == [[70_000]]


def with_dollars(event: Event) -> Event:
    """The same close, with every figure in another currency, too."""
    data = codec.decode_fields(event.type, event.data)
    assert isinstance(data, DayClosed)
    dollars = [msgspec.structs.replace(figure, currency="USD") for figure in data.figures]
    more = msgspec.structs.replace(data, figures=[*data.figures, *dollars])
    return msgspec.structs.replace(event, data=codec.raw(more))


def test_currencies_and_shops_are_series_of_their_own() -> None:
    days = weekly(20)
    events = closed(days)
    other = closed(weekly(20, seed=9), shop="other")
    forecaster = learned([*events, *other])
    assert {key.currency for key in forecaster.series("other")} == {"EUR"}
    assert forecaster.forecasts("main", TOTAL) == learned(events).forecasts("main", TOTAL)
    both = [with_dollars(event) for event in events]
    found = learned(both)
    assert found.forecasts("main", TOTAL)
    assert found.forecasts("main", TOTAL._replace(currency="USD"))


def test_asking_changes_nothing() -> None:
    forecaster = learned(closed(weekly(40)))
    before = saved(forecaster)
    for key in forecaster.series("main"):
        forecaster.forecasts("main", key)
    assert saved(forecaster) == before
    with pytest.raises(KeyError):
        forecaster.forecasts("main", TOTAL._replace(key="none"))
    assert saved(forecaster) == before


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(st.integers(-(10**12), 10**12), min_size=9, max_size=60),
    corrections=st.lists(st.tuples(st.integers(0, 60), st.integers(-(10**12), 10**12)), max_size=4),
)
def test_forecasts_are_never_negative_whatever_was_sold(
    values: list[int], corrections: list[tuple[int, int]]
) -> None:
    events = closed([{"": value} for value in values])
    events += [
        day_event(at, {"": value}, corrected=True, event_id=f"c{n}")
        for n, (at, value) in enumerate(corrections)
    ]
    forecaster = learned(events)
    known = TOTAL in forecaster.series("main")
    assert known or not any(values)
    for one in forecaster.forecasts("main", TOTAL) if known else ():
        assert one.value >= 0
        assert one.naive >= 0


@settings(max_examples=15, deadline=None)
@given(kills=st.sets(st.integers(0, 70)), seed=st.integers(0, 1000))
def test_killed_anywhere_and_going_on_gives_the_same_bits(kills: set[int], seed: int) -> None:
    events = closed(weekly(70, seed=seed, categories=2))
    events.insert(50, day_event(30, {"": 12, "c0": 9}, corrected=True))
    forecaster = SalesForecaster()
    for number, fact in enumerate(facts(events)):
        if number in kills:
            forecaster = again(forecaster)
        forecaster.learn(fact)
    assert saved(forecaster) == saved(learned(events))


def test_it_beats_the_seasonal_naive_on_weekly_series() -> None:
    found = learned(closed(weekly(200, seed=3, categories=8))).series("main").values()
    for series in found:
        _, scores = summed(series.tallies)
        assert scores["model"].mase is not None
        assert scores["seasonal_naive"].mase is not None
        assert scores["model"].mase < 0.9 * scores["seasonal_naive"].mase


def test_it_beats_the_seasonal_naive_on_a_real_shop(data: Path) -> None:
    """The settings were chosen on the days before June; these are the days from then on."""
    nets = net_by_day(data / "online_retail_2010-12_2011-09.csv.gz")
    days = [{"": net // 10_000} for net in nets.values()]
    june = (date(2011, 6, 1) - min(nets)).days
    forecaster, answers = SalesForecaster(), {}
    for number, fact in enumerate(facts(closed(days))):
        forecaster.learn(fact)
        if number >= june:
            answers[number] = answered(forecaster, TOTAL)
    found = recounted(answers, [day[""] * 10_000 for day in days])
    assert found["model mase"] < 0.8 * found["seasonal_naive mase"]
    assert found["model mae"] < 0.8 * found["seasonal_naive mae"]
