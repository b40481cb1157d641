"""Named points at which a process can be made to die as by kill -9; tests walk the list.

`TILLSTREAM_CRASH_AT=committed:3` kills it the third time that it gets to `committed`. Where that is
not set, a point is a call of nothing, once for a batch.
"""

import os
import signal
from collections.abc import Callable

POINTS = {
    "resumed": "partitions were given and checked against the log, nothing is read yet",
    "fetched": "a chunk has come, nothing is done with it",
    "decoded": "the dedupe window knows the records, nothing is folded",
    "folded": "a batch is folded, nothing is written",
    "committing": "the transaction has not begun",
    "progress_moved": "inside the transaction: the offsets are moved, no figure is",
    "written": "inside the transaction: all is written, COMMIT is not sent",
    "committed": "Postgres has it, Redis and Kafka know nothing of it",
    "acknowledging": "as before, on the way to the acknowledgement",
    "acknowledged": "acknowledged to Faust, Kafka has not heard of it",
    "publishing": "figures are on their way to Redis",
    "relayed": "Kafka has acknowledged the outbox's events, the outbox does not know",
}

OF_COMMANDS = {
    "command_saved": "inside a command's transaction: all is written, COMMIT is not sent",
    "command_committed": "Postgres has a command, who asked for it has no answer",
}
"""Points of the API, not of a worker."""
PAYMENTS = {
    "intent_made": "Stripe has an order's payment intent, the order does not know",
    "refund_made": "Stripe has made a refund, or refused it, its order does not know",
}
"""Those that only an order with a payment gets to."""


def _nothing(_: str) -> None: ...


def armed(setting: str | None) -> Callable[[str], None]:
    """What to call at each point. Raises ValueError where there is no point of that name."""
    if not setting:
        return _nothing
    name, _, count = setting.partition(":")
    points = (*POINTS, *OF_COMMANDS, *PAYMENTS)
    if name not in points:
        raise ValueError(f"TILLSTREAM_CRASH_AT={setting}: there are {', '.join(points)}")
    left = int(count or 1)

    def reached(point: str) -> None:
        nonlocal left
        if point == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return reached


_SETTING = os.environ.get("TILLSTREAM_CRASH_AT")
reached = armed(_SETTING)

in_transaction = (_SETTING or "").partition(":")[0] in {"progress_moved", "written"}
"""Whether it is between the statements of a transaction: there must be several, then."""
