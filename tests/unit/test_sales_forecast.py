"""Sales forecasts: predicted, scored, then learned; scores recounted from the answers alone."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ml_online import daily_scores, sales_series
from ml_online.daily import CONTENDERS, HORIZON
from ml_online.daily_scores import HORIZONS
from ml_online.sales_forecast import Ahead, SalesForecaster
from ml_online.sales_series import Kind, Measure
from streams import codec
from streams.events import (
    CalendarEntryPlanned,
    CurrencyRate,
    CurrencyRatesChanged,
    DayClosed,
    Event,
    MonthClosed,
    SalesLevel,
)
from tests.learning import MONDAY, Values, assortment, day_event, facts, shifting, weekly

TOTAL = Kind("net", "EUR", "total")
CATEGORY = TOTAL._replace(level="category")


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


def history(forecaster: SalesForecaster, kind: Kind, key: str = "", days: int = 60) -> list[int]:
    """A series' last days in whole units, from its first one on."""
    series = forecaster.series("main")[kind]
    values = series.forecaster.history(days, [series.row(key)])[0]
    return [round(value) for value in values if not np.isnan(value)]


def naive_of(forecaster: SalesForecaster) -> list[int]:
    return [one.naive for one in forecaster.forecasts("main", TOTAL, "")]


def test_scores_are_those_of_what_was_foretold_before_each_day() -> None:
    days = weekly(66)
    forecaster, errors = SalesForecaster(), []
    told: dict[int, list[int]] = {}
    for number, fact in enumerate(facts(closed(days))):
        errors += [
            abs(days[number][""] - told[number - horizon][horizon - 1] / 10_000)
            for horizon in HORIZONS
            if number >= 60
        ]
        forecaster.learn(fact)
        if number >= 6:  # the week that it repeats
            told[number] = naive_of(forecaster)
    since = MONDAY.toordinal() + 60
    scored = forecaster.series("main")[TOTAL].forecaster.scored.window(since)["seasonal_naive"]
    assert scored.pairs == len(errors)
    assert scored.mae == pytest.approx(sum(errors) / len(errors), rel=1e-9)


def test_the_naive_is_the_same_weekday_of_the_last_week() -> None:
    days = weekly(30)
    found = learned(closed(days)).forecasts("main", TOTAL, "")
    assert [one.day for one in found] == [MONDAY + timedelta(days=30 + n) for n in range(HORIZON)]
    assert [one.naive for one in found] == [days[23 + n % 7][""] * 10_000 for n in range(HORIZON)]


def test_a_correction_mends_history() -> None:
    days = weekly(60)
    wrong = [dict(day) for day in days]
    for number in (41, 59):
        wrong[number][""] += 5_000
    mended = [day_event(n, {"": days[n][""]}, corrected=True) for n in (41, 59)]
    found = learned([*closed(wrong), *mended])
    assert history(found, TOTAL) == [day[""] for day in days]
    assert history(found, CATEGORY, "c1") == [day["c1"] for day in days]


def test_a_correction_may_bring_a_series_that_nobody_knew() -> None:
    late = day_event(5, {"new": 70}, corrected=True)
    early = day_event(2, {"new": 30}, corrected=True)
    found = learned([*closed(weekly(10)), late, early])
    assert history(found, CATEGORY, "new") == [30, 0, 0, 70, 0, 0, 0, 0]
    country = day_event(5, {"@DE": 7}, corrected=True)
    found = learned([*closed(weekly(10)), country, day_event(10, {"@DE": 3})])
    assert history(found, TOTAL._replace(level="country"), "DE") == [7, 0, 0, 0, 0, 3]


@pytest.mark.parametrize("currency", ["EUR", "GBP"])
def test_days_without_a_sale_before_the_first_begin_no_series(currency: str) -> None:
    """As they come, oldest first, where a history of another decade is read into a living shop."""
    living = [day_event(500 + n, values) for n, values in enumerate(weekly(20))]
    silence = {"": 0, "c0": 0, "c9": 0}
    zeros = [day_event(n, silence, currency=currency) for n in range(500)]
    assert saved(learned([*living, *zeros])) == saved(learned(living))
    sold = day_event(519, {"": 0, "c9": 70}, currency=currency, corrected=True)
    again_sold = [*living, sold, day_event(520, {})]
    kind = CATEGORY._replace(currency=currency)
    assert "c9" in learned(again_sold).series("main")[kind].begun


def test_a_day_that_is_closed_again_counts_once() -> None:
    events = closed(weekly(40))
    repeated = [*events, *(replace(one, id=f"again-{one.id}") for one in events)]
    assert saved(learned(repeated)) == saved(learned(events))


def in_parts(days: Sequence[Values]) -> list[Event]:
    """Each day in as many parts as it has series."""
    return [
        day_event(number, {name: value}, part=(part, len(values)))
        for number, values in enumerate(days)
        for part, (name, value) in enumerate(values.items(), 1)
    ]


def test_a_day_closes_once_all_of_its_parts_have_come() -> None:
    days = assortment(20)
    parts = in_parts(days)
    assert saved(learned(parts)) == saved(learned(closed(days)))
    last = len(days[-1])
    begun = learned(parts[:-1])
    assert begun.trained_through("main") == MONDAY + timedelta(days=18)
    assert saved(learned([*parts[:-last], *reversed(parts[-last:])])) == saved(learned(parts))
    killed = again(begun)
    killed.learn(facts(parts[-1:])[0])
    assert saved(killed) == saved(learned(parts))


def test_a_part_that_never_comes_does_not_hold_up_the_days_after() -> None:
    days = assortment(20)
    parts = in_parts(days)
    lost = learned([part for n, part in enumerate(parts) if n != 5 * len(days[0])])
    assert lost.trained_through("main") == MONDAY + timedelta(days=19)
    assert history(lost, TOTAL)[5] == 0
    assert history(lost, TOTAL)[6:] == [day[""] for day in days[6:]]


def test_whatever_else_is_said_of_days_teaches_nothing() -> None:
    events = closed(weekly(3))
    (day, *_) = events
    month = MonthClosed(month="2020-03", days={"2020-03-02": 0}, figures=[])
    rates = [CurrencyRate(day="2020-03-02", rate="0.9")]
    worth = CurrencyRatesChanged(currency="USD", into="EUR", rates=rates)
    others = [
        replace(day, id="m", type="MonthClosed", subject="2020-03", data=codec.raw(month)),
        replace(day, id="r", type="CurrencyRatesChanged", subject="USD", data=codec.raw(worth)),
    ]
    assert saved(learned([*others, *events[:9], *others, *events[9:]])) == saved(learned(events))


def test_days_that_nobody_closed_had_no_sales() -> None:
    days = weekly(40)
    for number in (20, 21):
        days[number] = dict.fromkeys(days[number], 0)
    left_out = [event for n, event in enumerate(closed(days)) if n not in (20, 21)]
    assert saved(learned(left_out)) == saved(learned(closed(days)))


def test_what_is_no_date_and_what_is_far_away_does_no_harm() -> None:
    events = closed(weekly(20))
    no_date = replace(
        events[0], data=msgspec.Raw(bytes(events[0].data).replace(b"2020-03-02", b"2020-02-30"))
    )
    assert saved(learned([*events, no_date])) == saved(learned(events))
    later = learned([*events, day_event(20_000, {"": 7})])
    assert later.trained_through("main") == MONDAY + timedelta(days=20_000)
    assert history(later, TOTAL) == [7]
    assert CATEGORY not in later.series("main")


def with_dollars(event: Event) -> Event:
    """The same close, with every figure in another currency, too."""
    data = codec.decode_fields(event.type, event.data)
    assert isinstance(data, DayClosed)
    dollars = [replace(figure, currency="USD") for figure in data.figures]
    return replace(event, data=codec.raw(replace(data, figures=[*data.figures, *dollars])))


def test_currencies_and_shops_are_series_of_their_own() -> None:
    days = weekly(20)
    events = closed(days)
    other = closed(weekly(20, seed=9), shop="other")
    forecaster = learned([*events, *other])
    assert {kind.currency for kind in forecaster.series("other")} == {"EUR"}
    alone = learned(events).forecasts("main", TOTAL, "")
    assert forecaster.forecasts("main", TOTAL, "") == alone
    found = learned(with_dollars(event) for event in events)
    assert found.forecasts("main", TOTAL, "") == alone
    dollars = found.forecasts("main", TOTAL._replace(currency="USD"), "")
    assert [one.value for one in dollars] == [one.value for one in alone]


def values(
    forecaster: SalesForecaster, level: SalesLevel, key: str, measure: Measure = "net"
) -> list[Ahead]:
    return forecaster.forecasts("main", Kind(measure, "EUR", level), key)


@pytest.mark.parametrize("measure", ["net", "units"])
def test_levels_add_up_to_the_last_unit_that_is_shown(measure: Measure) -> None:
    forecaster = learned(closed(assortment(24)))
    total = [one.value for one in values(forecaster, "total", "", measure)]
    assert any(total)

    def summed(level: SalesLevel, keys: Iterable[str]) -> list[int]:
        rows = zip(*(values(forecaster, level, key, measure) for key in keys), strict=True)
        return [sum(one.value for one in row) for row in rows]

    assert summed("category", ("c0", "c1")) == total
    assert summed("country", ("DE", "FR")) == total
    for category, products in (("c0", ("p0", "p2", "p4")), ("c1", ("p1", "p3", "p5"))):
        of_category = [one.value for one in values(forecaster, "category", category, measure)]
        assert summed("product", products) == of_category
    for one in values(forecaster, "product", "p3", measure):
        assert list(one.quantiles) == sorted(one.quantiles)
        assert one.quantiles[0] >= 0


def test_series_are_bounded_and_those_without_room_are_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sales_series, "MOST_SERIES", 4)
    forecaster = learned(closed(assortment(30)))
    products = forecaster.series("main")[TOTAL._replace(level="product")]
    assert (list(products.begun), products.full) == (["p0", "p1", "p2", "p3"], True)
    categories = (values(forecaster, "category", key) for key in ("c0", "c1"))
    total = values(forecaster, "total", "")
    assert [a.value + b.value for a, b in zip(*categories, strict=True)] == [
        one.value for one in total
    ]
    assert len(values(forecaster, "product", "p3")) == HORIZON
    with pytest.raises(KeyError):
        values(forecaster, "product", "p5")


def planned(number: int, kind: str, at: date, **more: str) -> Event:
    """An entry of the calendar on one day."""
    entry = CalendarEntryPlanned(
        entry_id=f"e{number}",
        kind=kind,  # type: ignore[arg-type]
        first=at.isoformat(),
        last=at.isoformat(),
        **more,  # type: ignore[arg-type]
    )
    noon = datetime(2020, 3, 1, 12, tzinfo=UTC)
    return Event(
        id=f"planned-{number}",
        type="CalendarEntryPlanned",
        shop="main",
        subject=entry.entry_id,
        time=noon,
        received_at=noon,
        source="shop",
        data=codec.raw(entry),
    )


def test_what_is_planned_stands_beside_the_day() -> None:
    day = MONDAY + timedelta(days=29)
    promotion = planned(1, "promotion", day, level="category", key="c0", value="2")
    forecaster = learned([promotion, *closed(assortment(24))])
    assert [one.known for one in values(forecaster, "product", "p0")][5] == {"promotion": 2.0}
    assert [one.known for one in values(forecaster, "product", "p1")][5] == {}
    killed = again(forecaster)
    assert values(killed, "product", "p0") == values(forecaster, "product", "p0")
    before = saved(forecaster)
    supposed = CalendarEntryPlanned(
        entry_id="x", kind="closed", first=day.isoformat(), last=day.isoformat()
    )
    found = forecaster.forecasts("main", TOTAL, "", [supposed])
    assert found[5].known["closed"] == 1.0
    assert "closed" not in values(forecaster, "total", "")[5].known
    assert saved(forecaster) == before


@pytest.mark.parametrize(
    "scope",
    [
        {"kind": "closed"},
        {"kind": "price", "level": "category", "key": "c0", "value": "0.8"},
        {"kind": "promotion", "level": "product", "key": "p3", "value": "1.5"},
        {"kind": "promotion", "level": "country", "key": "FR"},
        {"kind": "price", "level": "product", "key": "nobody's"},
    ],
    ids=lambda scope: f"{scope['kind']}-{scope.get('level', 'total')}",
)
def test_supposing_is_as_if_it_were_planned(scope: dict[str, str]) -> None:
    """Though only those series and days are foretold anew that it changes."""
    first = MONDAY + timedelta(days=29)
    closing = planned(1, "closed", first)
    learning = planned(2, "price", MONDAY + timedelta(days=9), level="product", key="p0")
    forecaster = learned([closing, learning, *closed(assortment(24))])
    begun = forecaster.forecasts("main", TOTAL, "")
    event = planned(3, **scope, at=first + timedelta(days=2))
    entry = codec.decode_fields(event.type, event.data)
    assert isinstance(entry, CalendarEntryPlanned)
    asked = [(kind, key) for kind, one in forecaster.series("main").items() for key in one.begun]
    found = [forecaster.forecasts("main", kind, key, [entry]) for kind, key in asked]
    few = forecaster.forecasts("main", TOTAL, "", [entry], 6)
    assert forecaster.forecasts("main", TOTAL, "") == begun
    (fact,) = facts([event])
    forecaster.learn(fact)
    assert found == [forecaster.forecasts("main", kind, key) for kind, key in asked]
    assert len(few) == 6
    assert few[:5] == forecaster.forecasts("main", TOTAL, "")[:5]


def test_asking_changes_nothing() -> None:
    forecaster = learned(closed(assortment(24)))
    before = saved(forecaster)
    for kind, series in forecaster.series("main").items():
        for key in series.begun:
            assert len(forecaster.forecasts("main", kind, key)) == HORIZON
        series.forecaster.scored.window()
    with pytest.raises(KeyError):
        forecaster.forecasts("main", TOTAL, "none")
    assert saved(forecaster) == before


def test_before_anything_was_learned_it_answers_that_it_knows_nothing() -> None:
    forecaster = SalesForecaster()
    assert forecaster.trained_through("main") is None
    assert not forecaster.series("main")
    with pytest.raises(KeyError):
        forecaster.forecasts("main", TOTAL, "")
    assert again(forecaster).trained_through("main") is None
    few = learned(closed(weekly(3)))
    assert few.forecasts("main", TOTAL, "") == []


@settings(max_examples=6, deadline=None)
@given(
    sold=st.lists(st.integers(-(10**12), 10**12), min_size=9, max_size=40),
    corrections=st.lists(st.tuples(st.integers(0, 60), st.integers(-(10**12), 10**12)), max_size=4),
)
def test_forecasts_are_never_negative_whatever_was_sold(
    sold: list[int], corrections: list[tuple[int, int]]
) -> None:
    events = closed([{"": value} for value in sold])
    events += [
        day_event(at, {"": value}, corrected=True, event_id=f"c{n}")
        for n, (at, value) in enumerate(corrections)
    ]
    forecaster = learned(events)
    known = TOTAL in forecaster.series("main")
    assert known or not any(sold)
    for one in forecaster.forecasts("main", TOTAL, "") if known else ():
        assert one.value >= 0
        assert one.naive >= 0
        assert min(one.quantiles) >= 0


@settings(max_examples=3, deadline=None)
@given(kills=st.sets(st.integers(0, 35)), seed=st.integers(0, 1000))
def test_killed_anywhere_and_going_on_gives_the_same_bits(kills: set[int], seed: int) -> None:
    events = closed(weekly(34, seed=seed, categories=1))
    events.insert(32, day_event(28, {"": 12, "c0": 9}, corrected=True))
    events.insert(25, planned(1, "closed", MONDAY + timedelta(days=33)))
    forecaster = SalesForecaster()
    for number, fact in enumerate(facts(events)):
        if number in kills:
            forecaster = again(forecaster)
        forecaster.learn(fact)
    assert saved(forecaster) == saved(learned(events))


def test_memory_is_bounded_however_many_days_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once as many days of scores are there as are kept, more days take no more room."""
    monkeypatch.setattr(daily_scores, "DAYS", 20)
    forecaster, sizes = SalesForecaster(), {}
    days: list[Values] = [{"": day["c0"]} for day in weekly(160, categories=1)]
    for number, fact in enumerate(facts(closed(days))):
        forecaster.learn(fact)
        if number in (100, 159):
            sizes[number] = len(saved(forecaster))
    assert sizes[159] < 1.1 * sizes[100]


def test_it_beats_the_seasonal_naive_on_weekly_series() -> None:
    found = learned(closed(weekly(120, seed=3, categories=8))).series("main")[CATEGORY]
    scores = found.forecaster.scored.window(MONDAY.toordinal() + 60)
    ours, naive = (scores[model].mase for model in ("tillstream", "seasonal_naive"))
    assert ours is not None
    assert naive is not None
    assert ours < 0.9 * naive


def test_noise_is_no_shift_of_demand() -> None:
    calm = learned(closed(weekly(100, seed=5, categories=1)))
    assert not calm.series("main")[CATEGORY].drift.shifts
    assert not calm.noticed()


def test_a_shift_is_noticed_and_told_once_but_none_of_a_history() -> None:
    events = closed(shifting())
    forecaster = learned(events)
    found = forecaster.series("main")[CATEGORY].drift.shifts
    assert list(found) == ["c0"]
    first = found["c0"][0]
    assert MONDAY.toordinal() + 80 <= first.day <= MONDAY.toordinal() + 95
    assert first.since > first.before
    told = forecaster.noticed()
    assert not forecaster.noticed()
    of_category = [
        codec.decode_fields(event.type, event.data)
        for event in told
        if b'"level":"category"' in bytes(event.data)
    ]
    assert [(one.key, one.measure) for one in of_category] == [  # type: ignore[attr-defined]
        ("c0", "net"),
        ("c0", "units"),
    ]
    assert len({event.id for event in told}) == len(told)
    later = datetime(2021, 1, 1, tzinfo=UTC)
    history = learned(replace(event, time=later, received_at=later) for event in events)
    assert history.series("main")[CATEGORY].drift.shifts == found
    assert not history.noticed()


def test_any_contender_can_foretell_and_its_forecasts_add_up_as_well() -> None:
    forecaster = learned(closed(assortment(21)))
    before = saved(forecaster)
    served = forecaster.forecasts("main", TOTAL, "")
    by = forecaster.series("main")[TOTAL].forecaster.served
    told = {}
    for contender in CONTENDERS:
        whole = forecaster.forecasts("main", TOTAL, "", contender=contender)
        parts = [
            forecaster.forecasts("main", CATEGORY, key, contender=contender)
            for key in forecaster.series("main")[CATEGORY].begun
        ]
        told[contender] = [one.value for one in whole]
        assert told[contender] == [
            sum(one.value for one in day) for day in zip(*parts, strict=True)
        ]
        assert all(one.quantiles[0] <= one.value <= one.quantiles[-1] for one in whole)
    assert len({tuple(values) for values in told.values()}) == len(CONTENDERS)
    naive = told["seasonal_naive"]
    assert naive == [one.naive for one in served]
    if {by} == {one.forecaster.served for one in forecaster.series("main").values()}:
        assert told[by] == [one.value for one in served]
    assert forecaster.forecasts("main", TOTAL, "") == served
    assert saved(forecaster) == before
    with pytest.raises(ValueError, match="nobody"):
        forecaster.forecasts("main", TOTAL, "", contender="nobody")
