"""A report's answer as live clients hold it, and what leads from one answer to the next.

Whoever takes out what is `gone`, sets the changed figures in their places, appends those that are
new, and then, where an `order` is told, puts all into it, has the new answer, in its order.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import xxhash

from app.live.protocol import Message

_encoder = msgspec.json.Encoder(enc_hook=str)


class Answer(NamedTuple):
    """A report's rows by their ids, in its order, each as the bytes that clients get. The revision
    is a digest of them all: the same answer has the same one in every process."""

    revision: str
    figures: Mapping[str, bytes]


class Difference(NamedTuple):
    """From one answer to another: figures that are new or changed, the ids of those that are gone,
    and all ids in their order where it does not follow from the rest."""

    figures: Sequence[bytes]
    gone: Sequence[str]
    order: Sequence[str] | None


class NotTold(Exception):
    """Two rows of a report share one id: its key does not tell them apart."""


def answer_of(
    report: str, shop: str, key: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> Answer:
    """A report's rows, told apart by the columns of `key`. Raises NotTold."""
    figures: dict[str, bytes] = {}
    digest = xxhash.xxh3_128()
    for row in rows:
        name = id_of(row, key)
        if name in figures:
            raise NotTold(f"{report} has two rows {name}")
        figure = {"metric": report, "shop": shop, "id": name, "value": row}
        figures[name] = _encoder.encode(figure)
        digest.update(figures[name])
    return Answer(digest.hexdigest(), figures)


def id_of(row: Mapping[str, Any], key: Sequence[str]) -> str:
    """What tells a row apart: its key's values as a JSON array, such as `["2026-03","EUR"]`."""
    return _encoder.encode([row[name] for name in key]).decode()


def difference(before: Answer, now: Answer) -> Difference:
    """What leads from one answer to the next."""
    old, new = before.figures, now.figures
    changed = [figure for name, figure in new.items() if old.get(name) != figure]
    gone = [name for name in old if name not in new]
    follows = [name for name in old if name in new] + [name for name in new if name not in old]
    order = list(new)
    return Difference(changed, gone, None if follows == order else order)


def snapshot_message(name: str, answer: Answer) -> Message:
    """All of an answer, for the subscription of this name."""
    return _message("snapshot", name, answer.revision, list(answer.figures.values()), {})


def delta_message(name: str, revision: str, found: Difference) -> Message:
    """What has changed up to a revision."""
    more: dict[str, Any] = {"gone": found.gone}
    if found.order is not None:
        more["order"] = found.order
    return _message("delta", name, revision, found.figures, more)


SAME = Difference((), (), None)
"""Nothing has changed."""


def _message(
    kind: str, name: str, revision: str, figures: Sequence[bytes], more: Mapping[str, Any]
) -> Message:
    head = msgspec.json.encode({"type": kind, "id": name, "revision": revision, **more})
    return Message(kind, revision, head[:-1] + b',"figures":[' + b",".join(figures) + b"]}")
