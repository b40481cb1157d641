"""What is clicked moves candidates, as far as there is evidence, and no farther."""

import json
from random import Random

from ml_online import reranking
from ml_online.reranking import Reranker


def taught(lists: int, *, informed: bool, seed: int = 3) -> Reranker:
    """Lists of five; what is clicked has the feature, or has it by chance only."""
    random, model = Random(seed), Reranker()
    for number in range(lists):
        good = random.randrange(5)
        clicked = good if informed else random.randrange(5)
        shown = [(f"p{n}", {"session": 0.9 if n == good else 0.1, "own": 0.5}) for n in range(5)]
        model.viewed(f"a{number}", shown, 60.0 * number)
        if random.random() < 0.5:
            model.clicked(f"a{number}", f"p{clicked}")
    return model


SCORED = [(0.5, {"session": 0.1, "own": 0.5}), (0.4, {"session": 0.9, "own": 0.5})]


def test_before_any_click_nothing_moves() -> None:
    assert Reranker().moved(SCORED) == [0.5, 0.4]
    assert taught(400, informed=False).moved(SCORED) == [0.5, 0.4]


def test_what_is_clicked_comes_first() -> None:
    model = taught(400, informed=True)
    first, second = model.moved(SCORED)
    assert second > first
    assert 0.5 < model.strength < 1
    assert second <= 0.4 * 2.72**2 + 0.1


def test_a_list_is_learned_once_by_its_click_or_when_its_time_is_over() -> None:
    model = Reranker()
    model.viewed("a", [("p", {}), ("q", {})], 0.0)
    model.viewed("a", [("p", {}), ("q", {})], 1.0)
    assert model.clicked("a", "q")
    assert not model.clicked("a", "q")
    assert (model.clicks, model.shown) == (1, 2)
    model.viewed("b", [("p", {})], 2.0)
    model.viewed("c", [("p", {})], 2.0 + reranking.PATIENCE_SECONDS)
    assert (model.clicks, model.shown) == (1, 2)
    model.viewed("d", [("p", {})], 3.0 + reranking.PATIENCE_SECONDS)
    assert (model.clicks, model.shown) == (1, 3)
    assert not model.clicked("b", "p")


def test_a_state_is_all_of_it() -> None:
    model, again = taught(100, informed=True), Reranker()
    rows = json.loads(json.dumps(list(model.state())))
    again.restore(rows)
    for one in (model, again):
        one.viewed("next", [("p", {"session": 0.3})], 9_000.0)
        one.clicked("next", "p")
    assert json.dumps(list(again.state())) == json.dumps(list(model.state()))
    assert again.moved(SCORED) == model.moved(SCORED)
