"""A review as models read it: words, pairs of words and parts of words, hashed, clause by clause.

A word that a negation goes before, in the same sentence, is another word. Words and pairs have one
half of the hash space, parts of words (which a misspelt or inflected word shares with others) the
other half; so memory is bounded, whatever is written.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import xxhash

from ml_online.sentiment_words import NEGATORS

WORDS = 1 << 17
"""So many hashes of words and pairs; as many more are of parts of words."""
SPACE = 2 * WORDS

_MOST_TOKENS = 1_000
_PART = 4  # letters
_NEGATED = "~"
_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+|[!?]+|[.,;:()\n]")
_ENDS_SENTENCE = frozenset(".;:!?()\n")
_TURNS = frozenset(
    word
    for words in (
        "but however although though except mas porém porem pero aunque aber jedoch allerdings",
        "mais cependant ma però maar ale men ama",
    )
    for word in words.split()
)
"""A clause begins with them: what comes after is of another mind."""


class Clause(NamedTuple):
    """`features` are hashes, each once; `start` and `end` say where it stands in the text."""

    words: Sequence[str]
    features: Sequence[int]
    start: int
    end: int


class Text(NamedTuple):
    """A whole review, lower case. `features` are those of all its clauses, each once."""

    text: str
    clauses: Sequence[Clause]
    features: Sequence[int]

    @property
    def words(self) -> Iterator[str]:
        """All its words, in order."""
        return (word for clause in self.clauses for word in clause.words)


def read(text: str) -> Text:
    """A text's clauses and features; beyond a thousand words it is not read."""
    text = text.lower().replace("’", "'")
    clauses = list(_clauses(text))
    features = dict.fromkeys(feature for clause in clauses for feature in clause.features)
    return Text(text, clauses, list(features))


def _clauses(text: str) -> Iterator[Clause]:
    """A sentence ends with its mark, a negation with its sentence, a clause with any mark and
    before a word that turns."""
    words: list[str] = []
    features: dict[int, None] = {}
    before, begin, end, negated = "", 0, 0, False
    for found in islice(_TOKEN.finditer(text), _MOST_TOKENS):
        told = found[0]
        first = told[0]
        is_word = first.isalpha()
        if is_word or first.isdigit():
            if features and told in _TURNS:
                yield Clause(words, list(features), begin, end)
                words, features, before = [], {}, ""
            if not features:
                begin = found.start()
            end = found.end()
            feature = told if is_word else "0" * min(len(told), 3)
            if is_word:
                words.append(told)
                if len(told) > _PART:
                    features |= _of_parts(told)
                if negated:
                    feature = _NEGATED + told
                elif told in NEGATORS or told.endswith("n't"):
                    negated = True
        elif features and first in "!?":
            feature = first if len(told) == 1 else first + first
        else:
            feature = ""
        if feature:
            features[_of_words(feature)] = None
            if before:
                features[_of_words(before + " " + feature)] = None
            before = feature
        if not is_word and not first.isdigit():
            if features:
                yield Clause(words, list(features), begin, end)
                words, features = [], {}
            before = ""
            negated = negated and first not in _ENDS_SENTENCE
    if features:
        yield Clause(words, list(features), begin, end)


@lru_cache(1 << 17)
def _of_words(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode()) % WORDS


@lru_cache(1 << 15)
def _of_parts(word: str) -> dict[int, None]:
    whole = f"<{word[:40]}>"
    pieces: Iterable[str] = (whole[n : n + _PART] for n in range(len(whole) - _PART + 1))
    return {WORDS + xxhash.xxh3_64_intdigest(piece.encode()) % WORDS: None for piece in pieces}
