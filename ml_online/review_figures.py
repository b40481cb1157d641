"""What was said of products: each review as it was heard, and sums by product and day.

A review that is edited, taken back or hidden leaves the sums, and what it says now enters them. Of
the reviews themselves no text is kept: their ids, what was made of them, and when.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any, NamedTuple

from msgspec import Struct

from ml_online.aspect_words import ASPECTS
from ml_online.sentiment_thresholds import CLASSES

MOST_REVIEWS = 50_000
"""Of one shop that are known one by one; of older ones the sums remain."""
MOST_PRODUCTS = 20_000
"""Of one shop: beyond them, those that were reviewed longest ago are forgotten."""
MOST_DAYS = 1_100
"""Of one product, on which it was reviewed."""

SUBJECTS = ("", *ASPECTS)
"""Of a figure: the whole review, or an aspect of it."""
UNKNOWN = len(SUBJECTS) * len(CLASSES)
WITHOUT_TEXT = UNKNOWN + 1
_WIDTH = WITHOUT_TEXT + 1
NO_TEXT = ""
"""The language of a review that has none."""
ALL = ""
"""The product that stands for all of a shop."""


class Heard(Struct, frozen=True, gc=False):
    """A review as it was heard. `called` is None in a language that is not known; `aspects` are
    numbers of ASPECTS and of classes."""

    product: str
    day: int
    stars: int
    language: str
    called: int | None
    confidence: float
    aspects: tuple[tuple[int, int], ...] = ()
    problems: tuple[str, ...] = ()
    hidden: bool = False
    retracted: bool = False

    @property
    def counts(self) -> bool:
        return not (self.hidden or self.retracted)


class Figure(NamedTuple):
    """What was said on some days: how many of each class (negative, neutral, positive) by subject,
    how many in unknown languages, and how many without a text."""

    of_subject: dict[str, tuple[int, int, int]]
    unknown: int
    without_text: int


class Reviews:
    """Those of one shop."""

    def __init__(self) -> None:
        self.heard: dict[str, Heard] = {}
        self.of_product: dict[str, dict[str, None]] = {}
        """The ids of each product's reviews, as far as they are known one by one."""
        self.of_problem: dict[str, dict[str, dict[str, None]]] = {}
        """And by product and problem."""
        self._days: dict[str, dict[int, list[int]]] = {ALL: {}}

    @property
    def products(self) -> list[str]:
        """All that something is known of, those last reviewed last."""
        return [product for product in self._days if product != ALL]

    def put(self, review_id: str, review: Heard) -> None:
        """A review as it is from now on."""
        known = self.heard.pop(review_id, None)
        if known is not None:
            self._count(review_id, known, -1)
        self.heard[review_id] = review
        self._count(review_id, review, 1)
        if len(self.heard) > MOST_REVIEWS + MOST_REVIEWS // 8:
            self._forget_reviews()

    def without_text(self, product: str, day: int) -> None:
        """A review of which no more is known: its writer was erased."""
        for name in (ALL, product):
            self._day(name, day)[WITHOUT_TEXT] += 1
        self._bound(product)

    def _count(self, review_id: str, review: Heard, sign: int) -> None:
        if not review.counts:
            return
        places = [] if review.called is None else [(0, review.called)]
        places += [(aspect + 1, called) for aspect, called in review.aspects]
        for name in (ALL, review.product):
            if sign < 0 and review.day not in self._days.get(name, ()):
                continue  # beyond what is kept
            sums = self._day(name, review.day)
            for subject, called in places:
                _add(sums, subject * len(CLASSES) + called, sign)
            if review.called is None:
                _add(sums, UNKNOWN if review.language else WITHOUT_TEXT, sign)
        self._index(review_id, review, sign)
        if sign > 0:
            self._bound(review.product)

    def _index(self, review_id: str, review: Heard, sign: int) -> None:
        known = [self.of_product] + [
            self.of_problem.setdefault(problem, {}) for problem in review.problems
        ]
        for index in known:
            if sign > 0:
                index.setdefault(review.product, {})[review_id] = None
            elif review.product in index:
                index[review.product].pop(review_id, None)
                if not index[review.product]:
                    del index[review.product]

    def _day(self, product: str, day: int) -> list[int]:
        return self._days.setdefault(product, {}).setdefault(day, [0] * _WIDTH)

    def _bound(self, product: str) -> None:
        self._days[product] = self._days.pop(product)  # as the one last reviewed
        for name in (ALL, product):
            days = self._days[name]
            while len(days) > MOST_DAYS:
                del days[min(days)]
        if len(self._days) > MOST_PRODUCTS + 1:
            oldest = next(name for name in self._days if name != ALL)
            del self._days[oldest]

    def _forget_reviews(self) -> None:
        """The oldest go, but what they add to the sums stays."""
        for review_id in list(self.heard)[: len(self.heard) - MOST_REVIEWS]:
            self._index(review_id, self.heard.pop(review_id), -1)

    # What is asked.

    def figure(self, product: str, first: int, last: int) -> Figure:
        """Of the days from the first to the last."""
        days = self._days.get(product, {})
        return _figure([sums for day, sums in days.items() if first <= day <= last])

    def by_day(self, product: str, first: int, last: int) -> Iterator[tuple[date, Figure]]:
        """Of each day on which something was said, in order."""
        for day, sums in sorted(self._days.get(product, {}).items()):
            if first <= day <= last:
                yield date.fromordinal(day), _figure([sums])

    def last_day(self, product: str = ALL) -> int | None:
        """On which something was said."""
        return max(self._days.get(product, {}), default=None)

    # What is kept.

    def state(self) -> Iterator[list[Any]]:
        """In the order in which it came, for the oldest goes first."""
        for product, days in self._days.items():
            yield ["days", product, [[day, *sums] for day, sums in sorted(days.items())]]
        for review_id, one in self.heard.items():
            yield [
                *("review", review_id, one.product, one.day, one.stars, one.language, one.called),
                *(one.confidence, one.aspects, one.problems, one.hidden, one.retracted),
            ]

    def restore_row(self, kind: str, row: Sequence[Any]) -> None:
        """Takes back one row of a state."""
        if kind == "days":
            product, days = row
            self._days.pop(product, None)
            self._days[product] = {day: list(sums) for day, *sums in days}
            return
        review_id, product, day, stars, language, called, confidence, *rest = row
        aspects, problems, hidden, retracted = rest
        review = Heard(
            *(product, day, stars, language, called, confidence),
            *(tuple((a, c) for a, c in aspects), tuple(problems), hidden, retracted),
        )
        self.heard[review_id] = review
        if review.counts:
            self._index(review_id, review, 1)


def _add(sums: list[int], place: int, sign: int) -> None:
    """Never below zero: what was forgotten is not taken away again."""
    sums[place] = max(0, sums[place] + sign)


def _figure(days: Iterable[Sequence[int]]) -> Figure:
    sums = [sum(column) for column in zip(*days, strict=True)] or [0] * _WIDTH
    count = len(CLASSES)
    of_subject = {
        subject: (sums[n * count], sums[n * count + 1], sums[n * count + 2])
        for n, subject in enumerate(SUBJECTS)
    }
    return Figure(of_subject, sums[UNKNOWN], sums[WITHOUT_TEXT])
