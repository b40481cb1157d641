"""What holds for every learner there is: asking changes nothing, before anything was learned there
is an answer, memory is bounded, a state is all of it, and the same facts give the same bits."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from zlib import crc32

import msgspec
import pytest

from app.learner.recommendation_answers import (
    Told,
    policies,
    recommended,
    scores,
    similar,
    similar_persons,
    trending,
)
from app.subscriptions import LEARNER_GROUPS, learners_of
from ml_online import bought_together, customer_orders, review_figures, review_text, sales_series
from ml_online.anomalies import Anomalies
from ml_online.availability import Availability, Wanted
from ml_online.bought_together import BoughtTogether
from ml_online.customer_forecast import Customers
from ml_online.customer_segments import at_risk, segments
from ml_online.family import Learner
from ml_online.feedback import Feedback
from ml_online.models import Models
from ml_online.month_forecast import MonthLearner
from ml_online.recommender import Context, Recommender
from ml_online.sales_forecast import SalesForecaster
from ml_online.sentiment import Sentiments
from ml_online.stock_days import StockDays
from ml_online.stock_out_forecast import Question, StockOuts
from streams.codec import Fact
from streams.events import (
    Event,
    Line,
    OrderCompleted,
    OrderRefunded,
    OrderUpdated,
    RefundShare,
    ReviewEdited,
)
from streams.money import LARGEST, Money, text
from tests.learning import (
    MONDAY,
    NOON,
    assortment,
    baskets,
    day_event,
    facts,
    order_event,
    review_event,
    reviews,
    stock_event,
)
from tests.months import month_event
from tests.recommended import catalogue_event, told, visits

HEARD = [one for group in LEARNER_GROUPS for one in learners_of(group)]
FAMILIES = {one.family.name: one.family for one in HEARD}


def _ask_forecasts(learner: Learner) -> object:
    assert isinstance(learner, SalesForecaster)
    answers: list[object] = [learner.trained_through("main")]
    for kind, series in learner.series("main").items():
        answers += [learner.forecasts("main", kind, key) for key in series.begun]
        answers += [series.forecaster.scored.window(), series.forecaster.scored.by_bucket()]
        answers.append(series.drift.shifts)
    return answers


def _ask_offers(learner: Learner) -> object:
    assert isinstance(learner, BoughtTogether)
    return [learner.related("main", f"p{n}", 5) for n in range(5)]


def _ask_stock(learner: Learner) -> object:
    assert isinstance(learner, StockDays)
    days = [(MONDAY + timedelta(days=n)).toordinal() for n in range(25)]
    out = [learner.censored("main", day) for day in days]
    return [out, dict(learner.now("main")), dict(learner.at_close("main")), learner.ended("main")]


def _ask_stock_outs(learner: Learner) -> object:
    assert isinstance(learner, StockOuts)
    now = datetime.combine(MONDAY, time(), UTC) + timedelta(days=26)
    question = Question(7, 1, 7, 0.95, 0.9, now)
    likely = learner.risks("main", question)
    details = learner.details("main", [variant for variant, _ in likely], question)
    return [likely, details, learner.calibration("main", 30), learner.at_risk()]


def _ask_months(learner: Learner) -> object:
    assert isinstance(learner, MonthLearner)
    levels = (("total", ""), ("category", "c0"))
    known = [learner.currencies("main", "net", level, key) for level, key in levels]
    return [learner.trained_through("main"), known]


def _ask_anomalies(learner: Learner) -> object:
    assert isinstance(learner, Anomalies)
    now = datetime.combine(MONDAY, time(), UTC) + timedelta(days=26)
    return [learner.alerts("main"), learner.silent("main", now), learner.watched("main")]


def _ask_sentiments(learner: Learner) -> object:
    assert isinstance(learner, Sentiments)
    texts = ("Great colour, but it runs small.", "Kaunis ja hyvin tehty", "Muito bom", "")
    found: list[object] = [learner.judge("main", text) for text in texts]
    known = learner.reviews("main")
    found += [known.figure(product, 0, 10**7) for product in ("", "p0", "p1")]
    found += [list(known.by_day("p0", 0, 10**7)), learner.languages("main")]
    found.append([months.between("", "~") for months in learner.scores("main").values()])
    return found


def _ask_recommender(learner: Learner) -> object:
    assert isinstance(learner, Recommender)
    context = Context("main", "person-v1", learner.session_of("main", "v1"), NOON)
    return [
        learner.recommend(context, 20),
        learner.similar_products("main", "p1", 5),
        learner.similar_persons("main", "person-v1", 5),
        learner.trending("main", 5),
        learner.scores("main"),
        learner.features(context, "p1"),
    ]


def _ask_availability(learner: Learner) -> object:
    assert isinstance(learner, Availability)
    allowed = learner.allowed("main", Wanted("c1", 0, 50_000))
    return [(allowed(f"p{n}"), learner.offered("main", f"p{n}")) for n in range(20)]


def _ask_feedback(learner: Learner) -> object:
    assert isinstance(learner, Feedback)
    chances = learner.bandit("main").chances(("best", "new"), {"one": 1.0}, 7)
    return [learner.figures("main"), learner.policies("main"), chances]


def _ask_customers(learner: Learner) -> object:
    assert isinstance(learner, Customers)
    told = learner.customers("main", 30)
    one = [learner.customer("main", f"c{n}", 90) for n in range(9)]
    lists = [segments(told, 30).tolist(), at_risk(told, 0.5).tolist(), told.value.tolist()]
    scores = dict(learner.scores("main", date.min, date.max))
    return [one, lists, scores, learner.as_of("main"), learner.learned_through("main")]


ASK: Mapping[str, Callable[[Learner], object]] = {
    "availability": _ask_availability,
    "recommendation_feedback": _ask_feedback,
    "recommender": _ask_recommender,
    "sales_forecast": _ask_forecasts,
    "bought_together": _ask_offers,
    "anomalies": _ask_anomalies,
    "customers": _ask_customers,
    "stock_days": _ask_stock,
    "stock_outs": _ask_stock_outs,
    "monthly_forecast": _ask_months,
    "sentiment": _ask_sentiments,
}


def history(days: int = 25, orders: int = 200) -> list[Fact]:
    """Closed days with all their levels, one of them corrected; orders and moves of stock between
    them."""
    random = Random(5)
    events = [
        day_event(n, {**values, **{f"{p}/v-{p[3:]}": values[p] for p in values if "/" in p}})
        for n, values in enumerate(assortment(days))
    ]
    events.insert(days - 5, day_event(10, {"": 77, "c0/p2": 5}, corrected=True))
    moves = [
        stock_event(n, f"v-p{random.randrange(6)}", random.choice((-1, 1)) * random.randint(1, 9))
        for n in range(days)
        for _ in range(3)
    ]
    edited = review_event(1, "It broke.", 1, product="p0", kind=ReviewEdited)
    said = [*reviews(60), review_event(900, "Merci, très bon produit", 5), edited]
    changes = [catalogue_event(random, n, products=20) for n in range(40)]
    bought = [
        order_event(
            10_000 + n,
            ["p1"],
            at=datetime.combine(MONDAY, time(), UTC) + timedelta(hours=random.randrange(24 * days)),
            person=f"c{random.randrange(9)}",
        )
        for n in range(40)
    ]
    others = [*moves, *said, *bought, *changes, *visits(200)]
    for other in [*baskets(orders, seed=3), *others]:
        events.insert(random.randrange(len(events)), other)
    # Closes come in their order, wherever the orders are.
    ordered = iter(sorted((e for e in events if "Day" in e.type), key=lambda e: e.time))
    return facts(next(ordered) if "Day" in e.type else e for e in events)


def untaught() -> Models:
    return Models(HEARD)


def taught(told: list[Fact]) -> Models:
    """All of them, for they ask one another."""
    models = untaught()
    for fact in told:
        models.learn(fact)
    return models


@pytest.fixture(scope="module")
def undisturbed() -> Models:
    """What comes of the history. Nobody may change it."""
    return taught(history())


def saved(learner: Learner) -> bytes:
    return msgspec.json.encode(list(learner.state()))


def test_every_family_is_asked_here() -> None:
    assert ASK.keys() == FAMILIES.keys()


@pytest.mark.parametrize("name", FAMILIES)
def test_asking_changes_nothing_and_says_the_same_again(name: str, undisturbed: Models) -> None:
    learner, before = undisturbed.learners[name], list(undisturbed.lines())
    first = ASK[name](learner)
    assert ASK[name](learner) == first
    assert list(undisturbed.lines()) == before


@pytest.mark.parametrize("name", FAMILIES)
def test_before_anything_was_learned_there_is_an_answer(name: str) -> None:
    learner = untaught().learners[name]
    assert ASK[name](learner) is not None
    again = untaught().learners[name]
    again.restore(msgspec.json.decode(saved(learner)))
    assert saved(again) == saved(learner)


def test_the_same_facts_give_the_same_bits_wherever_they_were_killed(undisturbed: Models) -> None:
    told = history()
    models, random = untaught(), Random(1)
    for fact in told:
        if random.random() < 0.05:
            lines, models = list(models.lines()), untaught()
            models.restore(lines, {}, 0)
        models.learn(fact)
    assert list(models.lines()) == list(undisturbed.lines()) == list(taught(told).lines())
    for name, ask in ASK.items():
        assert ask(models.learners[name]) == ask(undisturbed.learners[name])


MOST_UNITS = 10_000_000
AMOUNTS = {"price", "discount", "value", "gross", "discounts", "refunds", "net"}
LINES = [Line(product_id=f"p{n}", price=Money(LARGEST), quantity=MOST_UNITS) for n in range(50)]


def _largest(said: object, within: str = "") -> object:
    """What an event tells, with the largest amounts that are taken instead of its own."""
    if isinstance(said, dict):
        return {name: _largest(value, name) for name, value in said.items()}
    if isinstance(said, list):
        return [_largest(value, within) for value in said]
    sign = -1 if str(said).startswith("-") else 1
    if within in AMOUNTS and said is not None:
        return text(sign * LARGEST)
    return sign * MOST_UNITS if within in {"quantity", "units"} else said


def _enlarged(event: Event) -> Event:
    data = msgspec.json.encode(_largest(msgspec.json.decode(event.data)))
    return msgspec.structs.replace(event, data=msgspec.Raw(data))


def largest() -> list[Fact]:
    """The history with the largest amounts in every other event, and orders of many such lines,
    sold, changed and given back."""
    events = [
        _enlarged(fact.event) if number % 2 else fact.event for number, fact in enumerate(history())
    ]
    events += [
        _enlarged(month_event(2019, month, {"": month, "c0": 1, "c0/p0": 1}))
        for month in range(1, 13)
    ]
    share = RefundShare(variant="v", amount=Money(LARGEST), tax=Money(0))
    for number in range(12):
        name, at = f"huge{number}", NOON + timedelta(hours=number)
        sold = OrderCompleted(order_id=name, currency="EUR", products=LINES)
        changed = OrderUpdated(order_id=name, currency="EUR", products=[*LINES, *LINES])
        back = OrderRefunded(order_id=name, refund_id="1", products=LINES)
        again = OrderRefunded(order_id=name, refund_id="2", shares=[share])
        for data in (sold, *((changed, back, again)[: number % 4])):
            kind = type(data).__name__
            events.append(told(data, name, f"{kind}-{name}", at=at, visitor="v1", person="c1"))
    events += [day_event(number, {"": 70, "c0": 70}) for number in range(25, 60)]
    return facts(events)


@pytest.fixture(scope="module")
def of_the_largest() -> Models:
    return taught(largest())


@pytest.mark.parametrize("name", FAMILIES)
def test_the_largest_amounts_are_learned(name: str, of_the_largest: Models) -> None:
    """What the door takes stops no learner, and leaves no state that cannot be read again."""
    learner, again = of_the_largest.learners[name], untaught().learners[name]
    again.restore(msgspec.json.decode(saved(learner)))
    assert saved(again) == saved(learner)
    assert ASK[name](learner) is not None


def test_answers_that_explore_change_nothing_either(undisturbed: Models) -> None:
    ask = Told("main", "0" * 32, "person-v1", "v1", "p1", explore=0.5, diversity=0.5)

    def answers() -> list[object]:
        made = [recommended(undisturbed, ask, NOON), scores(undisturbed, "main")]
        others = (trending, similar, similar_persons)
        return [
            *made,
            policies(undisturbed, "main", ""),
            *(one(undisturbed, ask) for one in others),
        ]

    before = list(undisturbed.lines())
    assert answers() == answers()
    assert list(undisturbed.lines()) == before


def test_memory_is_bounded_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many other names come, what is kept grows no more once its bounds are reached."""
    monkeypatch.setattr(sales_series, "MOST_SERIES", 4)
    monkeypatch.setattr(bought_together, "MOST_PRODUCTS", 20)
    monkeypatch.setattr(review_figures, "MOST_PRODUCTS", 20)
    monkeypatch.setattr(review_figures, "MOST_REVIEWS", 40)
    monkeypatch.setattr(review_text, "_of_words", lambda word: crc32(word.encode()) % 512)
    monkeypatch.setattr(review_text, "_of_parts", lambda _: {})
    monkeypatch.setattr(customer_orders, "MOST_CUSTOMERS", 20)
    monkeypatch.setattr(customer_orders, "MOST_ROWS", 50)
    models = untaught()
    sizes: dict[str, list[int]] = {name: [] for name in FAMILIES}
    for part in range(3):
        days = [
            {name.replace("p", f"q{part}-"): value for name, value in day.items()}
            for day in assortment(30)
        ]
        events = [day_event(30 * part + n, values) for n, values in enumerate(days)]
        events += baskets(200, seed=part, products=20 * (part + 1))
        events += [
            review_event(n, f"good word{n} other{n} and a thing{n}", 5, product=f"q{n}")
            for n in range(60 * part, 60 * part + 60)
        ]
        events += [
            order_event(1000 * part + n + 500, ["p1"], person=f"c{part}-{n}") for n in range(200)
        ]
        for fact in facts(events):
            models.learn(fact)
        for name, learner in models.learners.items():
            sizes[name].append(len(saved(learner)))
    # Of days more are kept until their own bound is reached: linearly many, and no more series.
    for first, second, third in sizes.values():
        assert third - second < 1.2 * (second - first) + 10_000
