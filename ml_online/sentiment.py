"""What reviews say: each is judged as it arrives, and its stars teach how to judge the next.

A model for each shop and language. A review is heard opened, for its text is sealed on the log; one
whose writer was erased has none, and counts as one without. It teaches once: what is edited, hidden
or taken back changes the figures, but nothing that was learned of it.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any, NamedTuple

import msgspec

from ml_online import sentiment_scores
from ml_online.aspect_words import ASPECTS
from ml_online.aspects import OfAspect, OfProblem, aspects_of, problems_of
from ml_online.family import ModelFamily
from ml_online.language import FAMILIAR, UNKNOWN, guess
from ml_online.review_figures import NO_TEXT, Heard, Reviews
from ml_online.review_text import Text, read
from ml_online.sentiment_model import Opinion, SentimentModel, class_of, listed
from ml_online.sentiment_scores import Months
from ml_online.sentiment_thresholds import CLASSES
from streams.codec import Fact
from streams.events import (
    Event,
    ProductReviewed,
    ReviewEdited,
    ReviewModerated,
    ReviewRetracted,
)

MOST_MODELS = 24
"""Of all shops and languages: beyond them, the one that learned longest ago is forgotten."""

_OF_STARS = 0.5
"""How much a review's stars say of what its clauses lean to, beside its words."""


class Judged(NamedTuple):
    """What is made of a text. Without an opinion its language is not known."""

    text: Text
    language: str
    opinion: Opinion | None
    aspects: Sequence[OfAspect]
    problems: Sequence[OfProblem]


class Language(NamedTuple):
    """What is learned of a language: reviews of each class, and since when it is known, of those
    that there are no lists of words for."""

    language: str
    learned: Sequence[int]
    known: bool
    seeded: bool
    known_since: str | None


class Sentiments:
    """Implements `ml_online.family.Learner`."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], SentimentModel] = {}  # the last to learn is last
        self._scores: dict[tuple[str, str], Months] = {}
        self._reviews: dict[str, Reviews] = {}

    def learn(self, fact: Fact) -> None:
        """Judges a review, scores that, and learns its stars; or follows what became of one."""
        shop, data = fact.event.shop, fact.data
        match data:
            case ProductReviewed():
                review_id = data.review_id or fact.event.id
                known = self.reviews(shop).heard.get(review_id)
                if known is None or known.retracted:
                    self._written(shop, review_id, data, fact.event, known)
                else:  # told again, under another event's id: it was learned
                    self._edited(shop, review_id, known, data)
            case ReviewEdited() | ReviewRetracted() | ReviewModerated():
                known = self.reviews(shop).heard.get(data.review_id)
                if known is None:
                    return  # one without a text, or one of those of long ago
                if isinstance(data, ReviewEdited):
                    self._edited(shop, data.review_id, known, data)
                else:
                    change: dict[str, bool] = (
                        {"hidden": data.hidden}
                        if isinstance(data, ReviewModerated)
                        else {"retracted": True}
                    )
                    put = msgspec.structs.replace(known, **change)
                    self._kept(shop).put(data.review_id, put)

    def _written(
        self, shop: str, review_id: str, data: ProductReviewed, event: Event, known: Heard | None
    ) -> None:
        day = event.time.date()
        if event.sealed is not None:  # and cannot be opened: whoever wrote it was erased
            self._kept(shop).without_text(data.product_id, day.toordinal())
            return
        hidden = known is not None and known.hidden
        judged = self._learned(shop, data, day) if data.review_body else None
        put = _heard(data.product_id, day.toordinal(), data.rating, judged, hidden=hidden)
        self._kept(shop).put(review_id, put)

    def _learned(self, shop: str, data: ProductReviewed, day: date) -> Judged | None:
        """What is made of a text before its stars are learned; None of one without a word."""
        text = read(data.review_body or "")
        if not text.clauses:
            return None
        language = self._language(shop, text)
        model = self._model(shop, language)
        truth = class_of(data.rating)
        reading = model.reading(text)
        judged = _judged(text, model, reading.opinion, data.rating)
        if judged.opinion is not None:
            usual = max(range(len(CLASSES)), key=lambda n: (model.learned[n], n))
            praised, blamed, _ = listed(list(text.words), language)
            by_lists = 2 if praised > blamed else 0 if blamed > praised else 1
            month = self._scores.setdefault((shop, language), Months()).at(day.strftime("%Y-%m"))
            sentiment_scores.add(month, reading.opinion, usual, by_lists, truth)
        model.learn(text, reading, truth, day.isoformat())
        return judged

    def _edited(
        self, shop: str, review_id: str, known: Heard, data: ProductReviewed | ReviewEdited
    ) -> None:
        """What it says now counts, on the day on which it was written; it teaches nothing more."""
        judged = self.judge(shop, data.review_body, data.rating) if data.review_body else None
        put = _heard(known.product, known.day, data.rating, judged, hidden=known.hidden)
        self._kept(shop).put(review_id, msgspec.structs.replace(put, retracted=known.retracted))

    def _kept(self, shop: str) -> Reviews:
        return self._reviews.setdefault(shop, Reviews())

    def _model(self, shop: str, language: str) -> SentimentModel:
        """The model that learns now."""
        model = self._models.pop((shop, language), None) or SentimentModel(language)
        self._models[shop, language] = model
        if len(self._models) > MOST_MODELS:
            oldest = next(iter(self._models))
            del self._models[oldest]
            self._scores.pop(oldest, None)
        return model

    def _usual(self, shop: str) -> str:
        """The language of most of a shop's reviews."""
        counts = [
            (sum(model.learned), language)
            for (of, language), model in self._models.items()
            if of == shop and language != UNKNOWN
        ]
        return max(counts, default=(0, ""))[1]

    def _language(self, shop: str, text: Text) -> str:
        usual = self._usual(shop)
        words = list(text.words)
        return guess(words, usual, lambda: self._models[shop, usual].familiar(text))

    # What is asked.

    def judge(self, shop: str, body: str, stars: int | None = None) -> Judged:
        """What is made of a text now."""
        text = read(body)
        language = self._language(shop, text)
        model = self._models.get((shop, language)) or SentimentModel(language)
        return _judged(text, model, model.reading(text).opinion, stars)

    def reviews(self, shop: str) -> Reviews:
        """What was said in a shop."""
        return self._reviews.get(shop) or Reviews()

    def languages(self, shop: str) -> list[Language]:
        """That reviews of a shop were in, those with most first."""
        found = [
            Language(language, tuple(model.learned), model.known, model.seeded, model.known_since)
            for (of, language), model in self._models.items()
            if of == shop
        ]
        return sorted(found, key=lambda one: (-sum(one.learned), one.language))

    def scores(self, shop: str) -> dict[str, Months]:
        """By language."""
        return {
            language: months
            for (of, language), months in sorted(self._scores.items())
            if of == shop
        }

    # What is kept.

    def noticed(self) -> Sequence[Event]:
        return ()

    def state(self) -> Iterator[Any]:
        for (shop, language), model in self._models.items():
            for kind, *row in model.state():
                yield [kind, shop, language, *row]
        for (shop, language), months in sorted(self._scores.items()):
            for row in months.state():
                yield ["scores", shop, language, *row]
        for shop, reviews in sorted(self._reviews.items()):
            for kind, *row in reviews.state():
                yield [kind, shop, *row]

    def restore(self, state: Iterable[Any]) -> None:
        self._models, self._scores, self._reviews = {}, {}, {}
        for kind, shop, *row in state:
            if kind in ("days", "review"):
                self._kept(shop).restore_row(kind, row)
            elif kind == "scores":
                language, *rest = row
                self._scores.setdefault((shop, language), Months()).restore_row(rest)
            else:
                language, *rest = row
                model = self._models.setdefault((shop, language), SentimentModel(language))
                model.restore_row(kind, rest)


def _judged(text: Text, model: SentimentModel, opinion: Opinion, stars: int | None) -> Judged:
    """What a model makes of a text, where what it says is to be heard."""
    foreign = model.language == UNKNOWN and model.familiar(text) < FAMILIAR
    if not model.known or not text.clauses or foreign:
        return Judged(text, model.language, None, (), ())
    whole: Sequence[float] = opinion.probabilities
    if stars is not None:
        whole = _with_stars(opinion, class_of(stars))
    problems = problems_of(text, model.language)
    aspects = aspects_of(text, model, problems, whole)
    return Judged(text, model.language, opinion, aspects, problems)


def _with_stars(opinion: Opinion, truth: int) -> list[float]:
    """What a review leans to by its words and by its stars."""
    return [
        (1 - _OF_STARS) * chance + _OF_STARS * (number == truth)
        for number, chance in enumerate(opinion.probabilities)
    ]


def _heard(product: str, day: int, stars: int, judged: Judged | None, *, hidden: bool) -> Heard:
    if judged is None:
        return Heard(product, day, stars, NO_TEXT, None, 0.0, hidden=hidden)
    opinion = judged.opinion
    return Heard(
        product,
        day,
        stars,
        judged.language,
        None if opinion is None else opinion.called,
        0.0 if opinion is None else round(opinion.confidence, 6),
        tuple((ASPECTS.index(one.aspect), one.called) for one in judged.aspects),
        tuple(one.kind for one in judged.problems),
        hidden=hidden,
    )


SENTIMENT = ModelFamily(
    "sentiment", version=1, new=Sentiments, opened=("ProductReviewed", "ReviewEdited")
)
