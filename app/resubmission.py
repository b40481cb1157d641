"""Sending a record of the quarantine again, mended or as it is.

A record is sent again at most once: a row says so, committed together with the event in the outbox,
and the event's id is made of the record's position in its topic.
"""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID, uuid5

import asyncpg
import msgspec
from cryptography.exceptions import InvalidTag
from msgspec import Raw

from app.api.ingest import Intake
from app.subscriptions import SUBSCRIPTIONS
from app.vault import Erased, Vault
from projections.quarantine import FailedEvent, Resubmitted, sent_again
from streams import codec
from streams.codec import Refused
from streams.events import VOCABULARY, canonical
from streams.outbox import TooLarge, enqueue

_NAMESPACE = UUID("5f0f2a0e-6f0a-5d7c-9c3c-0d1b6a3f7e11")
_POLL_SECONDS = 0.05
# What Tillstream wrote into the envelope, and a client may not; what a correction need not repeat.
_OURS = ("received_at", "version")
_INHERITED = ("time", "person", "source", "correlation_id", "causation_id", "context")


class Contradicted(Exception):
    """The record was sent again before, saying something else."""

    def __init__(self, before: Resubmitted) -> None:
        where = f" at {before.position}" if before.position else ""
        super().__init__(
            f"it was resubmitted before, as {before.event_id}{where}, with other words"
        )


class AppliedElsewhere(Exception):
    """The record was skipped for some of its groups: sent again, it would count twice in others."""

    def __init__(self, groups: Sequence[str]) -> None:
        super().__init__(
            f"it is an event that {', '.join(groups)} may apply: sent again, it would count twice "
            "there"
        )


class Resubmission:
    """Sends records of the quarantine again, through the door that every event comes in by."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", intake: Intake, vault: Vault) -> None:
        self._pool = pool
        self._intake = intake
        self._vault = vault

    async def send(
        self, failed: FailedEvent, shop: str, body: bytes | None, now: datetime, wait: float
    ) -> tuple[Resubmitted, bool]:
        """Sends a record again, as it is or as corrected, and waits so long for its position; and
        whether that is new. The same once more changes nothing.

        Raises Refused, Contradicted, AppliedElsewhere, Problem.
        """
        if body is None and failed.resubmitted is not None:
            return failed.resubmitted, False
        await self._check_skipped(failed)
        submission = await self._submission(failed, shop, body)
        event = await self._intake.complete(submission, shop, now)
        fingerprint = codec.fingerprint(event) - (1 << 63)
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                # Whoever else does the same waits here for how this one ends.
                await connection.execute(
                    "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
                    f"resubmit {failed.position}",
                )
                before = await connection.fetchval(
                    "SELECT fingerprint FROM resubmissions "
                    "WHERE (topic, partition, record_offset, topic_id) = ($1, $2, $3, $4)",
                    *failed.position,
                    failed.topic_id,
                )
                if before is None:
                    (outbox_id,) = await enqueue(connection, [event])
                    await connection.execute(
                        "INSERT INTO resubmissions (topic, partition, record_offset, topic_id, "
                        "shop, event_id, fingerprint, outbox_id) "
                        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                        *failed.position,
                        failed.topic_id,
                        shop,
                        event.id,
                        fingerprint,
                        outbox_id,
                    )
        except TooLarge as error:
            raise Refused("", str(error)) from None
        if before not in (None, fingerprint):
            raise Contradicted(await self._acknowledged(failed, 0))
        return await self._acknowledged(failed, wait), before is None

    async def _acknowledged(self, failed: FailedEvent, wait: float) -> Resubmitted:
        """What a record was sent again as, with its position if Kafka has it so soon."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            found = await sent_again(self._pool, failed.position, failed.topic_id)
            if found.position or loop.time() >= until:
                return found
            await asyncio.sleep(_POLL_SECONDS)

    async def _check_skipped(self, failed: FailedEvent) -> None:
        """A record that is no event is none to any group. One that was skipped is an event, and
        whoever did not skip it applies it. Raises AppliedElsewhere."""
        rows = await self._pool.fetch(
            "SELECT group_name FROM skips "
            "WHERE (topic, partition, record_offset, topic_id) = ($1, $2, $3, $4)",
            *failed.position,
            failed.topic_id,
        )
        reading = {row.group for row in SUBSCRIPTIONS if row.topic == failed.position.topic}
        if rows and (others := reading - {row["group_name"] for row in rows}):
            raise AppliedElsewhere(sorted(others))

    async def _submission(self, failed: FailedEvent, shop: str, body: bytes | None) -> bytes:
        """A record, or its correction, as a client would send it, under its new id. What a
        correction does not say of time, sender and cause is the record's. Raises Refused."""
        original = _fields(failed.payload)
        if body is None and not original:
            raise Refused("", "the record cannot be read: send a corrected event as the body")
        given = dict(original) if body is None else _fields(body)
        if not given:
            raise Refused("", "expected an event: a JSON object")
        _check_version(given)
        sealed = given.pop("sealed", None)
        for name in _INHERITED:
            if name in original:
                given.setdefault(name, original[name])
        given.setdefault("time", _json(failed.recorded_at.isoformat()))
        if failed.event_id is not None:
            given.setdefault("causation_id", _json(failed.event_id))
        given["id"] = _json(new_id(failed))
        if sealed is not None:
            given["data"] = await self._opened(failed, shop, given, sealed)
        for name in _OURS:
            given.pop(name, None)
        return msgspec.json.encode(given)

    async def _opened(
        self, failed: FailedEvent, shop: str, given: Mapping[str, Raw], sealed: Raw
    ) -> Raw:
        """The data with the personal fields that were sealed for the record's own id: they are to
        be sealed for the new one. Raises Refused."""
        try:
            person = msgspec.json.decode(given.get("person", Raw(b"null")), type=str)
            text = msgspec.json.decode(sealed, type=str)
            opened = await self._vault.open(shop, person, failed.event_id or "", text)
            said = msgspec.json.decode(given.get("data", Raw(b"{}")), type=dict[str, Raw])
            return _json({**opened, **said})
        except Erased as erased:
            raise Refused("person", str(erased)) from None
        except (InvalidTag, ValueError):
            raise Refused("sealed", "it was not sealed for this event: leave it out") from None


def new_id(failed: FailedEvent) -> str:
    """The id under which a record is sent again: the same at every try."""
    where = f"{failed.topic_id} {failed.position}"
    return str(uuid5(_NAMESPACE, f"{where} {failed.event_id or ''}"))


def as_text(failed: FailedEvent) -> str | None:
    """A payload as it can be shown; None where it is none, or no text."""
    payload = failed.payload
    if payload is None:
        return None
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        cut_off = len(payload) < failed.size and error.start > len(payload) - 4
        return payload[: error.start].decode() if cut_off else None


def as_json(failed: FailedEvent) -> dict[str, object]:
    """A record as the API and the command line show it."""
    text = as_text(failed)
    shown: dict[str, object] = {"payload": text}
    if text is None and failed.payload is not None:
        shown["payload_base64"] = base64.b64encode(failed.payload).decode()
    again = failed.resubmitted
    return {
        "position": str(failed.position),
        "groups": list(failed.groups),
        "shop": failed.shop,
        "event_id": failed.event_id,
        "field": failed.field,
        "reason": failed.reason,
        "recorded_at": failed.recorded_at,
        **shown,
        "bytes": failed.size,
        "resubmitted": again and resubmitted_json(again),
    }


def resubmitted_json(again: Resubmitted) -> dict[str, object]:
    """What became of a record, as the API and the command line show it."""
    return {
        "id": again.event_id,
        "position": str(again.position) if again.position else None,
        "at": again.at,
    }


def _fields(value: bytes | None) -> dict[str, Raw]:
    """An envelope's fields, as they stand; empty where it has none that can be read."""
    try:
        return msgspec.json.decode(value or b"", type=dict[str, Raw])
    except codec.UNREADABLE:
        return {}


def _json(value: object) -> Raw:
    return Raw(msgspec.json.encode(value))


def _check_version(given: Mapping[str, Raw]) -> None:
    """Raises Refused where an event is of another version than is taken at the door."""
    try:
        version = msgspec.json.decode(given.get("version", Raw(b"1")))
        name = canonical(msgspec.json.decode(given.get("type", Raw(b'""')), type=str))
    except codec.UNREADABLE:
        name, version = None, 1
    if name is not None and version != VOCABULARY[name].version:
        raise Refused("version", f"{name} is of version {VOCABULARY[name].version} here")
