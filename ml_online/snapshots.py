"""Signed snapshots of models: what they have become, up to where, and by which code.

A snapshot is believed if its signature is right and it was made by the same versions; otherwise
the models are learned again from the log. It holds no code: rows of JSON, compressed.
"""

import hmac
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.metadata import version

import msgspec
from msgspec import Struct

from ml_online.journal import Transaction
from ml_online.models import Models
from streams.batch import Partition

FORMAT = 1
KEPT = 2
"""Snapshots that are kept: should the last one be refused, the one before may do."""

_LEVEL = 1  # of compression: quick
_PIECE = 1 << 18


class Refused(Exception):
    """A snapshot is not to be believed; the message says why."""


class Header(Struct, frozen=True, kw_only=True):
    """What must fit before a body is looked at. Offsets are by `topic:partition`."""

    group: str
    seq: int
    offsets: Mapping[str, int]
    river: str
    families: Mapping[str, int]
    format: int = FORMAT


class Snapshot(Struct, frozen=True):
    """As it is stored."""

    seq: int
    header: bytes
    body: bytes
    signature: bytes


def take(models: Models, group: str, key: bytes) -> Snapshot:
    """The models as they are. Nothing may be learned until it returns; it may run in a thread."""
    offsets = {f"{p.topic}:{p.number}": offset for p, offset in sorted(models.next_offsets.items())}
    header = msgspec.json.encode(
        Header(
            group=group,
            seq=models.seq,
            offsets=offsets,
            river=version("river"),
            families=models.versions,
        )
    )
    compress = zlib.compressobj(_LEVEL)
    body = b"".join([*_compressed(models, compress), compress.flush()])
    return Snapshot(models.seq, header, body, _sign(key, header, body))


def _compressed(models: Models, compress: "zlib._Compress") -> Iterator[bytes]:
    piece: list[bytes] = []
    size = 0
    for line in models.lines():
        piece.append(line)
        size += len(line)
        if size > _PIECE:
            yield compress.compress(b"\n".join([*piece, b""]))
            piece, size = [], 0
    yield compress.compress(b"\n".join([*piece, b""]))


def restore(models: Models, snapshot: Snapshot, group: str, key: bytes) -> None:
    """Goes on from a snapshot. Raises Refused; then the models are as they were, or at their
    beginning."""
    if not hmac.compare_digest(snapshot.signature, _sign(key, snapshot.header, snapshot.body)):
        raise Refused("its signature is not right: it was changed, or signed with another key")
    header = msgspec.json.decode(snapshot.header, type=Header)
    here = Header(
        group=group,
        seq=snapshot.seq,
        offsets=header.offsets,
        river=version("river"),
        families=models.versions,
    )
    if header != here:
        raise Refused(f"it is of {_said(header)}, and this is {_said(here)}")
    offsets = {}
    for name, offset in header.offsets.items():
        topic, _, number = name.rpartition(":")
        offsets[Partition(topic, int(number))] = offset
    try:
        models.restore(zlib.decompress(snapshot.body).splitlines(), offsets, header.seq)
    except (ValueError, LookupError, TypeError, zlib.error, msgspec.MsgspecError) as error:
        models.reset()
        raise Refused(f"it cannot be read: {error!r}") from error


def _said(header: Header) -> str:
    models = ", ".join(f"{name} {number}" for name, number in sorted(header.families.items()))
    return f"{header.group} {header.seq}, format {header.format}, River {header.river}, {models}"


def _sign(key: bytes, header: bytes, body: bytes) -> bytes:
    signing = hmac.new(key, digestmod="sha256")
    signing.update(len(header).to_bytes(8, "big"))
    signing.update(header)
    signing.update(body)
    return signing.digest()


async def keep(transaction: Transaction, group: str, snapshot: Snapshot, at: datetime) -> None:
    """Stores a snapshot and drops those that are too old to be of use."""
    await transaction.execute(
        """
        INSERT INTO learner_snapshots VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (group_name, seq) DO UPDATE SET taken_at = excluded.taken_at,
            header = excluded.header, body = excluded.body, signature = excluded.signature
        """,
        group,
        snapshot.seq,
        at,
        snapshot.header,
        snapshot.body,
        snapshot.signature,
    )
    await transaction.execute(
        """
        DELETE FROM learner_snapshots WHERE group_name = $1 AND seq NOT IN (
            SELECT seq FROM learner_snapshots WHERE group_name = $1 ORDER BY seq DESC LIMIT $2
        )
        """,
        group,
        KEPT,
    )


async def stored(transaction: Transaction, group: str) -> list[Snapshot]:
    """Those that are kept, the latest first."""
    rows = await transaction.fetch(
        """
        SELECT seq, header, body, signature FROM learner_snapshots
        WHERE group_name = $1 ORDER BY seq DESC
        """,
        group,
    )
    return [Snapshot(*row) for row in rows]
