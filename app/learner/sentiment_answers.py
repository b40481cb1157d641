"""What the learner answers of what reviews say."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from math import sqrt
from typing import Any, Literal, TypeAlias

import msgspec
from fastapi import APIRouter, Request
from msgspec import Struct

from app.learner.routing import Answer, Ready, waiting
from app.learner.sentiment_scores import language_shown, scores
from ml_online.aspect_words import ASPECTS, PROBLEMS
from ml_online.models import Models
from ml_online.review_figures import ALL, SUBJECTS, Figure, Heard, Reviews
from ml_online.sentiment import SENTIMENT, Judged, Sentiments
from ml_online.sentiment_thresholds import CLASSES

Aspect: TypeAlias = Literal["overall", "quality", "size", "delivery", "price", "service"]
Grain: TypeAlias = Literal["total", "day", "week", "month"]
SentimentBy: TypeAlias = Literal["total", "product"]

RECENT_DAYS, BEFORE_DAYS = 30, 90
"""What a trend compares: the last days with those before them."""
LATEST = 20
"""Reviews of a product that are shown one by one, and ids that a suggestion cites."""

_SURE = 2.0  # standard errors, for a change to be a trend
_FIRST, _LAST = date.min.toordinal(), date.max.toordinal()
_DIGITS = 4


class Judge(Struct, frozen=True):
    """A text that is to be judged."""

    shop: str
    text: str
    min_position: str = ""
    wait: float = 0.0


def sentiment_answers(models: Models, ready: Ready, answer: Answer) -> APIRouter:
    """The routes, for the learner's own small API."""
    router = waiting(ready)

    def told(make: Callable[[Sentiments], Any]) -> Any:
        learner = models.learners[SENTIMENT.name]
        assert isinstance(learner, Sentiments)
        return answer(SENTIMENT.name, SENTIMENT.version, **make(learner))

    @router.get("/sentiment")
    async def sentiment(
        shop: str,
        product: str = "",
        aspect: Aspect | None = None,
        by: SentimentBy = "total",
        grain: Grain = "total",
        first: date = date.min,
        last: date = date.max,
        limit: int = 1_000,
    ) -> Any:
        def rows(learner: Sentiments) -> dict[str, Any]:
            reviews = learner.reviews(shop)
            products = [product] if product else sorted(reviews.products)
            told = [ALL] if by == "total" and not product else products
            found = figures(reviews, told, aspect, grain, (first, last))
            return {"shop": shop, "sentiment": [row for row, _ in zip(found, range(limit))]}  # noqa: B905

        return told(rows)

    @router.get("/sentiment/product")
    async def of_product(shop: str, product: str) -> Any:
        return told(lambda learner: product_sentiment(learner, shop, product))

    @router.get("/sentiment/suggestions")
    async def sentiment_suggestions(
        shop: str,
        product: str = "",
        aspect: Aspect | None = None,
        first: date = date.min,
        last: date = date.max,
        min_reviews: int = 3,
        limit: int = 50,
    ) -> Any:
        def found(learner: Sentiments) -> dict[str, Any]:
            days = first.toordinal(), last.toordinal()
            all_of = suggestions(learner.reviews(shop), product, aspect, days, min_reviews)
            return {"shop": shop, "suggestions": all_of[:limit]}

        return told(found)

    @router.get("/sentiment/scores")
    async def sentiment_scores_(shop: str) -> Any:
        return told(lambda learner: scores(learner, shop))

    @router.post("/sentiment")
    async def sentiment_of(request: Request) -> Any:
        asked = msgspec.json.decode(await request.body(), type=Judge)
        await ready([asked.min_position] if asked.min_position else (), asked.wait)
        return told(
            lambda learner: {"shop": asked.shop, **judged(learner.judge(asked.shop, asked.text))},
        )

    return router


# Figures.


def figures(
    reviews: Reviews,
    products: Sequence[str],
    aspect: Aspect | None,
    grain: Grain,
    days: tuple[date, date],
) -> Iterator[dict[str, Any]]:
    """A row for each product, period and subject of which something was said, in this order."""
    first, last = (day.toordinal() for day in days)
    for product in products:
        named = {"product_id": product} if product != ALL else {}
        if grain == "total":
            periods = [("", reviews.figure(product, first, last))]
        else:
            begins = dict.fromkeys(
                _begin(day, grain) for day, _ in reviews.by_day(product, first, last)
            )
            periods = [
                (
                    begin.isoformat()[: 7 if grain == "month" else 10],
                    reviews.figure(
                        product,
                        max(first, begin.toordinal()),
                        min(last, _end(begin, grain).toordinal()),
                    ),
                )
                for begin in begins
            ]
        for period, figure in periods:
            at: dict[str, Any] = {grain: period} if period else {}
            for row in _rows(figure, aspect):
                yield {**named, **at, **row}


def _begin(day: date, grain: Grain) -> date:
    if grain == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if grain == "month" else day


def _end(begin: date, grain: Grain) -> date:
    if grain == "week":
        return begin + timedelta(days=6)
    if grain == "month":
        return (begin.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    return begin


def _rows(figure: Figure, aspect: Aspect | None) -> Iterator[dict[str, Any]]:
    for subject in SUBJECTS:
        name = subject or "overall"
        counts = figure.of_subject[subject]
        if aspect not in (None, name):
            continue
        if subject == "" and (any(counts) or figure.unknown or figure.without_text):
            more = {"unknown_language": figure.unknown, "without_text": figure.without_text}
            yield {"aspect": name, **_counted(counts), **more}
        elif any(counts):
            yield {"aspect": name, **_counted(counts), "unknown_language": 0, "without_text": 0}


def _counted(counts: Sequence[int]) -> dict[str, Any]:
    negative, neutral, positive = counts
    return {
        "reviews": sum(counts),
        "positive": positive,
        "neutral": neutral,
        "negative": negative,
        "score": _score(counts),
    }


def _score(counts: Sequence[int]) -> float | None:
    """From -1, where all blame, to 1, where all praise."""
    total = sum(counts)
    return round((counts[2] - counts[0]) / total, _DIGITS) if total else None


def _trend(reviews: Reviews, product: str, subject: str) -> dict[str, Any] | None:
    """The last days against those before them; None where one of the two says nothing."""
    last = reviews.last_day()
    if last is None:
        return None
    parts = (
        (last - RECENT_DAYS + 1, last),
        (last - RECENT_DAYS - BEFORE_DAYS + 1, last - RECENT_DAYS),
    )
    recent, before = (reviews.figure(product, *days).of_subject[subject] for days in parts)
    if not sum(recent) or not sum(before):
        return None
    change = _mean(recent) - _mean(before)
    error = sqrt(_variance(recent) / sum(recent) + _variance(before) / sum(before))
    sure = abs(change) > _SURE * error
    direction = "steady" if not sure else "rising" if change > 0 else "falling"
    return {
        "recent": _score(recent),
        "recent_reviews": sum(recent),
        "before": _score(before),
        "before_reviews": sum(before),
        "change": round(change, _DIGITS),
        "direction": direction,
    }


def _mean(counts: Sequence[int]) -> float:
    return (counts[2] - counts[0]) / sum(counts)


def _variance(counts: Sequence[int]) -> float:
    """Of one review's score, with one review of each class more, so that a few are not sure."""
    more = [count + 1 for count in counts]
    return (more[0] + more[2]) / sum(more) - _mean(more) ** 2


# One product.


def product_sentiment(learner: Sentiments, shop: str, product: str) -> dict[str, Any]:
    """All that reviews of a product say."""
    reviews = learner.reviews(shop)
    figure = reviews.figure(product, _FIRST, _LAST)
    known = reviews.of_product.get(product, {})
    latest = sorted(known, key=lambda one: (reviews.heard[one].day, one), reverse=True)[:LATEST]
    return {
        "shop": shop,
        "product_id": product,
        "aspects": [
            {**row, "trend": _trend(reviews, product, SUBJECTS[number])}
            for number, row in _numbered(figure)
        ],
        "suggestions": suggestions(reviews, product, None, (_FIRST, _LAST), 1),
        "latest": [_shown(review_id, reviews.heard[review_id]) for review_id in latest],
    }


def _numbered(figure: Figure) -> Iterator[tuple[int, dict[str, Any]]]:
    for row in _rows(figure, None):
        name = row["aspect"]
        yield 0 if name == "overall" else ASPECTS.index(name) + 1, row


def _shown(review_id: str, review: Heard) -> dict[str, Any]:
    return {
        "review_id": review_id,
        "date": date.fromordinal(review.day),
        "stars": review.stars,
        "language": language_shown(review.language),
        "sentiment": _called(review.called) if review.language else None,
        "confidence": None if review.called is None else round(review.confidence, _DIGITS),
        "aspects": {ASPECTS[aspect]: CLASSES[called] for aspect, called in review.aspects},
        "problems": list(review.problems),
    }


def _called(called: int | None) -> str:
    return "unknown" if called is None else CLASSES[called]


# Suggestions.


def suggestions(
    reviews: Reviews, product: str, aspect: str | None, days: tuple[int, int], least: int
) -> list[dict[str, Any]]:
    """What could be done, by product and problem: those that most reviews tell of first."""
    found = []
    for kind, of_product in sorted(reviews.of_problem.items()):
        problem = PROBLEMS[kind]
        if aspect not in (None, problem.aspect):
            continue
        for name in [product] if product else sorted(of_product):
            told = [
                (reviews.heard[one].day, one)
                for one in of_product.get(name, ())
                if days[0] <= reviews.heard[one].day <= days[1]
            ]
            if len(told) < least or not told:
                continue
            told.sort(reverse=True)
            heard = sum(reviews.figure(name, *days).of_subject[""])
            stars = sum(reviews.heard[one].stars for _, one in told) / len(told)
            found.append(
                {
                    "product_id": name,
                    "aspect": problem.aspect,
                    "problem": kind,
                    "suggestion": problem.advice,
                    "reviews": len(told),
                    "of_reviews": heard,
                    "share": round(len(told) / max(heard, len(told)), _DIGITS),
                    "mean_stars": round(stars, 2),
                    "first": date.fromordinal(told[-1][0]),
                    "last": date.fromordinal(told[0][0]),
                    "review_ids": [one for _, one in told[:LATEST]],
                }
            )
    return sorted(found, key=lambda one: (-one["reviews"], -one["share"], one["product_id"]))


# A text.


def judged(found: Judged) -> dict[str, Any]:
    """What is made of a text, with the words that it is made of."""
    opinion = found.opinion
    chances = None
    if opinion is not None:
        chances = {
            name: round(chance, _DIGITS)
            for name, chance in zip(CLASSES, opinion.probabilities, strict=True)
        }
    return {
        "language": language_shown(found.language),
        "sentiment": _called(None if opinion is None else opinion.called),
        "confidence": None if opinion is None else round(opinion.confidence, _DIGITS),
        "probabilities": chances,
        "aspects": [
            {
                "aspect": one.aspect,
                "sentiment": CLASSES[one.called],
                "confidence": round(one.confidence, _DIGITS),
                "words": found.text.text[one.start : one.end],
            }
            for one in found.aspects
        ],
        "problems": [
            {
                "problem": one.kind,
                "aspect": PROBLEMS[one.kind].aspect,
                "words": found.text.text[one.start : one.end],
            }
            for one in found.problems
        ],
    }
