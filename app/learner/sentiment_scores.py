"""How well reviews were judged, as it is answered."""

from collections.abc import Sequence
from typing import Any

from ml_online import sentiment_scores
from ml_online.language import UNKNOWN
from ml_online.sentiment import Sentiments
from ml_online.sentiment_scores import Scored
from ml_online.sentiment_thresholds import CLASSES

_DIGITS = 4


def language_shown(language: str) -> str | None:
    """A language's code; None where it is not known which it is, or there is no text."""
    return None if language in ("", UNKNOWN) else language


def scores(learner: Sentiments, shop: str) -> dict[str, Any]:
    """How well reviews were judged, each before its stars were learned, by language and month."""
    known = {language: months.between("", "~") for language, months in learner.scores(shop).items()}
    whole = sentiment_scores.summed(one for months in known.values() for _, one in months)
    return {
        "shop": shop,
        "overall": _scored(whole),
        "languages": [
            {
                "language": language_shown(one.language),
                "known": one.known,
                "known_by": "words" if one.seeded else "evidence" if one.known else None,
                "known_since": one.known_since,
                "learned": dict(zip(CLASSES, one.learned, strict=True)),
                "scores": _scored(
                    sentiment_scores.summed(part for _, part in known.get(one.language, ()))
                ),
                "months": [
                    {"month": month, **_scored(part)} for month, part in known.get(one.language, ())
                ],
            }
            for one in learner.languages(shop)
        ],
    }


def _scored(scored: Scored) -> dict[str, Any]:
    f1 = sentiment_scores.f1_of_each(scored.called)
    count = scored.reviews
    return {
        "reviews": count,
        **_of_table(scored.called),
        "f1": {name: round(one, _DIGITS) for name, one in zip(CLASSES, f1, strict=True)},
        "brier": round(scored.brier / count, _DIGITS) if count else None,
        "calibration_error": _rounded(sentiment_scores.calibration_error(scored)),
        "majority": _of_table(scored.usual),
        "word_lists": _of_table(scored.listed),
    }


def _of_table(table: Sequence[Sequence[int]]) -> dict[str, float | None]:
    return {
        "accuracy": _rounded(sentiment_scores.accuracy(table)),
        "macro_f1": _rounded(sentiment_scores.macro_f1(table)),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
