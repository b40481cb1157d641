"""Recommendations: of what can be bought alone, diverse, drawn by lot with known chances."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest

from app.learner.recommendation_answers import (
    Told,
    policies,
    recommended,
    recommender_of,
    scores,
    similar,
    trending,
)
from app.subscriptions import RECOMMENDERS, learners_of
from ml_online.availability import AVAILABILITY, Availability, Wanted
from ml_online.bandit import Bandit
from ml_online.candidates import Candidate, Reason
from ml_online.diversity import diversified
from ml_online.feedback import Feedback, answer_id, placed
from ml_online.models import Models
from ml_online.off_policy import Log, could_be, estimate
from streams.events import (
    CategoryAdded,
    Event,
    ExploredSlot,
    Line,
    OrderCompleted,
    PriceChanged,
    ProductAdded,
    ProductDelisted,
    ProductListed,
    ProductViewed,
    RecommendationClicked,
    RecommendationsServed,
    RecommendationsViewed,
    StockAdjusted,
    StockReceived,
    StockReserved,
)
from streams.money import Money
from tests.learning import NOON, facts
from tests.recommended import catalogue_event, told, visits

LATER = NOON + timedelta(hours=1)


def learned(*events: Event) -> Models:
    models = Models(learners_of(RECOMMENDERS))
    for fact in facts(events):
        models.learn(fact)
    return models


def stocked(models: Models) -> Availability:
    found = models.learners[AVAILABILITY.name]
    assert isinstance(found, Availability)
    return found


class Shelf:
    """What can be bought, by another way: all that was told, added up anew each time."""

    def __init__(self) -> None:
        self.told: list[Event] = []

    def can_sell(self, product_id: str) -> bool:
        units, counted, state = 0, False, "unknown"
        for event in self.told:
            if event.subject != product_id:
                continue
            match event.type:
                case "ProductListed":
                    state = "listed"
                case "ProductDelisted":
                    state = "delisted"
                case _:
                    counted = True
                    quantity = msgspec.json.decode(event.data)["quantity"]
                    units += -quantity if event.type == "StockReserved" else quantity
        kept = any(event.type.startswith("Stock") for event in self.told)
        if state == "delisted":
            return False
        return units > 0 if counted else not (kept and state == "listed")


@pytest.mark.parametrize("seed", range(3))
def test_what_is_out_of_stock_is_served_no_more_once_that_is_learned(seed: int) -> None:
    """Whoever asks, and whatever is drawn by lot."""
    random, shelf = Random(seed), Shelf()
    models = learned(*visits(120, seed))
    for number in range(150):
        event = catalogue_event(random, number, products=20)
        shelf.told.append(event)
        (fact,) = facts([event])
        models.learn(fact)
        ask = Told("main", f"{number:032x}", session=f"v{number % 12}", explore=0.5, limit=20)
        ask = msgspec.structs.replace(ask, diversity=0.3, person=f"person-v{number % 12}")
        answers = [
            recommended(models, ask, LATER),
            trending(models, ask),
            similar(models, msgspec.structs.replace(ask, product=f"p{number % 20}")),
        ]
        listed = [one["product_id"] for found in answers for one in found["products"]]
        assert len({one["product_id"] for one in answers[0]["products"]}) == len(
            answers[0]["products"]
        )
        wrong = [one for one in listed if not shelf.can_sell(one)]
        assert wrong == [], event
        assert all(
            shelf.can_sell(f"p{n}") == stocked(models).offered("main", f"p{n}") for n in range(20)
        )
    assert any(not shelf.can_sell(f"p{n}") for n in range(20))


def test_filters_hold_for_every_place() -> None:
    listed = [
        told(
            ProductListed(product_id=f"p{n}", category=f"c{n % 3}", price=Money(10_000 * n)),
            f"p{n}",
            f"listed-{n}",
        )
        for n in range(20)
    ]
    within = told(CategoryAdded(category_id="c1", name="c1", parent="c2"), "c1", "below")
    raised = told(PriceChanged(product_id="p2", price=Money(900_000)), "p2", "raised")
    models = learned(*listed, within, raised, *visits(120))

    def found(**more: object) -> set[int]:
        ask = Told("main", "f" * 32, session="v1", limit=20, explore=0.9, **more)  # type: ignore[arg-type]
        return {int(one["product_id"][1:]) for one in recommended(models, ask, LATER)["products"]}

    assert found() >= {2, 5, 8}
    assert found(category="c2") == {n for n in range(20) if n % 3 in (1, 2)}
    assert found(category="c1", least=40_000, most=100_000) == {4, 7, 10}
    assert found(least=800_000) == {2}
    assert found(category="nowhere") == set()
    ask = Told("main", "f" * 32, person="person-v1", limit=20)
    answers = [
        {one["product_id"] for one in recommended(models, asked, LATER)["products"]}
        for asked in (ask, msgspec.structs.replace(ask, exclude_bought=True))
    ]
    own = set(recommender_of(models).bought("main", "person-v1"))
    assert own <= answers[0]
    assert answers[1] == answers[0] - own


def test_who_is_not_known_gets_what_trends_and_what_is_new() -> None:
    listed = [
        told(ProductListed(product_id=f"n{n}", category="c9"), f"n{n}", f"new-{n}")
        for n in range(3)
    ]
    models = learned(*listed, *visits(60))
    stranger = recommended(models, Told("main", "a" * 32, person="stranger", limit=30), LATER)
    kinds = [one["reason"]["kind"] for one in stranger["products"]]
    assert set(kinds[:3]) == {"trending"}
    assert {one["product_id"] for one in stranger["products"][-3:]} == {"n0", "n1", "n2"}
    assert set(kinds[-3:]) == {"new"}
    assert stranger["known"] == {"session": 0, "orders": 0}
    nobody = recommended(models, Told("nowhere", "a" * 32, person="x"), LATER)
    assert nobody["products"] == []


def test_the_next_answer_knows_of_the_event_before() -> None:
    models = learned(*visits(120))
    ask = Told("main", "b" * 32, session="newcomer", limit=5)
    before = recommended(models, ask, LATER)
    viewed = told(ProductViewed(product_id="p7"), "newcomer", "first", at=LATER)
    (fact,) = facts([viewed])
    models.learn(fact)
    after = recommended(models, ask, LATER)
    assert (before["known"]["session"], after["known"]["session"]) == (0, 1)
    assert before["products"] != after["products"]
    assert "p7" in {one["reason"]["because"] for one in after["products"]}


def test_a_diverse_list_is_not_all_of_one_kind() -> None:
    ranked = [Candidate(f"p{n}", 1 - n / 100, Reason("session")) for n in range(12)]

    def alike(one: str, other: str) -> float:
        return float(int(one[1:]) // 4 == int(other[1:]) // 4)

    same = diversified(ranked, 4, 0.0, alike)
    assert [one.product_id for one in same] == ["p0", "p1", "p2", "p3"]
    mixed = diversified(ranked, 3, 0.5, alike)
    assert [one.product_id for one in mixed] == ["p0", "p4", "p8"]
    assert len(diversified(ranked, 20, 0.5, alike)) == 12


# What became of answers.


def test_clicks_and_purchases_count_for_the_answer_that_led_to_them() -> None:
    first, second = answer_id("home", "mixed", "1"), answer_id("cart", "trending", "2")
    assert placed(first) == ("home", "mixed")
    assert placed("whatever") == ("other", "other")
    lines = [Line(product_id=one, price=Money(1)) for one in ("a", "b", "c")]
    lines.append(Line(product_id="d", price=Money(1), recommendation_id=first))
    order = OrderCompleted(order_id="o", currency="EUR", products=lines, cart_id="k")
    added = ProductAdded(cart_id="k", product_id="b", recommendation_id=second)
    models = learned(
        told(RecommendationsViewed(answer_id=first, products=["a", "c"]), "v", "1"),
        told(RecommendationsViewed(answer_id=first, products=["a"]), "v", "2"),
        told(RecommendationClicked(answer_id=first, product_id="a"), "v", "3"),
        told(RecommendationClicked(answer_id=first, product_id="a"), "v", "4"),
        told(RecommendationsViewed(answer_id=second, products=["b"]), "v", "5"),
        told(added, "k", "6"),
        told(order, "o", "7", visitor="v", at=NOON + timedelta(days=2)),
    )
    home, cart = sorted(scores(models, "main")["placements"], key=lambda one: -one["impressions"])
    assert (home["placement"], home["policy"], cart["placement"]) == ("home", "mixed", "cart")
    assert (home["viewed"], home["impressions"], home["clicked"], home["clicks"]) == (1, 2, 1, 1)
    assert (home["purchases"], home["orders"], home["click_rate"]) == (2, 1, 0.5)
    assert (cart["purchases"], cart["orders"], cart["clicks"]) == (1, 1, 0)


def test_what_is_clicked_on_in_a_placement_moves_its_candidates() -> None:
    """And of no other one."""
    models = learned(*visits(300))
    ask = Told("main", "0" * 32, session="v1", limit=6, placement="shelf")
    before = recommended(models, ask, LATER)["products"]
    wanted = before[-1]["product_id"]
    events = []
    for number in range(150):
        name = answer_id("shelf", "mixed", f"{number:032x}")
        shown = [one["product_id"] for one in before]
        shown = shown[number % 6 :] + shown[: number % 6]  # not because of where it stands
        at = LATER + timedelta(seconds=number)
        seen = RecommendationsViewed(answer_id=name, products=shown)
        clicked = RecommendationClicked(answer_id=name, product_id=wanted)
        events += [told(seen, "v1", f"seen-{number}", at=at)]
        events += [told(clicked, "v1", f"clicked-{number}", at=at)]
    for fact in facts(events):
        models.learn(fact)
    found = scores(models, "main")["reranking"]["shelf"]
    assert (found["clicks"], found["shown"]) == (150, 900)
    assert found["log_loss"] < found["log_loss_of_positions"]
    after = [one["product_id"] for one in recommended(models, ask, LATER)["products"]]
    assert after.index(wanted) < len(before) - 1
    elsewhere = msgspec.structs.replace(ask, placement="elsewhere")
    assert recommended(models, elsewhere, LATER)["products"] == before


def test_placements_that_clients_make_up_take_no_room() -> None:
    made_up = (
        told(RecommendationsViewed(answer_id=f"p{n}.x.1", products=["a"]), "v", str(n))
        for n in range(300)
    )
    found = scores(learned(*made_up), "main")["placements"]
    assert len(found) <= 65
    assert sum(one["viewed"] for one in found) == 300


def test_what_is_drawn_by_lot_teaches_and_tells_of_other_policies() -> None:
    models = learned(*visits(3_000))
    bandit = models.learners["recommendation_feedback"]
    assert isinstance(bandit, Feedback)
    chances = bandit.bandit("main").chances(
        ("best", "new", "trending"), {"one": 1.0, "place": 0.5}, 1
    )
    assert chances["new"] > 0.8  # the floor leaves no more than 0.867
    assert sum(chances.values()) == pytest.approx(1)
    found = {one["policy"]: one for one in policies(models, "main", "")["policies"]}
    assert set(found) == {"acted", "even", "always best", "always new", "always trending"}
    for name, truth in (("always new", 0.7), ("always best", 0.1), ("even", 0.3)):
        for how in ("ips", "snips"):
            assert found[name][how]["low"] - 0.05 < truth < found[name][how]["high"] + 0.05
    assert found["always new"]["ips"]["low"] > found["always best"]["ips"]["high"]
    assert policies(models, "main", "elsewhere")["policies"] == []


def drawn_answer(number: int, told_id: str, features: dict[str, float]) -> Event:
    slot = ExploredSlot(
        position=0,
        arm="new",
        products={"best": "a", "new": "b"},
        propensities={"best": 0.5, "new": 0.5},
        features=features,
    )
    served = RecommendationsServed(
        answer_id=told_id, placement="home", policy="mixed", products=["b"], explored=[slot]
    )
    return told(served, "v", f"served-{number}")


def test_a_click_decides_nothing_until_its_view_is_told() -> None:
    """Else whoever tells of clicks alone would have all places clicked on."""
    names = [answer_id("home", "mixed", str(number)) for number in range(30)]
    events = [drawn_answer(number, name, {"one": 1.0}) for number, name in enumerate(names)]
    events += [
        told(RecommendationClicked(answer_id=name, product_id="b"), "v", f"clicked-{name}")
        for name in names[:10]
    ]
    models = learned(*events)
    bandit = models.learners["recommendation_feedback"]
    assert isinstance(bandit, Feedback)
    assert bandit.policies("main") == {}
    kept = msgspec.json.decode(msgspec.json.encode(list(bandit.state())))
    bandit.restore(kept)
    views = [
        told(RecommendationsViewed(answer_id=name, products=["b"]), "v", f"{again}-{name}")
        for name in names[5:20]
        for again in ("viewed", "viewed-again")
    ]
    later = told(RecommendationsViewed(answer_id="x.y.z", products=["b"]), "v", "z", at=LATER)
    for fact in facts([*views, later]):
        models.learn(fact)
    acted = bandit.policies("main")["acted"]
    assert acted is not None
    assert acted.decisions == 15
    assert acted.ips.value == pytest.approx(1 / 3)


def test_a_long_list_that_is_seen_again_and_again_counts_once() -> None:
    name = answer_id("home", "mixed", "1")
    views = [
        told(
            RecommendationsViewed(answer_id=name, products=[f"p{n}" for n in range(first, last)]),
            *("v", f"viewed-{number}"),
        )
        for number, (first, last) in enumerate([(0, 60), (50, 150), (50, 150), (100, 150)])
    ]
    (home,) = scores(learned(*views), "main")["placements"]
    assert home["impressions"] == 100


def test_a_slot_of_which_nothing_was_known_teaches_too() -> None:
    name = answer_id("home", "mixed", "1")
    models = learned(
        drawn_answer(1, name, {}),
        told(RecommendationsViewed(answer_id=name, products=["b"]), "v", "viewed"),
        told(RecommendationClicked(answer_id=name, product_id="b"), "v", "clicked"),
    )
    feedback = models.learners["recommendation_feedback"]
    assert isinstance(feedback, Feedback)
    arms = ("best", "new")
    assert feedback.bandit("main").chances(arms, {}, 1)["new"] > 0.5
    assert feedback.bandit("main").chances(arms, {}, 1) == (
        feedback.bandit("main").chances(arms, {"one": 1.0}, 1)
    )


def test_what_no_situation_can_be_leaves_a_bandit_of_numbers() -> None:
    bandit = Bandit()
    for value in (1e308, -1e308, 1.0):
        bandit.learn("a", {"one": 1.0, "place": value}, 1.0)
    chances = bandit.chances(("a", "b"), {"one": 1.0, "place": 1e308}, 1)
    assert sum(chances.values()) == pytest.approx(1)
    assert chances["a"] > 0.5


def test_who_was_erased_is_led_nowhere() -> None:
    name, erased = answer_id("home", "mixed", "1"), "erased-" + "0" * 32
    clicked = RecommendationClicked(answer_id=name, product_id="a")
    added = ProductAdded(cart_id="k", product_id="b", recommendation_id=name)
    line = Line(product_id="a", price=Money(1))
    order = OrderCompleted(order_id="o", currency="EUR", products=[line])
    models = learned(
        told(clicked, erased, "1", person=erased),
        told(added, "k", "2", person=erased),
        told(order, "o", "3", visitor=erased, person=erased),
    )
    feedback = models.learners["recommendation_feedback"]
    assert "erased-" not in str(list(feedback.state()))
    (home,) = scores(models, "main")["placements"]
    assert (home["clicks"], home["purchases"]) == (1, 0)


def test_a_lot_is_drawn_by_the_chances_that_are_told() -> None:
    bandit, features = Bandit(), {"one": 1.0}
    for number in range(300):
        bandit.learn("a", features, float(number % 2 == 0))
        bandit.learn("b", features, float(number % 3 == 0))
    drawn = [bandit.draw(("a", "b", "c"), features, seed) for seed in range(2_000)]
    for arm in ("a", "b", "c"):
        expected = np.mean([one.propensities[arm] for one in drawn])
        share = np.mean([one.arm == arm for one in drawn])
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / len(drawn)) + 1e-9
    assert bandit.draw(("a", "b"), features, 7) == bandit.draw(("a", "b"), features, 7)
    assert min(min(one.propensities.values()) for one in drawn) >= 0.2 / 3 - 1e-12


def test_the_estimate_of_another_policy_is_within_its_interval_of_the_truth() -> None:
    """Of 400 logs of a simulated shop, in some 95 of 100, for both estimators."""
    rng = np.random.default_rng(5)
    logs, size = 400, 2_000
    click = np.array([[0.05, 0.2, 0.1], [0.3, 0.05, 0.1]])  # by kind of visitor and arm
    acted = np.array([[0.6, 0.2, 0.2], [0.5, 0.3, 0.2]])
    wanted = np.array([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]])
    truth = float((click * wanted).sum(axis=1).mean())
    within = {"ips": 0, "snips": 0}
    for _ in range(logs):
        kind = rng.integers(0, 2, size)
        arm = (rng.random(size)[:, None] > acted[kind].cumsum(axis=1)[:, :2]).sum(axis=1)
        rewards = (rng.random(size) < click[kind, arm]).astype(np.float64)
        found = estimate(wanted[kind, arm] / acted[kind, arm], rewards)
        assert found is not None
        within["ips"] += found.ips.low <= truth <= found.ips.high
        within["snips"] += found.snips.low <= truth <= found.snips.high
    assert within["ips"] >= 0.92 * logs
    assert within["snips"] >= 0.92 * logs


def test_of_what_was_never_done_nothing_is_estimated() -> None:
    logged = [{"a": 0.5, "b": 0.5}] * 10
    weights = importance([{"c": 1.0}] * 10, logged, ["a"] * 10)
    found = estimate(weights, np.ones(10))
    assert found is not None
    assert (found.effective, found.ips.low, found.ips.high) == (0.0, 0.0, 1.0)
    assert estimate(weights[:1], np.ones(1)) is None


def test_stock_of_which_there_is_no_room_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_online.availability.MOST_PRODUCTS", 2)
    events = [
        told(StockReceived(product_id=f"p{n}", quantity=1), f"p{n}", f"in-{n}") for n in range(4)
    ]
    stock = stocked(learned(*events))
    assert [stock.offered("main", f"p{n}") for n in range(5)] == [True, True, False, False, False]
    assert stock.offered("elsewhere", "p4")


def test_variants_of_a_product_are_in_stock_one_by_one() -> None:
    def at(number: int, data: StockReceived | StockAdjusted | ProductDelisted) -> Event:
        return told(data, "p", f"move-{number}")

    moves = [
        at(0, StockReceived(product_id="p", variant="red", quantity=1)),
        at(1, StockReceived(product_id="p", variant="blue", quantity=1)),
        at(2, StockReserved(product_id="p", variant="red", quantity=1, order_id="o")),
    ]
    assert stocked(learned(*moves)).offered("main", "p")
    gone = [*moves, at(3, StockAdjusted(product_id="p", variant="blue", quantity=-1))]
    assert not stocked(learned(*gone)).offered("main", "p")
    back = [*gone, at(4, StockReceived(product_id="p", variant="red", quantity=2))]
    assert stocked(learned(*back)).offered("main", "p")
    assert not stocked(learned(*back, at(5, ProductDelisted(product_id="p")))).offered("main", "p")
    assert stocked(learned(*moves)).allowed("main", Wanted())("never heard of")


def test_nothing_counts_that_an_answer_did_not_have() -> None:
    name = answer_id("home", "mixed", "1")
    models = learned(
        drawn_answer(1, name, {"one": 1.0}),
        told(RecommendationsViewed(answer_id=name, products=["forged", "b"]), "v", "viewed"),
        told(RecommendationsViewed(answer_id=name, products=["forged"]), "v", "again"),
        told(RecommendationClicked(answer_id=name, product_id="forged"), "v", "clicked"),
    )
    (home,) = scores(models, "main")["placements"]
    counts = [home[what] for what in ("served", "viewed", "impressions", "clicked", "clicks")]
    assert counts == [1, 1, 1, 0, 0]
    feedback = models.learners["recommendation_feedback"]
    assert isinstance(feedback, Feedback)
    assert "forged" not in str(list(feedback.state()))


@pytest.mark.parametrize(
    "chances",
    [
        {"best": 0.5, "new": 0.6},
        {"best": 1.5, "new": -0.5},
        {"best": 1.0, "new": 0.0},
        {"best": 1.0},
        {},
    ],
)
def test_a_place_whose_chances_cannot_be_teaches_nothing(chances: dict[str, float]) -> None:
    slot = ExploredSlot(
        position=0, arm="new", products={"best": "a", "new": "b"}, propensities=chances
    )
    name = answer_id("home", "mixed", "1")
    served = RecommendationsServed(
        answer_id=name, placement="home", policy="mixed", products=["b"], explored=[slot]
    )
    models = learned(
        told(served, "v", "served"),
        told(RecommendationsViewed(answer_id=name, products=["b"]), "v", "viewed"),
        told(RecommendationClicked(answer_id=name, product_id="b"), "v", "clicked"),
    )
    (home,) = scores(models, "main")["placements"]
    assert (home["viewed"], home["clicks"]) == (1, 1)
    assert policies(models, "main", "")["policies"] == []
    assert not could_be(chances, "new")


def test_of_two_places_that_stand_at_one_position_the_first_teaches() -> None:
    chances = {"best": 0.5, "new": 0.5}
    slots = [
        ExploredSlot(position=0, arm=arm, products={"best": "a", "new": "b"}, propensities=chances)
        for arm in ("new", "best")
    ]
    name = answer_id("home", "mixed", "1")
    served = RecommendationsServed(
        answer_id=name, placement="home", policy="mixed", products=["b", "a"], explored=slots
    )
    models = learned(
        told(served, "v", "served"),
        told(RecommendationsViewed(answer_id=name, products=["b", "a"]), "v", "viewed"),
        *(
            told(RecommendationClicked(answer_id=name, product_id=one), "v", f"clicked-{one}")
            for one in "ab"
        ),
        drawn_answer(2, answer_id("home", "mixed", "2"), {}),
        told(
            RecommendationsViewed(answer_id=answer_id("home", "mixed", "2"), products=["b"]),
            *("v", "viewed-2"),
        ),
        told(
            RecommendationClicked(answer_id=answer_id("home", "mixed", "2"), product_id="b"),
            *("v", "clicked-2"),
        ),
    )
    assert policies(models, "main", "")["policies"] == []  # hits count when misses do
    later = told(RecommendationsViewed(answer_id="x.y.z", products=["b"]), "v", "z", at=LATER)
    for fact in facts([later]):
        models.learn(fact)
    acted = {one["policy"]: one for one in policies(models, "main", "")["policies"]}["acted"]
    assert acted["decisions"] == 2  # and not three
    assert acted["ips"] == {"value": 1.0, "low": None, "high": None}  # of so few


def importance(
    target: Sequence[Mapping[str, float]],
    logged: Sequence[Mapping[str, float]],
    taken: Sequence[str],
) -> Any:
    """How much likelier the target would have taken each decision than it was."""
    pairs = zip(target, logged, taken, strict=True)
    return np.array([would.get(one, 0.0) / was[one] for would, was, one in pairs])


def test_what_policies_weigh_is_what_each_decision_says() -> None:
    random, most = Random(7), 60
    log, told = Log(most), []
    for _ in range(200):
        among = random.sample(["best", "new", "alike", "trending"], random.randint(1, 4))
        sizes = [random.random() + 0.1 for _ in among]
        chances = {arm: size / sum(sizes) for arm, size in zip(among, sizes, strict=True)}
        told.append((random.choice(among), chances, float(random.randrange(2)), random.random()))
        log.add(*told[-1][:3])
    told = told[-most:]
    for counted in (None, [which < 0.5 for *_, which in told]):
        of = [one for n, one in enumerate(told) if counted is None or counted[n]]
        taken, logged = [one[0] for one in of], [one[1] for one in of]
        targets = {
            "acted": logged,
            "even": [dict.fromkeys(chances, 1 / len(chances)) for chances in logged],
        }
        for arm in ("best", "new", "alike", "trending"):
            targets[f"always {arm}"] = [
                {arm: 1.0} if arm in chances else {"best": 1.0} if "best" in chances else chances
                for chances in logged
            ]
        found = log.policies("best", counted)
        assert found.keys() == targets.keys()
        for name, target in targets.items():
            assert found[name].weights == pytest.approx(importance(target, logged, taken))
            assert found[name].rewards.tolist() == [one[2] for one in of]


def test_kinds_of_decisions_take_no_room_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_online.off_policy._MOST_KINDS", 8)
    log = Log(5)
    for number in range(100):
        log.add(f"a{number}", {f"a{number}": 1.0}, float(number))
        assert len(log.policies("best")["acted"].rewards) == min(number + 1, 5)
    assert "always a99" in log.policies("best")
    assert "always a10" not in log.policies("best")
