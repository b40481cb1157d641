"""What can go wrong with the local stack."""


class StackError(Exception):
    """The stack cannot go on; the message names the culprit and says what to do next."""
