"""What a market's sales teach day by day, and who says how likely which stock runs out."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from loadtests.stock_outs.demand import Market, true_chances
from ml_online.daily import HORIZON, Array, DailyForecaster
from ml_online.lead_time import LeadTimes
from ml_online.stock_outs import exceeds

OURS = "Tillstream"
NORMAL, POISSON = "Normal", "Poisson"
CONTENDERS = (
    OURS,
    "negative binomial alone",
    NORMAL,
    "Normal, √L days",
    POISSON,
    "rolling sums",
    "base rate",
    "the truth",
)
LEADS = (3, 7, 14, 28)
WARM_UP = 200  # days before the first chance that counts

_EVERY = 7  # days between origins
_ROLLING = 180
_FADE = 0.98  # a day, of a textbook's variance of a day
_COVER = (0.4, 2.2)  # what merchants have in stock, in lead times at the last four weeks' rate


class Today(NamedTuple):
    """What is known at the close of a day, to all contenders."""

    day: int
    sums: Array  # foretold [item, day]: of all days up to each one ahead
    day_variance: Array  # of what single days were off
    times: LeadTimes


class Judged(NamedTuple):
    """Chances by contender, and whether they came true."""

    chances: Mapping[str, Array]
    outcomes: Array


class Scores(NamedTuple):
    brier: float
    ece: float
    log_loss: float
    auc: float


def closes(of: Market) -> Iterator[Today]:
    """One day of a market after the other: predicted, scored, learned, by what is served."""
    items, days = of.demand.shape
    forecaster, times = DailyForecaster(("promotion",)), LeadTimes()
    forecaster.rows([f"item {number}" for number in range(items)])
    times.grow(items)
    promotions = np.hstack([of.promotions, np.zeros((items, HORIZON))])[..., None]
    variance, tomorrow = np.zeros(items), np.full(items, np.nan)
    for day in range(days):
        sold = of.demand[:, day]
        error = np.nan_to_num(sold - tomorrow)
        variance = _FADE * variance + (1 - _FADE) * error**2
        ahead = promotions[:, day + 1 : day + 1 + HORIZON]
        forecaster.close(700_000 + day, sold, promotions[:, day], ahead)
        times.close(sold)
        point = forecaster.forecast(HORIZON, ahead).point
        sums, tomorrow = np.cumsum(point, axis=1), point[:, 0]
        times.foretell(sums)
        yield Today(day, sums, variance, times)


def judged(of: Market, seed: int) -> dict[int, Judged]:
    """By lead time, what came of the chances of all origins after the warm-up."""
    random = np.random.default_rng([seed, 1])
    found: dict[int, list[Judged]] = defaultdict(list)
    base: dict[int, list[Array]] = defaultdict(list)
    for today in closes(of):
        day = today.day
        last = day + 1 + max(LEADS)
        if day < WARM_UP or day % _EVERY or last > of.demand.shape[1]:
            continue
        for lead in LEADS:
            past = of.demand[:, day - 27 : day + 1].mean(axis=1)
            cover = random.uniform(*_COVER, len(past))
            stock = np.floor(past * lead * cover + random.uniform(0, 2, len(past)))
            over = (of.demand[:, day + 1 : day + 1 + lead].sum(axis=1) > stock).astype(float)
            told = _told(of, today, lead, stock)
            # Of origins of which all is known by now.
            before = base[lead][: max(0, len(base[lead]) - -(-lead // _EVERY) + 1)]
            rate = float(np.mean(before)) if before else 0.5
            chances = {**told, "base rate": np.full(len(stock), rate)}
            base[lead].append(over)
            found[lead].append(Judged({name: chances[name] for name in CONTENDERS}, over))
    return {lead: together(of_lead) for lead, of_lead in found.items()}


def _told(of: Market, today: Today, lead: int, stock: Array) -> dict[str, Array]:
    day, told = today.day, np.maximum(today.sums[:, lead - 1], 1e-9)
    own = today.times.demand(told, lead)
    history = np.cumsum(of.demand[:, max(0, day + 1 - _ROLLING) : day + 1], axis=1)
    rolling = history[:, lead:] - history[:, :-lead]
    return {
        OURS: today.times.exceeds(told, lead, stock),
        "negative binomial alone": exceeds(own, stock),
        NORMAL: special.ndtr((own.mean - stock - 0.5) / np.sqrt(own.variance)),
        "Normal, √L days": special.ndtr(
            (told - stock) / np.sqrt(np.maximum(lead * today.day_variance, 1e-9))
        ),
        POISSON: special.gammainc(stock + 1, own.mean),
        "rolling sums": (rolling > stock[:, None]).mean(axis=1),
        "the truth": true_chances(of, day + 1, lead, stock),
    }


def together(judged: Sequence[Judged]) -> Judged:
    """All in one."""
    chances = {
        name: np.concatenate([one.chances[name] for one in judged]) for name in judged[0].chances
    }
    return Judged(chances, np.concatenate([one.outcomes for one in judged]))


def scores(chance: Array, outcome: Array, parts: int = 10) -> Scores:
    """Of chances that came true (1.0) or not (0.0); the calibration error is that of equal parts
    of [0, 1]."""
    part = np.minimum((chance * parts).astype(np.int64), parts - 1)
    off = np.bincount(part, weights=chance - outcome, minlength=parts)
    sure = np.clip(np.where(outcome > 0, chance, 1 - chance), 1e-6, 1.0)
    order = np.argsort(np.argsort(chance, kind="stable"), kind="stable") + 1.0
    _, same = np.unique(chance, return_inverse=True)
    ranks = (np.bincount(same, weights=order) / np.bincount(same))[same]
    true = outcome.sum()
    false = len(outcome) - true
    area = (ranks[outcome > 0].sum() - true * (true + 1) / 2) / max(true * false, 1.0)
    return Scores(
        brier=float(((chance - outcome) ** 2).mean()),
        ece=float(np.abs(off).sum() / len(chance)),
        log_loss=float(-np.log(sure).mean()),
        auc=float(area),
    )
