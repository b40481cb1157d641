"""What judges the chances: truths held against draws, scores against their definitions."""

import numpy as np
import pytest

from loadtests.stock_outs.chances import scores
from loadtests.stock_outs.demand import KINDS, Kind, market, true_chances, true_quantiles

ITEMS, DAYS = 12, 20


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_true_chances_are_the_shares_of_many_draws(kind: Kind) -> None:
    of = market(kind, 5, DAYS, ITEMS)
    random = np.random.default_rng(1)
    means = np.broadcast_to(of.mean[:, 3:10], (4_000, ITEMS, 7))
    shapes = np.broadcast_to(of.shape, means.shape).copy()
    sums = kind.drawn(random, means, shapes).sum(axis=2)
    stock = np.floor(of.mean[:, 3:10].sum(axis=1) * 1.2)
    found = true_chances(of, 3, 7, stock)
    assert found == pytest.approx((sums > stock).mean(axis=0), abs=0.07)
    assert found.mean() == pytest.approx((sums > stock).mean(), abs=0.03)
    enough = true_quantiles(of, 3, 7, 0.9)
    assert ((sums <= enough).mean(axis=0) >= 0.83).all()
    assert ((sums <= enough - 1).mean(axis=0) <= 0.97).all()


def test_scores_are_their_definitions() -> None:
    random = np.random.default_rng(2)
    chance = random.integers(0, 11, 300) / 10
    outcome = (random.random(300) < chance).astype(float)
    found = scores(chance, outcome)
    pairs = [(a > b) + (a == b) / 2 for a in chance[outcome > 0] for b in chance[outcome == 0]]
    assert found.auc == pytest.approx(np.mean(pairs))
    assert found.brier == pytest.approx(np.mean((chance - outcome) ** 2))
    parts = [np.minimum((chance * 10).astype(int), 9) == part for part in range(10)]
    off = [abs(chance[part].mean() - outcome[part].mean()) * part.mean() for part in parts]
    assert found.ece == pytest.approx(sum(off))
    assert scores(outcome, outcome).auc == 1.0
