"""How a review's words lean, learned from the stars it came with: one model for each language.

Two learners that err differently look at the same words: River's logistic regressions, one for
each class against the others, by AdaGrad; and the log odds of each word in each class, as naive
Bayes has them, which need fewer reviews. A third opinion is that of short lists of words that
praise and blame, for the first reviews. What the three say is weighed by a softmax regression,
which learns with every review how far each can be believed: so the lists count for much in the
beginning and for little in the end, and probabilities hold for reviews that were not learned yet.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml_online.review_text import SPACE, WORDS, Text
from ml_online.sentiment_thresholds import CLASSES, Thresholds
from ml_online.sentiment_words import BLAME, HEDGES, NEGATORS, PRAISE

if TYPE_CHECKING:
    from river.linear_model import LogisticRegression

Array = NDArray[np.float64]

_RATE = 0.3
_INTERCEPT_RATE = 0.05
_RARE = 0.25
"""By which power of its rarity a class weighs more in the regressions."""
_SURE = 0.15
"""A regression that errs by less learns nothing: half the work, and better probabilities."""
_SMOOTHED = 0.3  # of a word that was never seen in a class
_CERTAIN = 1e-9

_SCOPE = 3  # words that a negation reaches in the lists' eyes
_INPUTS = 3 + 3 + 4  # of the regressions, of the odds, of the lists, and 1
_MIX_RATE = 0.1
_MIX_SCALE_REVIEWS = 20.0
_MIX_FIRST = 0.02  # of squared gradients: how fast the first reviews change the mix
_SHARES = (-0.9, -1.2, 1.0)  # as logits: what shops' stars are like

KNOWN_FROM = 200
"""Reviews, before a language that there are no lists of can be said to be known."""
_SKILL = 0.9
"""Of the Brier score of shares alone, that predictions must be below for it to be known."""
_SKILL_REVIEWS = 200.0


class Opinion(NamedTuple):
    """Probabilities of negative, neutral and positive, and which is called."""

    probabilities: tuple[float, float, float]
    called: int

    @property
    def confidence(self) -> float:
        """How likely it is that stars would say the same."""
        return self.probabilities[self.called]


class Reading(NamedTuple):
    """A review as a model sees it before it learns: what the mix looks at, and what comes of it."""

    inputs: Array
    found: Array
    opinion: Opinion


def class_of(stars: int) -> int:
    """One and two are negative, three neutral, four and five positive."""
    return 0 if stars <= 2 else 1 if stars == 3 else 2


def listed(words: Sequence[str], language: str) -> tuple[int, int, int]:
    """Words of a text that praise, blame and hedge; a negation before one turns it round."""
    praise, blame = PRAISE.get(language, frozenset()), BLAME.get(language, frozenset())
    hedges = HEDGES.get(language, frozenset())
    praised = blamed = hedged = scope = 0
    for word in words:
        leans = (word in praise) - (word in blame)
        if scope:
            leans = -leans
        praised += leans > 0
        blamed += leans < 0
        hedged += word in hedges
        scope = _SCOPE if word in NEGATORS or word.endswith("n't") else max(0, scope - 1)
    return praised, blamed, hedged


class SentimentModel:
    """Learns one language of one shop."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.learned = [0, 0, 0]  # reviews of each class
        self._regressions = [_regression() for _ in CLASSES]
        # Of reviews that have a feature, by class; a feature's lie beside one another in memory.
        self._counts = np.zeros((SPACE, len(CLASSES)), dtype=np.int32)
        self._features = np.zeros(len(CLASSES))  # in all reviews of a class
        self._vocabulary = 0
        self._mix = _first_mix()
        self._mix_squares = np.full((len(CLASSES), _INPUTS), _MIX_FIRST)
        self._scale = np.ones(_INPUTS)
        self._mixed = 0
        self.thresholds = Thresholds()
        self._brier, self._brier_of_shares = 0.0, 0.0  # running
        self.known_since: str | None = None
        """The day on which a language without lists became known."""

    @property
    def seeded(self) -> bool:
        """Whether there are lists of its words."""
        return self.language in PRAISE

    @property
    def known(self) -> bool:
        """Whether what it says of this language is to be heard."""
        return self.seeded or self.known_since is not None

    def familiar(self, text: Text) -> float:
        """The share of a text's words, and their parts, that it has seen."""
        if not text.features:
            return 0.0
        return float(self._counts[text.features].any(axis=1).mean())

    def reading(self, text: Text) -> Reading:
        """A whole review."""
        inputs = self._inputs(text.features, list(text.words))
        found = self._softmax(inputs)
        negative, neutral, positive = found.tolist()
        called = self.thresholds.call(found)
        return Reading(inputs, found, Opinion((negative, neutral, positive), called))

    def leaning(self, words: Sequence[str], features: Sequence[int]) -> Array:
        """How a part of a review leans by itself, as if all classes were as frequent."""
        found = self._softmax(self._inputs(features, words)) / self._shares() ** 0.8
        return np.asarray(found / found.sum())

    def _shares(self) -> Array:
        """Of the classes, with a prior of twenty reviews."""
        prior = np.exp(_SHARES)
        counted = np.array(self.learned) + 20.0 * prior / prior.sum()
        return np.asarray(counted / counted.sum())

    def _inputs(self, features: Sequence[int], words: Sequence[str]) -> Array:
        """What the mix looks at."""
        found = np.ones(_INPUTS)
        if features:
            found[:3] = self._regressed(features)
            found[3:6] = self._odds(features)
        else:
            found[:6] = 0.0
        praised, blamed, hedged = listed(words, self.language)
        found[6] = (praised - blamed) / np.sqrt(praised + blamed + 1)
        found[7] = min(praised, blamed) / 2
        found[8] = hedged / np.sqrt(hedged + 1)
        return found

    def _regressed(self, features: Sequence[int]) -> list[float]:
        """The regressions' logits."""
        told = _told(features)
        chances = [model.predict_proba_one(told)[True] for model in self._regressions]
        bounded = [min(max(chance, _CERTAIN), 1 - _CERTAIN) for chance in chances]
        return [float(np.log(chance / (1 - chance))) for chance in bounded]

    def _odds(self, features: Sequence[int]) -> Array:
        """Log odds of the words in each class against the others, for each root of a word."""
        seen = self._counts[features] + _SMOOTHED
        others = seen.sum(axis=1, keepdims=True) - seen - (len(CLASSES) - 2) * _SMOOTHED
        smoothed = _SMOOTHED * max(1, self._vocabulary)
        rest = self._features.sum() - self._features
        odds = np.log(seen / others * ((rest + smoothed) / (self._features + smoothed)))
        return np.asarray(odds.sum(axis=0) / np.sqrt(len(features)))

    def _scaled(self, inputs: Array) -> Array:
        scaled = inputs / np.sqrt(self._scale + 1e-3)
        scaled[-1] = 1.0
        return scaled

    def _softmax(self, inputs: Array) -> Array:
        logits = (self._mix * self._scaled(inputs)).sum(axis=1)
        found = np.exp(logits - logits.max())
        return np.asarray(found / found.sum())

    # Learning.

    def learn(self, text: Text, reading: Reading, truth: int, day: str) -> None:
        """What a review leans to by its stars, on this day; `reading` is of just before."""
        inputs, found, _ = reading
        self._judge(found, truth, day)
        self.thresholds.learn(found, truth)
        self._learn_mix(found, inputs, truth)
        self._scale += (inputs**2 - self._scale) / (self._mixed + _MIX_SCALE_REVIEWS)
        self._mixed += 1
        self.learned[truth] += 1
        if text.features:
            self._learn_words(text.features, inputs[:3], truth)

    def _learn_mix(self, found: Array, inputs: Array, truth: int) -> None:
        errors = found.copy()
        errors[truth] -= 1
        gradient = errors[:, None] * self._scaled(inputs)
        self._mix_squares += gradient**2
        self._mix -= _MIX_RATE * gradient / np.sqrt(self._mix_squares)

    def _learn_words(self, features: Sequence[int], logits: Array, truth: int) -> None:
        told = _told(features)
        rarity = (sum(self.learned) + len(CLASSES)) / len(CLASSES) / (self.learned[truth] + 1)
        for number, (model, chance) in enumerate(
            zip(self._regressions, 1 / (1 + np.exp(-logits)), strict=True)
        ):
            if abs((number == truth) - chance) > _SURE:
                model.learn_one(told, number == truth, w=rarity**_RARE)
        columns = np.array(features)
        self._vocabulary += int((~self._counts[columns].any(axis=1)).sum())
        self._counts[columns, truth] += 1
        self._features[truth] += len(features)

    def _judge(self, found: Array, truth: int, day: str) -> None:
        """Whether it says more than shares alone would, which makes a language known."""
        happened = np.zeros(len(CLASSES))
        happened[truth] = 1
        weight = 1 / min(self._mixed + 1, _SKILL_REVIEWS)
        self._brier += weight * (float(((found - happened) ** 2).sum()) - self._brier)
        shares = float(((self._shares() - happened) ** 2).sum())
        self._brier_of_shares += weight * (shares - self._brier_of_shares)
        enough = self._mixed >= KNOWN_FROM and self._brier < _SKILL * self._brier_of_shares
        if not self.known and enough:
            self.known_since = day

    # What is kept.

    def state(self) -> Iterator[list[Any]]:
        """All of it, in rows. What the regressions know is kept in the order in which they learned
        it, for they add it up in that."""
        arrays = (self._features, self._mix, self._mix_squares, self._scale)
        yield [
            "model",
            *(list(self.learned), self._vocabulary, self._mixed, self.thresholds.state()),
            *(self._brier, self._brier_of_shares, self.known_since),
            [array.tobytes().hex() for array in arrays],
        ]
        for number, model in enumerate(self._regressions):
            squares = model.optimizer.g2
            weights = model.weights
            columns = (np.array(list(weights), dtype=np.int32), _doubles(weights.values()))
            yield [
                "regression",
                *(number, model.intercept, model.optimizer.n_iterations),
                *(column.tobytes().hex() for column in columns),
                *(np.array(list(squares), dtype=np.int32).tobytes().hex(),),
                *(_doubles(squares.values()).tobytes().hex(),),
            ]
        seen = np.flatnonzero(self._counts.any(axis=1)).astype(np.int32)
        yield ["counts", seen.tobytes().hex(), self._counts[seen].tobytes().hex()]

    def restore_row(self, kind: str, row: Sequence[Any]) -> None:
        """Takes back one row of a state."""
        if kind == "model":
            learned, self._vocabulary, self._mixed, thresholds, *rest = row
            self.learned = list(learned)
            self.thresholds.restore(thresholds)
            self._brier, self._brier_of_shares, self.known_since, arrays = rest
            shape = (len(CLASSES), _INPUTS)
            features, mix, squares, scale = (
                np.frombuffer(bytes.fromhex(told)).copy() for told in arrays
            )
            self._features, self._scale = features, scale
            self._mix, self._mix_squares = mix.reshape(shape), squares.reshape(shape)
        elif kind == "regression":
            number, intercept, iterations, names, weights, squared, squares = row
            from river.utils import VectorDict

            model = self._regressions[number]
            model.intercept = intercept
            model.optimizer.n_iterations = iterations
            model._weights = VectorDict(_pairs(names, weights))
            model.optimizer.g2.update(_pairs(squared, squares))
        else:
            columns, counts = (np.frombuffer(bytes.fromhex(told), dtype=np.int32) for told in row)
            self._counts[columns] = counts.reshape(len(columns), len(CLASSES))


def _regression() -> "LogisticRegression":
    # Their import takes seconds, which only those who learn should spend.
    from river.linear_model import LogisticRegression

    from ml_online.adagrad import AdaGrad

    return LogisticRegression(AdaGrad(_RATE), intercept_lr=_INTERCEPT_RATE)


def _first_mix() -> Array:
    """Each class hears its own learners, and the lists."""
    mix = np.zeros((len(CLASSES), _INPUTS))
    for number in range(len(CLASSES)):
        mix[number, [number, 3 + number]] = 1.0
    mix[:, 6] = (-1.3, 0.0, 1.3)
    mix[:, 7] = 0.0, 0.3, 0.0
    mix[:, -1] = _SHARES
    return mix


def _told(features: Sequence[int]) -> dict[int, float]:
    """What a regression is told: words and pairs, all together of length one."""
    words = [feature for feature in features if feature < WORDS]
    return dict.fromkeys(words, len(words) ** -0.5 if words else 0.0)


def _doubles(values: Any) -> Array:
    return np.fromiter(values, dtype=np.float64)


def _pairs(names: str, values: str) -> dict[int, float]:
    keys = np.frombuffer(bytes.fromhex(names), dtype=np.int32).tolist()
    return dict(zip(keys, np.frombuffer(bytes.fromhex(values)).tolist(), strict=True))
