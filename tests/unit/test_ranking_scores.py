"""Figures of lists, against what they are by definition."""

from math import log2
from random import Random

import msgspec
import pytest

from ml_online.mixture import Mixture
from ml_online.ranking_scores import WINDOW, RankingScores, outcome


def test_one_target_is_what_textbooks_say() -> None:
    assert outcome(["a", "b", "c"], ["b"]) == (1, 1, 1 / 2, 1 / log2(3))
    assert outcome(["a", "b", "c"], ["z"]) == (1, 0, 0.0, 0.0)
    assert outcome([], ["z"]) == (1, 0, 0.0, 0.0)


def test_of_a_basket_each_product_is_a_target() -> None:
    targets, hits, reciprocal, ndcg = outcome(["a", "b", "c", "d"], ["d", "a", "z", "a"])
    assert (targets, hits, reciprocal) == (3, 2, 1 + 1 / 4)
    assert ndcg == pytest.approx((1 + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / log2(4)))


def test_figures_are_those_of_a_plain_recount() -> None:
    random, scores = Random(2), RankingScores()
    told = []
    for _ in range(WINDOW + 300):
        listed = random.sample([f"p{n}" for n in range(60)], 20)
        came = random.choices([f"p{n}" for n in range(60)], k=random.randint(1, 3))
        told.append((listed, set(came)))
        scores.note(listed, came, len(listed) / 4)
    latest = told[-WINDOW:]
    ranks = [
        listed.index(one) + 1 if one in listed else None for listed, came in latest for one in came
    ]
    found = scores.figures(catalogue=120)
    assert found["hr@20"] == pytest.approx(sum(rank is not None for rank in ranks) / len(ranks))
    assert found["mrr@20"] == pytest.approx(sum(1 / rank for rank in ranks if rank) / len(ranks))
    assert (found["judged"], found["window"]) == (WINDOW + 300, WINDOW)
    assert (found["coverage"], found["novelty"]) == (0.5, 5.0)
    again = RankingScores()
    again.restore(msgspec.json.decode(msgspec.json.encode(list(scores.state()))))
    assert again.figures(120) == found


def test_without_any_outcome_there_are_no_figures() -> None:
    assert RankingScores().figures(10)["hr@20"] is None


def test_whoever_foretells_is_believed_and_who_was_not_asked_is_not_judged() -> None:
    mixture, random = Mixture(("good", "bad", "silent")), Random(1)
    for _ in range(500):
        came = f"p{random.randrange(5)}"
        good = {came: 3.0, "p9": 1.0}
        bad = {f"p{n}": 1.0 for n in range(10)}
        mixed = mixture.mix("there", {"good": good, "bad": bad})
        mixture.learn("there", {"good": good, "bad": bad}, mixed, [came])
    weights = mixture.weights("there")
    assert weights["good"] > 0.6
    assert weights["bad"] < 0.02
    assert weights["silent"] == pytest.approx(1 / 3)
    assert mixture.weights("elsewhere") == dict.fromkeys(("good", "bad", "silent"), 1 / 3)
    assert sum(weights.values()) == pytest.approx(1)


def test_scores_too_small_to_divide_by_say_nothing() -> None:
    mixture = Mixture(("old", "new"))
    old, new = {"a": 5e-324, "b": 1e-310}, {"a": 1.0, "c": 1.0}
    mixed = mixture.mix("there", {"old": old, "new": new})
    assert mixed == {"a": 0.25, "c": 0.25}
    mixture.learn("there", {"old": old, "new": new}, mixed, ["a"])
    weights = mixture.weights("there")
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["old"] > 0.4
    again = Mixture(("old", "new"))
    again.restore(msgspec.json.decode(msgspec.json.encode(list(mixture.state()))))
    assert again.weights("there") == weights


def test_weights_are_numbers_whatever_was_mixed() -> None:
    mixture = Mixture(("one", "other"))
    found = {"one": {"a": 1.0}, "other": {"a": 1.0}}
    mixture.learn("there", found, {"a": 5e-324}, ["a"])
    assert mixture.weights("there") == {"one": 0.5, "other": 0.5}
