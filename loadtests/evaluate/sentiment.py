"""The served judge of reviews on anybody's, beside others: each is judged, then learned.

Classes are those of stars: one and two are negative, three neutral, four and five positive. Every
review is scored from the first one on; beside that stand the scores without the first 500, of which
those that begin with nothing know little.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

import rich.progress
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from loadtests.evaluate.reviews import Review, Reviews
from ml_online.sentiment import Sentiments
from ml_online.sentiment_model import class_of
from ml_online.sentiment_thresholds import CLASSES
from streams import codec
from streams.codec import Fact
from streams.events import Event, ProductReviewed

OURS = "tillstream"
NEEDS: Mapping[str, str] = {"vader": "vaderSentiment"}
"""The package that a peer is made by."""
FIRST = 500

_NEUTRAL = 0.05  # below which VADER's compound score is neutral, as its authors have it
_WITHOUT_TIME = datetime(2026, 1, 1, tzinfo=UTC)


class Judge(Protocol):
    """Whoever judges reviews."""

    def __call__(self, review: Review) -> int | None:
        """The class of a review, None where it cannot say; then its stars are learned."""


def judges() -> Mapping[str, Callable[[], Judge]]:
    """All that can be asked here, ours first."""
    found: dict[str, Callable[[], Judge]] = {OURS: _tillstream, "majority": _majority}
    if find_spec(NEEDS["vader"]):
        found["vader"] = _vader
    return {**found, "multinomial_nb": _multinomial, "complement_nb": _complement}


def _tillstream() -> Judge:
    learner = Sentiments()
    offsets = iter(range(1_000_000_000))

    def judge(review: Review) -> int | None:
        offset = next(offsets)
        name, at = f"review-{offset}", review.time or _WITHOUT_TIME
        data = ProductReviewed(
            product_id="all", review_id=name, review_body=review.text, rating=review.stars
        )
        event = Event(
            id=name,
            type="ProductReviewed",
            shop="main",
            subject="all",
            time=at,
            received_at=at,
            data=codec.raw(data),
        )
        learner.learn(Fact("catalog", 0, offset, event, data))
        return learner.reviews("main").heard[name].called

    return judge


def _majority() -> Judge:
    counts = [0] * len(CLASSES)

    def judge(review: Review) -> int:
        most = max(range(len(CLASSES)), key=lambda number: (counts[number], number))
        counts[class_of(review.stars)] += 1
        return most

    return judge


def _vader() -> Judge:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()

    def judge(review: Review) -> int:
        score = analyzer.polarity_scores(review.text)["compound"]
        return 0 if score <= -_NEUTRAL else 2 if score >= _NEUTRAL else 1

    return judge


def _multinomial() -> Judge:
    from river.naive_bayes import MultinomialNB

    return _bag_of_words(MultinomialNB())


def _complement() -> Judge:
    from river.naive_bayes import ComplementNB

    return _bag_of_words(ComplementNB())


def _bag_of_words(model: Any) -> Judge:
    from river.feature_extraction import BagOfWords

    bag = BagOfWords(lowercase=True)

    def judge(review: Review) -> int:
        told = bag.transform_one(review.text)
        found = model.predict_one(told)
        model.learn_one(told, class_of(review.stars))
        return len(CLASSES) - 1 if found is None else int(found)

    return judge


class Settings(NamedTuple):
    """Without `peers`, all that are installed are asked."""

    peers: Sequence[str] | None = None


def evaluate(reviews: Reviews, settings: Settings, talk: Console) -> tuple[dict[str, Any], bool]:
    """All figures as they are written, and whether Ctrl-C cut them short."""
    there = judges()
    asked = [
        name for name in there if name == OURS or settings.peers is None or name in settings.peers
    ]
    truth = [class_of(review.stars) for review in reviews.rows]
    models: dict[str, Any] = {}
    found: dict[str, Any] = {"settings": _settings(reviews, truth, asked), "models": models}
    for name in asked:
        try:
            called, seconds = _called(name, there[name](), reviews.rows, talk)
        except KeyboardInterrupt:
            found["settings"]["left_out"] = asked[len(models) :]
            return found, True
        models[name] = _figures(truth, called, seconds)
    return found, False


def _called(
    name: str, judge: Judge, rows: Sequence[Review], talk: Console
) -> tuple[list[int | None], float]:
    """What each review was called before it was learned, and the processor's seconds for all."""
    with rich.progress.Progress(
        console=talk, transient=True, disable=not talk.is_terminal
    ) as progress:
        begun = time.process_time()
        called = [judge(review) for review in progress.track(rows, description=name)]
        return called, time.process_time() - begun


def _settings(reviews: Reviews, truth: Sequence[int], asked: Sequence[str]) -> dict[str, Any]:
    rows = reviews.rows
    timed = rows[0].time is not None
    packages = {"river", *(NEEDS[name] for name in asked if name in NEEDS)}
    return {
        "reviews": len(rows),
        "classes": {name: truth.count(number) for number, name in enumerate(CLASSES)},
        "without_text": reviews.without_text,
        "without_stars": reviews.without_stars,
        "order": "time" if timed else "as they stand",
        "first_day": rows[0].time.date().isoformat() if rows[0].time else None,
        "last_day": rows[-1].time.date().isoformat() if rows[-1].time else None,
        "first_reviews": FIRST,
        "packages": {package: version(package) for package in sorted(packages)},
        "left_out": [],
    }


def _figures(truth: Sequence[int], called: Sequence[int | None], seconds: float) -> dict[str, Any]:
    accuracy, macro_f1, f1 = scored(truth, called)
    later = scored(truth[FIRST:], called[FIRST:]) if len(truth) > FIRST else None
    return {
        "accuracy": accuracy,
        "macro_f1": macro_f1,
        "f1": dict(zip(CLASSES, f1, strict=True)),
        "accuracy_after_first": later and later[0],
        "macro_f1_after_first": later and later[1],
        "unknown": sum(one is None for one in called),
        "reviews_per_second": round(len(truth) / seconds, 1) if seconds else None,
    }


def scored(truth: Sequence[int], called: Sequence[int | None]) -> tuple[float, float, list[float]]:
    """Accuracy, macro-F1 and the F1 of each class. What was not said is wrong, and no class."""
    pairs = list(zip(truth, called, strict=True))
    f1 = []
    for number in range(len(CLASSES)):
        right = sum(is_ == said == number for is_, said in pairs)
        told = sum(is_ == number for is_, _ in pairs) + sum(said == number for _, said in pairs)
        f1.append(round(2 * right / told, 6) if told else 0.0)
    accuracy = sum(is_ == said for is_, said in pairs) / len(pairs)
    return round(accuracy, 6), round(sum(f1) / len(f1), 6), f1


_LINES: Sequence[tuple[str, str, str]] = (
    ("accuracy", "accuracy", ".3f"),
    ("macro-F1", "macro_f1", ".3f"),
    (f"  after {FIRST}", "accuracy_after_first", ".3f"),
    (f"  after {FIRST}", "macro_f1_after_first", ".3f"),
    ("not said", "unknown", ","),
    ("reviews/s", "reviews_per_second", ",.0f"),
)


def table_of(found: dict[str, Any]) -> Group:
    """A column for each model, from what is written as JSON."""
    settings, models = found["settings"], found["models"]
    table = Table(box=None, header_style="dim")
    table.add_column("", no_wrap=True)
    for model in models:
        table.add_column(model.replace("_", " "), justify="right")
    for line in _cells(models):
        table.add_row(*line)
    shares = ", ".join(f"{count:,} {name}" for name, count in settings["classes"].items())
    days = f", {settings['first_day']} to {settings['last_day']}" if settings["first_day"] else ""
    notes = (
        f"Each is judged before its stars are learned, by {settings['order']}."
        if settings["order"] == "time"
        else "Each is judged before its stars are learned, in the order in which they stand."
    )
    if left := settings["without_text"] + settings["without_stars"]:
        notes += f" {left:,} rows without a text or stars are left out."
    title = f"{settings['reviews']:,} reviews{days}: {shares}"
    return Group(Text(title, style="bold"), table, Text(notes, style="dim"))


def _cells(models: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, key, form in _LINES:
        values = [figures[key] for figures in models.values()]
        yield [name, *("–" if value is None else format(value, form) for value in values)]
    for one in CLASSES:
        yield [f"  F1 {one}", *(format(figures["f1"][one], ".3f") for figures in models.values())]
