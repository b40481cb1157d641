"""Which language a review is in, by the small words that hold its sentences together.

No more is told than the words say: where none is known, or too few, the language is not known.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from ml_online.sentiment_words import BLAME, FUNCTION, PRAISE

UNKNOWN = "und"
"""As ISO 639-2 has it: undetermined."""

_LEAST_SHARE = 0.15
"""Of a text's words that are to be of a language."""
_SHORT = 3
"""Words: of a longer text a single one says nothing."""
FAMILIAR = 0.5
"""Of a text in no language that we have words of: how much of it the shop's other reviews have."""


def _languages() -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for lists in (FUNCTION, PRAISE, BLAME):
        for language, words in sorted(lists.items()):
            for word in sorted(words):
                known = found.setdefault(word, [])
                if language not in known:
                    known.append(language)
    return found


_OF_WORD = _languages()


def guess(words: Sequence[str], usual: str, familiar: Callable[[], float]) -> str:
    """The language of a text: that of most of its words, the `usual` one among equals. Where they
    say nothing it is the usual one if enough of them are `familiar` there (a share); else UNKNOWN.
    """
    hits = Counter(language for word in words for language in _OF_WORD.get(word, ()))
    if hits:
        most = max(hits.values())
        if most >= max(_LEAST_SHARE * len(words), 2 if len(words) > _SHORT else 1):
            best = sorted(language for language, count in hits.items() if count == most)
            return usual if usual in best else best[0]
    if usual and (not words or familiar() >= FAMILIAR):
        return usual  # in marks and numbers it is all the same
    return UNKNOWN
