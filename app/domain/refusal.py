"""Why a command is not carried out. A refused command changes nothing."""


class Refusal(Exception):
    """Which field is at fault (empty: none alone), a stable code, and why, for a person."""

    def __init__(self, code: str, reason: str, field: str = "") -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.code = code
        self.reason = reason
        self.field = field


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
