"""Series that are told late, mended, and restored."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

import msgspec
import pytest

from ml_online.calendar import KNOWN
from ml_online.daily import HISTORY, DailyForecaster, IntArray
from ml_online.sales_forecast import SalesForecaster
from ml_online.sales_series import Kind
from ml_online.stock_days import StockDays
from streams import codec
from streams.events import CalendarEntryPlanned, Event
from tests.learning import MONDAY, NOON, assortment, day_event, facts, stock_event

TOTAL = Kind("net", "EUR", "total")


def learned(events: Iterable[Event], forecaster: SalesForecaster | None = None) -> SalesForecaster:
    forecaster = forecaster or SalesForecaster()
    for fact in facts(events):
        forecaster.learn(fact)
    return forecaster


def saved(forecaster: SalesForecaster) -> bytes:
    return msgspec.json.encode(list(forecaster.state()))


def again(forecaster: SalesForecaster) -> SalesForecaster:
    """What comes of killing it and going on from what it saved."""
    found = SalesForecaster()
    found.restore(msgspec.json.decode(saved(forecaster)))
    return found


def history(forecaster: SalesForecaster, kind: Kind, key: str = "", days: int = 500) -> list[float]:
    """A series' last days in whole units, from its first one on; NaN where none is known."""
    series = forecaster.series("main")[kind]
    (values,) = series.forecaster.history(days, [series.row(key)])
    since = len(values) - (series.forecaster.last - series.begun[key] + 1)
    return [round(float(value), 3) for value in values[max(since, 0) :]]


def parents(forecaster: SalesForecaster) -> dict[str, dict[str, str]]:
    return forecaster._shops["main"].parents


def test_a_correction_of_an_old_day_does_not_move_what_lies_elsewhere_by_now() -> None:
    days = [*assortment(3), {"c1": 7, "c1/p0": 7}]
    closed = [day_event(number, values) for number, values in enumerate(days)]
    old = day_event(1, {"c0/p0": 5, "c0/p8": 3}, corrected=True)
    found = parents(learned([*closed, old]))["product"]
    assert (found["p0"], found["p8"]) == ("c1", "c0")


def test_levels_that_are_told_later_are_learned_as_if_they_had_been_told_in_time() -> None:
    """As the closer tells them: of all days that are closed, before the next one closes."""
    days = assortment(30)
    narrow = [{key: value for key, value in day.items() if key in ("", "c0", "c1")} for day in days]
    events = [day_event(number, values) for number, values in enumerate(narrow[:29])]
    missing = [
        {key: value for key, value in day.items() if key not in narrow[number]}
        for number, day in enumerate(days[:29])
    ]
    events += [day_event(number, more, corrected=True) for number, more in enumerate(missing)]
    late = learned([*events, day_event(29, days[29])])
    in_time = learned([day_event(number, values) for number, values in enumerate(days)])
    for kind, series in in_time.series("main").items():
        found = late.series("main")[kind]
        assert list(found.forecaster.state()) == list(series.forecaster.state()), kind


def planned(entry: CalendarEntryPlanned) -> Event:
    return Event(
        id=f"planned-{entry.entry_id}",
        type="CalendarEntryPlanned",
        shop="main",
        subject=entry.entry_id,
        time=NOON,
        received_at=NOON,
        source="shop",
        data=codec.raw(entry),
    )


def promotion(product: str, strength: str = "1", since: int = 0) -> Event:
    """Of one product, for a week from so many days after the Monday on."""
    first = MONDAY + timedelta(days=since)
    return planned(
        CalendarEntryPlanned(
            entry_id=f"{product} {since}",
            kind="promotion",
            first=first.isoformat(),
            last=(first + timedelta(days=6)).isoformat(),
            level="product",
            key=product,
            value=strength,
        )
    )


def test_going_on_from_a_state_the_same_is_known_ahead_to_the_last_bit() -> None:
    """The sum of 0.3, 0.2 and 0.1 is another one than that of 0.1, 0.2 and 0.3."""
    strengths = {"p2": "0.3", "p1": "0.2", "p0": "0.1"}
    promotions = [promotion(product, strength) for product, strength in strengths.items()]
    sold = {"": 3, **dict.fromkeys((f"c/{product}" for product in strengths), 1)}
    forecaster = learned([*promotions, day_event(0, sold)])

    def known(found: SalesForecaster) -> bytes:
        shop = found._shops["main"]
        return shop.known(TOTAL, found._calendar, MONDAY.toordinal() + 1, 3).tobytes()

    assert known(again(forecaster)) == known(forecaster)


def test_series_that_an_old_day_brings_begin_together() -> None:
    grown: list[int] = []

    class Counting(DailyForecaster):
        def rows(self, keys: Sequence[str]) -> IntArray:
            before = len(self.keys)
            found = super().rows(keys)
            grown.extend([len(self.keys) - before] * (len(self.keys) > before))
            return found

    forecaster = SalesForecaster(new=lambda: Counting(KNOWN))
    learned((day_event(number, {"": 90, "c0": 90}) for number in range(4)), forecaster)
    grown.clear()
    late = {f"late{number}": 10 + number for number in range(30)}
    learned([day_event(1, late, corrected=True)], forecaster)
    assert grown == [30, 30]  # of net and of units
    category = TOTAL._replace(level="category")
    assert history(forecaster, category, "late7") == [17, 0, 0]
    learned([day_event(0, {"late7": 5}, corrected=True)], forecaster)
    assert history(forecaster, category, "late7") == [5, 17, 0, 0]


def test_a_mended_day_says_no_more_of_demand_than_a_closed_one() -> None:
    """There was nothing on the days 3 and 4, nor in the afternoon of day 6."""
    moves = [(0, 0, 100), (3, 0, -100), (5, 0, 100), (6, 12, -100), (7, 0, 100)]
    stock = StockDays()
    forecaster = SalesForecaster(stock)

    def hear(events: Iterable[Event]) -> list[float]:
        for fact in facts(events):
            stock.learn(fact)
            forecaster.learn(fact)
        return history(forecaster, Kind("units", "EUR", "variant"), "red")

    def mended(day: int, value: int) -> list[float]:
        return hear([day_event(day, {"c/mug/red": value}, corrected=True)])

    received = [stock_event(day, "red", units, hour=hour) for day, hour, units in moves]
    sold = [50, 50, 50, 0, 0, 50, 20, 50]
    found = hear([*received, *(day_event(n, {"c/mug/red": one}) for n, one in enumerate(sold))])
    nan = float("nan")
    closed = [5, 5, 5, nan, nan, 5, nan, 5]
    assert found == pytest.approx(closed, nan_ok=True)
    assert mended(6, 30) == pytest.approx(closed, nan_ok=True)
    assert mended(4, 10) == pytest.approx([5, 5, 5, nan, 1, 5, nan, 5], nan_ok=True)
    assert mended(4, 0) == pytest.approx(closed, nan_ok=True)


def test_plans_of_days_before_the_history_are_forgotten() -> None:
    forecaster = learned([promotion("p0"), promotion("p0", since=7), day_event(0, {"": 1})])
    learned([day_event(HISTORY + 5, {"": 1})], forecaster)
    assert len(list(forecaster._calendar.state())) == 3
    learned([day_event(HISTORY + 6, {"": 1})], forecaster)
    assert [row[1] for row in list(forecaster._calendar.state())[1:]] == ["p0 7"]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_level_that_is_told_late_is_learned_as_if_it_had_been_told_in_time(
    backwards: bool,
) -> None:
    days = assortment(31)
    in_time = learned(day_event(number, values) for number, values in enumerate(days))
    early = [day_event(number, {"": values[""]}) for number, values in enumerate(days[:-1])]
    late = [
        day_event(number, {name: value for name, value in values.items() if name}, corrected=True)
        for number, values in enumerate(days[:-1])
    ]
    if backwards:
        late.reverse()
    found = again(learned([*early, *late[:10]]))
    found = again(learned(late[10:], found))
    assert set(found.series("main")) == {TOTAL, TOTAL._replace(measure="units")}
    learned([day_event(30, days[-1])], found)
    assert any(one.value for one in found.forecasts("main", TOTAL._replace(level="country"), "DE"))
    for kind, series in in_time.series("main").items():
        same = found.series("main")[kind]
        assert list(same.forecaster.state()) == list(series.forecaster.state())
    assert backwards or saved(found) == saved(in_time)


def test_a_currency_that_is_told_late_and_taken_back_is_none() -> None:
    living = [day_event(number, {"": 9}) for number in range(580, 600)]
    sold = [day_event(590, {"": 5}, currency="GBP", corrected=True)]
    sold += [day_event(50, {"": 5}, currency="GBP", corrected=True)]  # before the history
    back = [day_event(590, {"": 0}, currency="GBP", corrected=True)]
    assert saved(learned([*living, *sold, *back])) == saved(learned(living))
    found = learned([*living, *sold, day_event(600, {})])
    pounds = Kind("net", "GBP", "total")
    assert history(found, pounds) == [5, *[0] * 10]
