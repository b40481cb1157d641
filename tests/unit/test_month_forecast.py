"""A shop's months as a learner hears of them, and the month that runs."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import date
from random import Random

import msgspec
import numpy as np
import pytest
from fastapi.routing import APIRoute
from hypothesis import given
from hypothesis import strategies as st

from app.api.problems import Problem
from app.learner.forecasts import Wanted
from app.learner.month_answers import month_answers
from ml_online.models import Heard, Models
from ml_online.month_forecast import MONTHLY_FORECAST, MonthKind, MonthLearner
from ml_online.monthly import HORIZON, forecast_months, ordinal
from ml_online.nowcast import Rest, expected_rest, nowcast
from streams.events import Event
from tests.learning import MONDAY, day_event, facts
from tests.months import month_event

NET, UNITS = MonthKind("net", "EUR"), MonthKind("units", "EUR")


def learned(events: Iterable[Event]) -> MonthLearner:
    learner = MonthLearner()
    for fact in facts(events):
        learner.learn(fact)
    return learner


def saved(learner: MonthLearner) -> bytes:
    return msgspec.json.encode(list(learner.state()))


def year_and_month(number: int) -> tuple[int, int]:
    return 2020 + number // 12, number % 12 + 1


def values(months: int, seed: int = 3) -> list[dict[str, int]]:
    random = Random(seed)
    of = [{key: random.randint(200, 400) for key in ("mugs", "tea")} for _ in range(months)]
    return [{"": sum(found.values()), **found} for found in of]


def closed(found: list[dict[str, int]]) -> list[Event]:
    return [month_event(*year_and_month(n), of_month) for n, of_month in enumerate(found)]


def test_months_are_learned_by_level_measure_and_currency() -> None:
    found = values(30)
    pounds = month_event(2022, 6, {"": 900}, currency="GBP")
    learner = learned([*closed(found), pounds])
    assert learner.trained_through("main") == ordinal(2022, 6)
    assert learner.currencies("main", "net", "category", "tea") == ["EUR"]
    assert learner.currencies("main", "units", "total", "") == ["EUR", "GBP"]
    assert learner.currencies("main", "net", "category", "none") == []
    net = [month["tea"] * 10_000.0 for month in found]
    assert list(learner.history("main", NET, "category", "tea")) == net
    expected = forecast_months(net, 12, 1)
    served = learner.forecast("main", NET, "category", "tea", 12)
    assert np.array_equal(served.point, expected.point)
    units = [month[""] // 10 * 10_000.0 for month in found]
    assert list(learner.history("main", UNITS, "total", "")) == units
    assert learner.scores("main", UNITS, "total", "")[0].pairs == 29
    assert learner.trained_through("other") is None


def test_a_currency_that_comes_late_is_learned_from_then_on() -> None:
    found = values(10)
    events = closed(found)
    events.insert(5, month_event(2020, 5, {"": 70}, currency="GBP", corrected=True))
    learner = learned(events)
    kind = MonthKind("net", "GBP")
    assert learner.history("main", kind, "total", "")[0] == 700_000
    assert np.isnan(learner.history("main", kind, "total", "")[1:]).all()


def test_a_month_in_parts_is_learned_once_all_have_come_even_over_a_kill() -> None:
    events = [
        month_event(2020, 1, {"": 300}, part=1, parts=2),
        month_event(2020, 1, {"tea": 120}, part=2, parts=2),
        month_event(2020, 2, {"": 310, "tea": 110}),
    ]
    whole = learned(events)
    assert whole.trained_through("main") == ordinal(2020, 2)
    assert list(whole.history("main", NET, "category", "tea")) == [1_200_000, 1_100_000]
    part = learned(events[:1])
    assert part.trained_through("main") is None
    again = MonthLearner()
    again.restore(msgspec.json.decode(saved(part)))
    for fact in facts(events)[1:]:
        again.learn(fact)
    assert saved(again) == saved(whole)


def test_a_correction_mends_and_a_month_told_twice_changes_nothing() -> None:
    found = values(20)
    events = closed(found)
    right = learned(events)
    wrong = [dict(month) for month in found]
    wrong[18]["tea"] += 900
    mended = month_event(*year_and_month(18), {"tea": found[18]["tea"]}, corrected=True)
    assert saved(learned([*events, events[7]])) == saved(right)
    history = learned([*closed(wrong), mended]).history("main", NET, "category", "tea")
    assert np.array_equal(history, right.history("main", NET, "category", "tea"))


def test_a_killed_one_goes_on_bit_for_bit() -> None:
    events = [*closed(values(14)), day_event(800, {"": 5, "tea": 5, "new": 0})]
    later = [month_event(2021, 3, {"zz": 3, "aa": 5, "": 8}), *closed(values(20))[15:]]
    whole = learned([*events, *later])
    again = MonthLearner()
    again.restore(msgspec.json.decode(saved(learned(events))))
    for fact in facts([*events, *later])[len(events) :]:
        again.learn(fact)
    assert saved(again) == saved(whole)


def test_a_first_month_that_is_not_whole_counts_by_its_days_or_not_at_all() -> None:
    most = learned([month_event(2020, 4, {"": 200}, days=20)])
    assert list(most.history("main", NET, "total", "")) == [3_000_000]
    few = learned([month_event(2020, 4, {"": 200}, days=3)])
    assert few.currencies("main", "net", "total", "") == []
    both = learned([month_event(2020, 4, {"": 9}, days=3), month_event(2020, 5, {"": 200})])
    assert list(both.history("main", NET, "total", "")) == [2_000_000]


def test_of_what_a_month_does_not_tell_nothing_was_sold_once_it_is_known() -> None:
    sold, none = {"": 200, "tea": 200, "tea/green": 90, "tea/green/small": 90}, {"": 5, "tea": 5}
    first = month_event(2020, 1, none)
    parts = [month_event(2020, 3, none, part=part, parts=2) for part in (1, 2)]
    few = month_event(2020, 5, none, days=3)  # which says nothing of the month
    learner = learned([first, month_event(2020, 2, sold), *parts, month_event(2020, 4, none), few])
    for level, key in (("product", "green"), ("variant", "small")):
        history = learner.history("main", NET, level, key)
        assert np.array_equal(history, [900_000, 0, 0, np.nan], equal_nan=True)
        assert learner.scores("main", NET, level, key)[0].pairs == 2
    assert np.isnan(learner.history("main", NET, "category", "tea")[-1])
    alone = learned([month_event(2020, 2, sold), month_event(2020, 3, {"": 7}, corrected=True)])
    assert np.isnan(alone.history("main", NET, "product", "green")[-1])  # it tells of changes only


def test_a_series_of_which_no_month_is_known_any_more_is_an_unknown_one() -> None:
    long_ago = [month_event(2000, 1, {"": 90, "tea": 90}), month_event(2020, 1, {"": 80})]
    models = Models([Heard(MONTHLY_FORECAST, ["days"])])
    for fact in facts(long_ago):
        models.learn(fact)

    async def ready(_positions: Sequence[str], _seconds: float) -> None: ...

    (route,) = month_answers(models, ready, lambda *_, **found: found).routes
    assert isinstance(route, APIRoute)
    assert len(asyncio.run(route.endpoint(Wanted("main")))["forecasts"]) == HORIZON
    with pytest.raises(Problem) as raised:
        asyncio.run(route.endpoint(Wanted("main", "category", "tea")))
    assert (raised.value.status, raised.value.code) == (404, "unknown_series")


def test_a_date_that_no_calendar_has_is_passed_over() -> None:
    event = month_event(2020, 1, {"": 1})
    for name in ("2020-13", "0000-01"):
        data = msgspec.Raw(bytes(event.data).replace(b"2020-01", name.encode()))
        assert learned([msgspec.structs.replace(event, data=data)]).trained_through("main") is None


def test_the_running_month_is_its_closed_days_and_the_rest() -> None:
    months = [month_event(2020, month, {"": 310, "tea": 31}) for month in (1, 2)]
    first = (date(2020, 3, 2) - MONDAY).days  # of March
    days = [day_event(first + n - 1, {"": 20}) for n in range(8)]
    fixed = day_event(first, {"": 30}, corrected=True)
    learner = learned([*months, *days, fixed])
    found = learner.running("main", NET, "total", "")
    assert found is not None
    assert (found.month, found.closed, found.days) == (ordinal(2020, 3), 8, 31)
    assert found.so_far == 1_700_000
    assert 3_100_000 < found.whole.point < 17 / 8 * 31 * 100_000
    assert found.whole.quantiles[0] >= found.so_far
    quiet = learner.running("main", NET, "category", "tea")
    assert quiet is not None
    assert quiet.so_far == 0
    closed_too = learned([*months, *days, month_event(2020, 3, {"": 500})])
    assert closed_too.running("main", NET, "total", "") is None


# The nowcast itself.

QUANTILES = np.array([40.0, 60, 80, 100, 120, 140, 160])


def test_before_its_first_day_a_month_is_what_was_foretold() -> None:
    rest = expected_rest(0, 0, 30, Rest(100, QUANTILES))
    assert rest.point == 100
    assert np.array_equal(rest.quantiles, QUANTILES)


def test_after_its_last_day_a_month_is_what_was_sold() -> None:
    found = nowcast(83, expected_rest(83, 30, 30, Rest(100, QUANTILES)))
    assert found.point == 83
    assert set(found.quantiles) == {83.0}


@given(st.floats(0, 1e6), st.integers(0, 31), st.lists(st.floats(0, 1e6), min_size=7, max_size=7))
def test_a_nowcast_is_never_below_what_was_sold(
    so_far: float, days: int, quantiles: list[float]
) -> None:
    foretold = Rest(sorted(quantiles)[3], np.array(sorted(quantiles)))
    found = nowcast(so_far, expected_rest(so_far, days, 31, foretold))
    assert found.point >= so_far
    assert (found.quantiles >= so_far).all()
    assert (np.diff(found.quantiles) >= 0).all()


def test_intervals_narrow_and_the_pace_counts_for_more_as_days_close() -> None:
    def at(day: int) -> Rest:
        return nowcast(5.0 * day, expected_rest(5.0 * day, day, 30, Rest(100, QUANTILES)))

    found = [at(day) for day in (1, 10, 20, 29)]  # at a pace of 150
    assert [one.point for one in found] == sorted(one.point for one in found)
    widths = [one.quantiles[5] - one.quantiles[1] for one in found]
    assert widths == sorted(widths, reverse=True)
    assert found[-1].point == pytest.approx(150, abs=1)
    with pytest.raises(ValueError, match="31 of 30"):
        expected_rest(1, 31, 30, Rest(100, QUANTILES))


def test_days_are_kept_of_two_months_at_the_most_whatever_is_closed() -> None:
    def kept(days: int) -> int:
        return len(saved(learned(day_event(n, {"": 20, "tea": 7}) for n in range(days))))

    assert kept(180) <= kept(70)
    assert learned([]).noticed() == ()
