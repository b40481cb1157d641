"""What can go wrong with the local stack."""


class StackError(Exception):
    """The stack cannot go on; the message names the culprit and says what to do next."""


class DownloadFailed(StackError):
    """A file that is needed could not be had; nothing that is kept here is to blame."""
