"""Why a command is not carried out. A refused command changes nothing."""

from collections.abc import Sequence


class Refusal(Exception):
    """Which field is at fault (empty: none alone), a stable code, and why, for a person."""

    def __init__(self, code: str, reason: str, field: str = "") -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.code = code
        self.reason = reason
        self.field = field
        self.all: Sequence[Refusal] = (self,)


class Invalid(Refusal):
    """What is asked for can be no such thing."""


class Unknown(Refusal):
    """What it is about is not there, or is not this actor's to see."""


class Forbidden(Refusal):
    """This actor may not do that."""


class Conflict(Refusal):
    """It does not go with the state that things are in."""


class Stale(Refusal):
    """The actor has seen another version than there is."""


def together(refusals: Sequence[Refusal]) -> Refusal:
    """All that is at fault, of which what can be no such thing weighs most, then what is not there:
    what is in the way at this moment would not help to know alone."""
    heaviest = min(refusals, key=lambda one: _WEIGHTS.index(type(one)))
    found = type(heaviest)(heaviest.code, heaviest.reason, heaviest.field)
    found.all = tuple(refusals)
    return found


_WEIGHTS = (Invalid, Unknown, Forbidden, Stale, Conflict)
