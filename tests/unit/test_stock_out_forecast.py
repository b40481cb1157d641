"""Running out of stock, foretold from what learners hear: days and moves of stock."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec
import numpy as np
import pytest

from app.learner.stock_out_answers import Wanted, stock_outs
from app.subscriptions import LEARNERS, learners_of
from ml_online.daily import HORIZON
from ml_online.models import Models
from ml_online.sales_forecast import SalesForecaster
from ml_online.sales_series import Kind
from ml_online.stock_days import StockDays, demand
from ml_online.stock_out_forecast import ALERT, SCORED_DAYS, Question, StockOuts, VariantUnits
from streams import codec
from streams.codec import Fact
from streams.events import (
    DayClosed,
    DayFigure,
    Event,
    StockAdjusted,
    StockOutForeseen,
    StockReceived,
)
from streams.money import Money, SignedMoney

FIRST = date(2024, 3, 4)
SHOP = "main"
UNITS = Kind("units", "EUR", "variant")

Sold = Sequence[dict[str, int]]  # units of each day by variant


def day_closed(number: int, sold: dict[str, int], currency: str = "EUR") -> Fact:
    day = FIRST + timedelta(days=number)
    figures = [
        DayFigure(
            level="variant",
            key=key,
            parent="p",
            currency=currency,
            gross=Money(units * 10_000),
            discounts=Money(0),
            refunds=Money(0),
            net=SignedMoney(units * 10_000),
            orders=units,
            units=units,
        )
        for key, units in sold.items()
    ]
    return _fact(
        "days",
        day + timedelta(days=1),
        1,
        DayClosed(date=day.isoformat(), positions={}, figures=figures),
    )


def stocked(number: int, hour: float, variant: str, units: int) -> Fact:
    """Units that came, or with a minus went, on the so many-th day."""
    kind = StockReceived if units > 0 else StockAdjusted
    data = kind(product_id="p", variant=variant, quantity=units)
    return _fact("catalog", FIRST + timedelta(days=number), hour, data)


def _fact(
    topic: str, day: date, hour: float, data: DayClosed | StockReceived | StockAdjusted
) -> Fact:
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour)
    name = f"{day}{hour}{data!r}"[:100]
    event = Event(
        id=name,
        type=type(data).__name__,
        shop=SHOP,
        subject="s",
        time=at,
        received_at=at,
        data=codec.raw(data),
    )
    return Fact(topic, 0, 0, event, data)


def demanded(days: int, rates: dict[str, float], seed: int = 5) -> Sold:
    random = np.random.default_rng(seed)
    return [
        {key: int(random.poisson(rate * (1 + number % 7 / 6))) for key, rate in rates.items()}
        for number in range(days)
    ]


class Weekdays:
    """The simplest of sales forecasts: each weekday's mean of the last eight."""

    def __init__(self, stock: StockDays) -> None:
        self._stock = stock
        self._first = self._last = 0
        self._sold: dict[str, list[float]] = {}
        self.asked: list[int] = []  # for how many days, each time

    def learn(self, fact: Fact) -> None:
        assert isinstance(fact.data, DayClosed)
        day = date.fromisoformat(fact.data.date).toordinal()
        for missing in range(self._last + 1, day) if self._last else ():
            self._close(missing, {})
        self._close(day, {figure.key: figure.units for figure in fact.data.figures})

    def _close(self, day: int, units: dict[str, int]) -> None:
        self._first, self._last = self._first or day, day
        out = self._stock.censored(SHOP, day)
        for key in units:
            self._sold.setdefault(key, [np.nan] * (day - self._first))
        for key, sold in self._sold.items():
            sold.append(demand(units.get(key, 0), out.get(key, 0.0)))

    def trained_through(self, shop: str) -> date | None:
        return date.fromordinal(self._last) if shop == SHOP and self._last else None

    def variant_units(self, shop: str, days: int) -> VariantUnits | None:
        self.asked.append(days)
        if shop != SHOP or not self._last:
            return None
        sold = np.array(list(self._sold.values()), dtype=float)
        week = np.full((len(sold), 7), np.nan)
        for number in range(7):
            weekdays = sold[:, ::-1][:, 6 - number :: 7][:, :8]
            some = ~np.isnan(weekdays).all(axis=1)
            week[some, number] = np.nanmean(weekdays[some], axis=1)
        ahead = np.tile(week, 7)[:, :HORIZON]
        return VariantUnits(self._last, list(self._sold), sold[:, -days:], ahead)


class Shelf:
    """Stock, sales, and what runs out, as they hear facts one after the other."""

    def __init__(self) -> None:
        self.stock = StockDays()
        self.sales = Weekdays(self.stock)
        self.outs = StockOuts(self.stock, self.sales)

    def learn(self, fact: Fact) -> None:
        self.stock.learn(fact)
        if fact.topic == "days":
            self.sales.learn(fact)
            self.outs.learn(fact)


def learned(facts: Iterable[Fact]) -> Shelf:
    shelf = Shelf()
    for fact in facts:
        shelf.learn(fact)
    return shelf


def asked(
    number: int, lead: int = 7, review: int = 0, cover: int = 0, hours: float = 0
) -> Question:
    """At the end of the so many-th day, or so many hours later."""
    day = FIRST + timedelta(days=number + 1)
    now = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hours)
    return Question(lead, review, cover, 0.95, 0.9, now)


def history(sold: Sold, levels: dict[str, int]) -> list[Fact]:
    """Stock of which an order takes its units when it is placed; filled up every night."""
    facts = [stocked(0, 0, key, units) for key, units in levels.items()]
    for number, of_day in enumerate(sold):
        for key, units in of_day.items():
            if units and key in levels:
                facts.append(stocked(number, 12, key, -units))
                facts.append(stocked(number, 13, key, units))
        facts.append(day_closed(number, of_day))
    return facts


RATES = {"much": 8.0, "some": 2.0, "little": 0.2}


def test_the_mean_is_the_sales_forecasts_own() -> None:
    models = Models(learners_of(LEARNERS))
    for fact in history(demanded(30, RATES), {"much": 100, "some": 20, "little": 3}):
        models.learn(fact)
    sales, found = models.learners["sales_forecast"], models.learners["stock_outs"]
    assert isinstance(sales, SalesForecaster)
    assert isinstance(found, StockOuts)
    for risk in found.details(SHOP, list(RATES), asked(29)):
        ahead = sales.forecasts(SHOP, UNITS, risk.variant)
        assert risk.mean == pytest.approx(sum(one.value for one in ahead[:7]) / 10_000, rel=1e-9)


def test_the_least_in_stock_runs_out_first_and_more_of_it_later() -> None:
    sold = demanded(80, RATES)
    models = learned(history(sold, {"much": 40, "some": 500, "little": 4}))
    found = models.outs
    risks = found.risks(SHOP, asked(79))
    assert [key for key, _ in risks] == ["much", "little", "some"]
    much, little, some = found.details(SHOP, [key for key, _ in risks], asked(79))
    assert much.chance > ALERT > little.chance > some.chance
    assert [much.chance, little.chance, some.chance] == [chance for _, chance in risks]
    assert much.date is not None
    assert FIRST + timedelta(days=80) <= much.date <= FIRST + timedelta(days=86)
    assert (some.date, some.days[1]) == (None, None)
    assert list(much.by_day) == sorted(much.by_day)
    assert much.by_day[6] == pytest.approx(much.chance)
    soon, likely, late = (one or 0.0 for one in much.days)
    assert 0 < soon <= likely <= late
    after = learned([*history(sold, {"much": 40}), stocked(80, 1, "much", 30)])
    (fuller,) = after.outs.details(SHOP, ["much"], asked(79, hours=2))
    assert fuller.stock.available == 70
    assert fuller.chance < much.chance


def test_what_to_order_suffices_for_lead_time_review_and_cover() -> None:
    models = learned(history(demanded(120, RATES), {"much": 40, "some": 500}))
    found = models.outs
    much, some = found.details(SHOP, ["much", "some"], asked(119, lead=5, review=2))
    assert much.mean < much.reorder_point < 3 * much.mean
    assert much.quantity == much.order_up_to - 40 > 0
    assert some.quantity == 0
    (longer,) = found.details(SHOP, ["much"], asked(119, lead=5, review=2, cover=14))
    assert longer.reorder_point == much.reorder_point
    assert longer.order_up_to > 2 * much.order_up_to


def test_chances_are_scored_once_it_is_known_and_before_it_is_learned() -> None:
    """Recounted from what was answered after each close."""
    sold = demanded(60, {"much": 8.0, "some": 2.0})
    models = Shelf()
    foretold: list[dict[str, float]] = []
    for fact in history(sold, {"much": 60, "some": 15}):
        models.learn(fact)
        if fact.topic == "days":
            number = len(foretold)
            foretold.append(dict(models.outs.risks(SHOP, asked(number))))
    errors = []
    for number, chances in enumerate(foretold[:-SCORED_DAYS]):
        for key, chance in chances.items():
            week = sum(of_day[key] for of_day in sold[number + 1 : number + 1 + SCORED_DAYS])
            errors.append((chance - (week > {"much": 60, "some": 15}[key])) ** 2)
    found = models.outs.calibration(SHOP, 365)
    assert found is not None
    assert found.chances == len(errors) > 80
    assert found.brier == pytest.approx(sum(errors) / len(errors), rel=1e-6)
    assert sum(count for count, _, _ in found.parts) == found.chances


def test_days_without_stock_teach_nothing_and_prove_that_it_ran_out() -> None:
    sold = [dict(of_day) for of_day in demanded(90, {"v": 6.0})]
    steady = learned(history(sold, {"v": 1_000}))
    facts: list[Fact] = [stocked(0, 0, "v", 1_000)]
    for number, of_day in enumerate(sold):
        if 60 <= number < 75:  # it is gone, and nobody can buy it
            if number == 60:
                facts.append(stocked(60, 0, "v", -1_000))
            of_day = {}
        elif number == 75:
            facts.append(stocked(75, 0, "v", 1_000))
        facts.append(day_closed(number, of_day))
    found = learned(facts)
    (all_known,) = steady.outs.details(SHOP, ["v"], asked(89, lead=14))
    (censored,) = found.outs.details(SHOP, ["v"], asked(89, lead=14))
    assert censored.mean == pytest.approx(all_known.mean, rel=0.15)
    scored = found.outs.calibration(SHOP, 365)
    assert scored is not None
    assert (
        round(scored.base_rate * scored.chances) == SCORED_DAYS
    )  # those foretold on the seven days before


def test_what_is_out_of_stock_or_not_counted_or_never_sold() -> None:
    sold = demanded(40, RATES)
    models = learned([*history(sold, {"much": 1}), stocked(40, 1, "new", 5)])
    models.learn(stocked(40, 1, "much", -1))
    found = models.outs
    ((key, chance),) = found.risks(SHOP, asked(39, hours=2))
    assert (key, chance > 0.99) == ("much", True)
    (gone,) = found.details(SHOP, ["much"], asked(39, hours=2))
    assert gone.date == FIRST + timedelta(days=40)
    assert list(gone.days) == [0.0, 0.0, 0.0]
    assert found.risks("nobody's", asked(39)) == []
    assert found.calibration("nobody's", 30) is None


def test_days_that_nobody_closed_and_long_silence() -> None:
    sold = demanded(60, {"v": 5.0})
    facts = history(sold, {"v": 30})
    gaps = [
        f for f in facts if not (isinstance(f.data, DayClosed) and f.data.date[-2:] in {"10", "11"})
    ]
    models = learned([*gaps, day_closed(300, {"v": 4})])
    found = models.outs
    assert found.trained_through(SHOP) == FIRST + timedelta(days=300)
    state = msgspec.json.encode(list(found.state()))
    assert len(state) < 20_000


def test_a_day_is_foretold_once_whatever_is_told_of_it_and_never_without_a_stock() -> None:
    found = Shelf()
    for number in range(20):
        found.learn(day_closed(number, {"v": 5}))
    assert (found.sales.asked, found.outs.trained_through(SHOP)) == ([], None)
    found.learn(stocked(20, 1, "v", 50))
    for number in (20, 21, 24):
        close = day_closed(number, {"v": 5})
        found.learn(close)
        for _ in range(3):
            found.outs.learn(close)
    assert found.sales.asked == [1, 1, 3]
    assert found.outs.trained_through(SHOP) == FIRST + timedelta(days=24)


def test_it_is_foretold_from_now_on_unless_days_close_no_more() -> None:
    models = learned(history([{"v": 6 + 6 * (n % 7 == 4)} for n in range(70)], {"v": 50}))
    found = models.outs
    # The day after the last is a Monday; Fridays sell twice as much.
    means = {
        hours: found.details(SHOP, ["v"], asked(69, lead=1, hours=hours))[0].mean
        for hours in (0, 12, 24 * 2.5, 24 * 30)
    }
    assert means[0] == means[12] == means[24 * 30] == pytest.approx(6, rel=0.1)
    (half,) = found.details(SHOP, ["v"], asked(69, lead=2, hours=24 * 2.5))
    assert half.mean == pytest.approx(means[0] * 1.5 + 3, rel=0.25)  # till noon on Friday
    ended = asked(69).now
    for hours, since in ((60, 60), (24 * 30, 0), (-1, 0)):
        assert found.as_of(SHOP, asked(69, hours=hours)) == ended + timedelta(hours=since)
    for cover, since in ((37, 24), (38, 0)):  # a day remains of what is foretold, or none
        question = asked(69, lead=7, cover=cover, hours=60)
        assert found.as_of(SHOP, question) == ended + timedelta(hours=since)


def test_no_cost_of_too_few_units_asks_for_an_endless_order() -> None:
    shelf = learned(history(demanded(60, RATES), {"much": 40}))
    costs = [(9999.0, 1.0), (1e9, 1e-300)]
    dear, dearest = (
        stock_outs(
            shelf.outs,
            shelf.stock,
            Wanted(SHOP, 7, 0, 0, 0.95, short, over, None, 0.0, 0.5, 30, 10),
            asked(59).now,
        )
        for short, over in costs
    )
    assert dearest == dear
    assert dearest["order_level"] == 0.9999
    assert dearest["stock_outs"][0]["order_up_to"] < 1_000


def test_what_is_at_risk_is_told_once_until_it_is_out_of_danger() -> None:
    models = Shelf()
    told: list[tuple[int, Event]] = []

    def close(number: int) -> None:
        models.learn(day_closed(number, {"v": 5 + number % 2}))
        told.extend((number, event) for event in models.outs.noticed())

    for fact in history([{"v": 5 + number % 2} for number in range(40)], {"v": 100}):
        models.learn(fact)
    assert not models.outs.noticed()
    models.learn(stocked(40, 1, "v", -75))
    for number in (40, 41):
        close(number)
    models.learn(stocked(42, 1, "v", 75))
    close(42)
    models.learn(stocked(43, 1, "v", -80))
    again = StockOuts(models.stock, models.sales)
    again.restore(msgspec.json.decode(msgspec.json.encode(list(models.outs.state()))))
    close(43)
    again.learn(day_closed(43, {"v": 6}))  # what is asked of sales and stock is known by now
    close(44)
    assert [number for number, _ in told] == [40, 43]
    (once_more,) = again.noticed()
    assert once_more == told[1][1]
    data = codec.decode_data(once_more, "catalog")
    assert isinstance(data, StockOutForeseen)
    assert (data.variant, data.product_id, data.available, data.days) == ("v", "p", 20, SCORED_DAYS)
    assert float(data.probability) >= ALERT
