"""Learning what takes long beside answers.

A day of thousands of series takes seconds to learn. Meanwhile questions are to be answered, and
from models that have learned all of a fact or nothing of it. So a branch of the learners learns it,
in a thread: copies that share all with them but what they know of the fact's shop. Once it is done,
the branch takes their place at once.
"""

import copy
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from ml_online.family import Learner
from streams.codec import Fact


@runtime_checkable
class Branching(Protocol):
    """A learner of which there may be a branch: what it knows of a shop, it knows by its name."""

    def shops(self) -> Mapping[str, object]:
        """What is known of each, of which nothing is shared between them."""

    def takes_long(self, fact: Fact) -> bool:
        """Whether others should not wait until it is learned."""


def branch(learner: Learner, shop: str, instead: Mapping[int, Learner]) -> Learner:
    """A learner that goes on from what this one is. What it learns of this shop leaves this one as
    it is, and of other shops it may learn nothing; it looks at others `instead` of those with these
    ids."""
    assert isinstance(learner, Branching)
    memo: dict[int, Any] = dict(instead)
    memo |= {id(one): one for name, one in learner.shops().items() if name != shop}
    return copy.deepcopy(learner, memo)
