"""A day of many series is learned beside answers, which are from before it until all is learned."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from app.learner.store import LearnerStore
from app.subscriptions import LEARNERS, learners_of
from ml_online import month_forecast, sales_forecast
from ml_online.models import LearningFailed, Models
from ml_online.sales_forecast import SALES_FORECAST, SalesForecaster
from ml_online.sales_series import Kind
from ml_online.stock_out_forecast import STOCK_OUTS, StockOuts
from streams.codec import Fact
from tests.learning import assortment, day_event, facts, stock_event, weekly
from tests.months import month_event

TOTAL = Kind("net", "EUR", "total")


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sales_forecast, "MANY", 8)
    monkeypatch.setattr(month_forecast, "_MANY", 1)


def history() -> list[Fact]:
    """Two shops, of which one has many series; stock, parts of days, a correction, two months."""
    days = [{**day, "c0/p0/v": day["c0/p0"]} for day in assortment(18)]
    events = [stock_event(0, "v", 90), stock_event(9, "v", -90), stock_event(11, "v", 400)]
    events += [day_event(n, values, shop="other") for n, values in enumerate(weekly(9))]
    for number, day in enumerate(days):
        first = {key: value for key, value in day.items() if key[:1] != "c"}
        rest = {key: value for key, value in day.items() if key[:1] == "c"}
        events += [day_event(number, first, part=(1, 2)), day_event(number, rest, part=(2, 2))]
    events.append(day_event(12, {"": 7}, corrected=True))
    events += [month_event(2020, month, {"": 70, "c0": 30, "c1": 40}) for month in (1, 2, 3)]
    events.append(day_event(18, days[-1]))
    return facts(events)


def sales_of(models: Models) -> SalesForecaster:
    found = models.learners[SALES_FORECAST.name]
    assert isinstance(found, SalesForecaster)
    return found


def test_beside_or_not_the_same_is_learned() -> None:
    plain, beside = Models(learners_of(LEARNERS)), Models(learners_of(LEARNERS))
    long = 0
    for fact in history():
        plain.learn(fact)
        if not beside.takes_long(fact):
            beside.learn(fact)
            continue
        long += 1
        before = beside.digest()
        learned = beside.learned_beside(fact)
        assert beside.digest() == before
        beside.take(learned, fact)
    assert long == 17 + 1 + 2, "days with their last part, the last day, months; nothing else"
    assert beside.digest() == plain.digest()
    assert beside.next_offsets == plain.next_offsets
    stock_outs = beside.learners[STOCK_OUTS.name]
    assert isinstance(stock_outs, StockOuts)
    assert stock_outs.trained_through("main") == sales_of(beside).trained_through("main")


async def test_until_it_is_learned_answers_are_from_before(monkeypatch: pytest.MonkeyPatch) -> None:
    *told, last = history()
    models = Models(learners_of(LEARNERS))
    for fact in told:
        models.learn(fact)
    store = cast(
        LearnerStore, type("Store", (), {"models": models, "loaded": True, "_connection": None})()
    )
    before = sales_of(models)
    answers = [before.forecasts("main", TOTAL, "")]
    asked, learned_beside = asyncio.Event(), models.learned_beside
    loop = asyncio.get_running_loop()

    def slowly(fact: Fact) -> object:
        found = learned_beside(fact)
        asyncio.run_coroutine_threadsafe(asked.wait(), loop).result(60)
        return found

    monkeypatch.setattr(models, "learned_beside", slowly)
    learning = asyncio.create_task(LearnerStore._learn(store, [last]))
    for _ in range(3):
        await asyncio.sleep(0.01)
        answers.append(sales_of(models).forecasts("main", TOTAL, ""))
    assert all(answer == answers[0] for answer in answers)
    asked.set()
    await learning
    now = sales_of(models).forecasts("main", TOTAL, "")
    assert now[0].day > answers[0][0].day
    assert before.forecasts("main", TOTAL, "") == answers[0]


def test_what_fails_beside_names_its_event_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    *told, last = history()
    models = Models(learners_of(LEARNERS))
    for fact in told:
        models.learn(fact)
    digest = models.digest()

    def fails(_self: StockOuts, _fact: Fact) -> Sequence[object]:
        raise ZeroDivisionError

    monkeypatch.setattr(StockOuts, "learn", fails)
    with pytest.raises(LearningFailed, match=last.event.id):
        models.learned_beside(last)
    assert models.digest() == digest
