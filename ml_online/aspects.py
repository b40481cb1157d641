"""What a review says of each aspect, by its clauses, and which problems it tells of."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ml_online.aspect_words import ASPECT_OF, ASPECTS, PATTERNS, PROBLEMS
from ml_online.review_text import Clause, Text
from ml_online.sentiment_model import Array, SentimentModel
from ml_online.sentiment_thresholds import CLASSES
from ml_online.sentiment_words import NEGATORS

NEGATIVE, NEUTRAL, POSITIVE = range(len(CLASSES))

_AS_THE_WHOLE = 0.5
"""By which power the whole review's leaning counts beside its clause's own."""
_LEAST = 0.5  # of a clause's probability, for it to be more than neutral
_SCOPE = 3  # words before a problem in which a negation says that there is none


class OfAspect(NamedTuple):
    """What is said of an aspect: which class, how surely, and where in the text."""

    aspect: str
    called: int
    confidence: float
    start: int
    end: int


class OfProblem(NamedTuple):
    """A problem that is told of, and where in the text."""

    kind: str
    start: int
    end: int


def problems_of(text: Text, language: str) -> list[OfProblem]:
    """The problems that a text tells of, each kind once, where it first does."""
    pattern = PATTERNS.get(language)
    if pattern is None:
        return []
    found: dict[str, OfProblem] = {}
    for told in pattern.finditer(text.text):
        kind = told.lastgroup
        if kind and kind not in found and not _denied(text, told.start()):
            found[kind] = OfProblem(kind, told.start(), told.end())
    return list(found.values())


def _denied(text: Text, at: int) -> bool:
    """Whether a negation stands just before, in the same clause."""
    for clause in text.clauses:
        if clause.start <= at < clause.end:
            before = text.text[clause.start : at].split()[-_SCOPE:]
            return any(word in NEGATORS or word.endswith("n't") for word in before)
    return False


def aspects_of(
    text: Text, model: SentimentModel, problems: Sequence[OfProblem], whole: Sequence[float]
) -> list[OfAspect]:
    """Aspects that a text speaks of, in their order, each as the surest of its clauses has it.

    `whole` are the probabilities of the review, known or supposed: what a clause says that could
    be taken either way is taken as the rest is. A clause that tells of a problem is negative.
    """
    told = {problem.start: PROBLEMS[problem.kind].aspect for problem in problems}
    of_word = ASPECT_OF.get(model.language, {})
    surest: dict[str, OfAspect] = {}
    for clause in text.clauses:
        failing = {aspect for at, aspect in told.items() if clause.start <= at < clause.end}
        spoken = {of_word[word]: None for word in clause.words if word in of_word}
        if not spoken and not failing:
            continue
        leaning = _leaning(clause, model, whole) if spoken.keys() - failing else None
        for one in _said(clause, failing, spoken, leaning):
            if one.aspect not in surest or one.confidence > surest[one.aspect].confidence:
                surest[one.aspect] = one
    return [surest[aspect] for aspect in ASPECTS if aspect in surest]


def _said(
    clause: Clause, failing: set[str], spoken: dict[str, None], leaning: Array | None
) -> Iterator[OfAspect]:
    for aspect in sorted(failing):
        yield OfAspect(aspect, NEGATIVE, 1.0, clause.start, clause.end)
    if leaning is not None:
        called = int(np.argmax(leaning))
        confidence = float(leaning[called])
        if confidence < _LEAST:
            called = NEUTRAL
        for aspect in spoken:
            if aspect not in failing:
                yield OfAspect(aspect, called, confidence, clause.start, clause.end)


def _leaning(clause: Clause, model: SentimentModel, whole: Sequence[float]) -> Array:
    found = model.leaning(clause.words, clause.features) * np.array(whole) ** _AS_THE_WHOLE
    return np.asarray(found / found.sum())
