"""`POST /v1/events`: one event or a batch, each answered with its position or with a reason.

202 means that Kafka has acknowledged every accepted event with acks=all. A 503 may still have
been written: send the same ids again, and each counts once.
"""

import asyncio
import base64
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
import msgspec
import orjson
import structlog
import uuid_utils
from fastapi import APIRouter, Depends, Request, Response
from msgspec import Meta, Raw, Struct

from app.api import access, origin
from app.api.feedback import FEEDBACK, Known, check_feedback, nothing_known
from app.api.limits import Rates, Room, header, read_body
from app.api.problems import Problem
from app.metrics import EVENTS
from app.vault import Erased, Vault
from streams import codec
from streams.codec import Refused
from streams.events import (
    PERSONAL,
    SHOP,
    VOCABULARY,
    Data,
    Event,
    Id,
    Kind,
    Time,
    canonical,
    subject_of,
)
from streams.log import Log, LogUnavailable, Position

MOST_EVENT_BYTES = 256 * 1024
MOST_EVENTS = 10_000
_MOST_LINES = 10  # in the log, of what is refused in one request
_LONGEST_ID = 128
_RETRY = {"Retry-After": "2"}
_TURN_EVENTS = 256  # of a large batch, before others get a turn

# What follows a sale is in the sale's currency, which its event need not repeat.
_OF_AN_ORDER = frozenset(
    {"OrderUpdated", "OrderPaid", "OrderCancelled", "OrderRefunded", "SalesAdjusted"}
)

logger = structlog.get_logger()
router = APIRouter(tags=["events"])


class Submitted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event as a client sends it: what it leaves out is filled in at the door."""

    type: Annotated[str, Meta(min_length=1, max_length=128)]
    data: Raw
    id: Id | None = None
    subject: Id | None = None
    time: Time | None = None
    source: Id | None = None
    shop: Id | None = None
    person: Annotated[str, Meta(min_length=1, max_length=128, pattern="^[^@]*$")] | None = None
    correlation_id: Id | None = None
    causation_id: Id | None = None
    context: origin.Told | None = None


class _Body(Struct):
    events: list[Raw] | None = None
    batch: list[Raw] | None = None


class _Ids(Struct):
    id: str | None = None
    correlation_id: str | None = None


_ids = msgspec.json.Decoder(_Ids)
_submitted = msgspec.json.Decoder(Submitted)
_body = msgspec.json.Decoder(_Body)
_list = msgspec.json.Decoder(list[Raw])


class Intake:
    """The door for events: checks, completes, seals what is personal, and appends."""

    def __init__(
        self,
        log: Log,
        vault: Vault,
        write_keys: Mapping[str, str],
        currency: str,
        room: Room,
        rates: Rates,
        country_header: str | None = None,
        check: Callable[[Event], None] = lambda _: None,
        experiments: Known = nothing_known,
    ) -> None:
        self._experiments = experiments
        self._check_names = check  # raises Refused
        self.room = room
        self._country_header = country_header.lower().encode() if country_header else None
        self._rates = rates
        self._log = log
        self._vault = vault
        self._write_keys = write_keys
        self._currency = currency

    def known_key(self, authorization: str | None) -> tuple[str, str]:
        """A write key and the shop that it writes to; it comes as Bearer or as Basic's user."""
        scheme, _, credential = (authorization or "").partition(" ")
        if scheme.lower() == "basic":
            try:
                credential = base64.b64decode(credential).decode().partition(":")[0]
            except ValueError:
                credential = ""
        key = credential.strip()
        shop = self._write_keys.get(key)
        if shop is None:
            raise Problem(
                401,
                "write_key",
                "send a known write key: `Authorization: Bearer KEY`, or Basic with it as user",
                headers={"WWW-Authenticate": 'Bearer realm="events"'},
            )
        return key, shop

    def sender(self, request: Request) -> origin.Sender:
        """Whom a request comes from, as far as its headers tell."""
        country = header(request, self._country_header) if self._country_header else ""
        return origin.sender(header(request, b"user-agent"), country)

    async def accept(
        self,
        body: bytes,
        key: str,
        shop: str,
        now: datetime,
        sender: origin.Sender = origin.UNKNOWN,
    ) -> tuple[int, dict[str, Any]]:
        """Takes a request's body; the status and the answer. Raises Problem."""
        raws, single = split(body)
        self._rates.spend(key, len(raws), time.monotonic())
        events: list[Event] = []
        indexes: list[int] = []
        rejected: list[dict[str, Any]] = []
        for index, raw in enumerate(raws):
            try:
                event, personal = self._check(raw, shop, now, sender)
                if personal or event.type in FEEDBACK:
                    event = await self._admitted(event, personal)
                events.append(event)
                indexes.append(index)
            except Refused as refused:
                error = {"index": index, "field": refused.field, "reason": refused.reason}
                rejected.append(error)
                if len(rejected) <= _MOST_LINES:
                    logger.info("an event is refused", shop=shop, **error, **ids_of(raw))
            if index % _TURN_EVENTS == _TURN_EVENTS - 1:
                await asyncio.sleep(0)
        if rejected:
            EVENTS.labels("rejected").inc(len(rejected))
        if single and rejected:
            too_large = len(raws[0]) > MOST_EVENT_BYTES
            raise Problem(
                413 if too_large else 422,
                "too_large" if too_large else "invalid_event",
                f"{rejected[0]['field']}: {rejected[0]['reason']}".removeprefix(": "),
                rejected,
            )
        if not events:
            what = "no event of the batch is valid" if rejected else "the batch is empty"
            raise Problem(422, "invalid_events", what, rejected)
        positions = await self._append(events)
        EVENTS.labels("accepted").inc(len(events))
        accepted = [
            {"index": index, "id": event.id, "position": str(position)}
            for index, event, position in zip(indexes, events, positions, strict=True)
        ]
        if single:
            return 202, {"id": accepted[0]["id"], "position": accepted[0]["position"]}
        return 202, {"accepted": accepted, "rejected": rejected}

    async def complete(self, body: bytes, shop: str, now: datetime) -> Event:
        """A single event as it would go to the log. Raises Refused, and Problem without a vault."""
        return await self._admitted(*self._check(Raw(body), shop, now))

    async def _admitted(self, event: Event, personal: Mapping[str, Any]) -> Event:
        """A checked event as it goes to the log. Raises Refused, and Problem without a vault."""
        if event.type in FEEDBACK:
            await check_feedback(event, self._experiments)
        return await self._seal(event, personal) if personal else event

    async def _append(self, events: Sequence[Event]) -> list[Position]:
        try:
            return await self._log.append(events)
        except LogUnavailable as error:
            raise Problem(
                503,
                "log_unavailable",
                f"{error}. Nothing is acknowledged: send the same events, with these ids, again",
                [{"index": index, "id": event.id} for index, event in enumerate(events)],
                headers=_RETRY,
            ) from error

    def _check(
        self, raw: Raw, shop: str, now: datetime, sender: origin.Sender = origin.UNKNOWN
    ) -> tuple[Event, dict[str, str]]:
        """A submitted event as it goes to the log, and its personal fields, which are to be sealed
        into it. Raises Refused."""
        if len(raw) > MOST_EVENT_BYTES:
            raise Refused("", f"an event may have {MOST_EVENT_BYTES} bytes, this has {len(raw)}")
        codec.refuse_nul(bytes(raw))
        try:
            given = _submitted.decode(raw)
        except codec.UNREADABLE as error:
            raise codec.refusal(error) from None
        name = canonical(given.type)
        if name is None:
            raise Refused("type", f"unknown type {given.type!r}; /v1/schemas lists them all")
        if given.shop not in (None, shop):
            raise Refused("shop", f"this write key writes to {shop!r} alone")
        codec.check_time(given.time or now, now)
        kind = VOCABULARY[name]
        if given.source == SHOP:
            raise Refused("source", f"{SHOP!r} is the source of what commands decide, and theirs")
        if kind.ours:
            raise Refused("type", f"{name} is said by Tillstream alone")
        data = codec.decode_fields(name, given.data)
        personal = personal_fields(name, data)
        event = Event(
            id=given.id or str(uuid_utils.uuid7()),
            type=name,
            shop=shop,
            subject=_subject(kind, data, given),
            time=given.time or now,
            received_at=now,
            data=self._complete(name, data, personal, given.data),
            source=given.source or "api",
            version=kind.version,
            person=given.person,
            correlation_id=given.correlation_id,
            causation_id=given.causation_id,
            context=origin.context(given.context, sender),
        )
        self._check_names(event)
        if personal and event.person is None and kind.subject:
            field = next(iter(personal))
            raise Refused("person", f"needed: `{field}` is kept encrypted with the person's key")
        return event, personal

    def _complete(self, name: str, data: Data, personal: Mapping[str, str], sent: Raw) -> Raw:
        """The data without what is personal and with the shop's currency where none was told;
        as it was sent, where that changes nothing."""
        changes: dict[str, str | None] = dict.fromkeys(personal)
        if name not in _OF_AN_ORDER and getattr(data, "currency", "") is None:
            changes["currency"] = self._currency
        if name in PERSONAL:  # also if null was told: JSON may say a field twice
            return codec.raw(msgspec.structs.replace(data, **changes))
        return codec.raw(msgspec.structs.replace(data, **changes)) if changes else sent

    async def _seal(self, event: Event, personal: Mapping[str, str]) -> Event:
        """An event with its personal fields in it, encrypted; a visitor without a person is one."""
        person = event.person or event.subject
        try:
            sealed = await self._vault.seal(event.shop, person, event.id, personal)
        except Erased as erased:
            raise Refused("person", str(erased)) from None
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Problem(
                503, "vault_unavailable", "personal fields cannot be sealed now", headers=_RETRY
            ) from error
        return msgspec.structs.replace(event, person=person, sealed=sealed)


def ids_of(raw: Raw) -> dict[str, str | None]:
    """What a refused event can be found by, where it can be read at all."""
    try:
        found = _ids.decode(raw)
    except codec.UNREADABLE:
        return {}
    return {
        "event_id": found.id and found.id[:_LONGEST_ID],
        "correlation_id": found.correlation_id and found.correlation_id[:_LONGEST_ID],
    }


def personal_fields(name: str, data: Data) -> dict[str, str]:
    """The fields of an event that may stand on the log only encrypted."""
    named = PERSONAL.get(name)
    if not named:
        return {}
    return {field: told for field in named if (told := getattr(data, field)) is not None}


def _subject(kind: Kind, data: Data, given: Submitted) -> str:
    """Whom or what the event is about: the data's own id, else as told. Raises Refused."""
    subject = subject_of(kind, data) or given.subject
    if subject is None:
        needed = f"{' or '.join(kind.subject)} in data" if kind.subject else "the visitor's id"
        raise Refused("subject", f"needed: {needed}")
    if not kind.subject and "@" in subject:
        raise Refused("subject", "an opaque id of the visitor, not an e-mail address")
    if given.subject not in (None, subject):
        raise Refused("subject", f"differs from the data's own id {subject!r}")
    return subject


def split(body: bytes) -> tuple[list[Raw], bool]:
    """The events of a body, and whether it was a single one. Raises Problem."""
    try:
        return _split(body)
    except codec.UNREADABLE as error:
        if (mended := codec.without_halves(body)) != body:
            return split(mended)
        raise Problem(400, "invalid_json", f"expected an event or a batch: {error}") from None


def _split(body: bytes) -> tuple[list[Raw], bool]:
    if body.lstrip()[:1] == b"[":
        return _few(_list.decode(body)), False
    found = _body.decode(body)
    if found.events is not None and found.batch is not None:
        raise Problem(400, "two_batches", "either `events` or `batch`, not both")
    events = found.events if found.events is not None else found.batch
    return ([Raw(body)], True) if events is None else (_few(events), False)


def _few(events: list[Raw]) -> list[Raw]:
    if len(events) > MOST_EVENTS:
        detail = f"a request may have {MOST_EVENTS} events, this has {len(events)}"
        raise Problem(413, "too_large", detail)
    return events


_EXAMPLE = {
    "type": "OrderCompleted",
    "person": "p-7",
    "data": {
        "order_id": "1001",
        "currency": "EUR",
        "country": "DE",
        "products": [{"product_id": "mug", "category": "kitchen", "price": "9.90", "quantity": 2}],
    },
}


PATH = "/v1/events"


@router.post(
    PATH,
    operation_id="events_append",
    status_code=202,
    summary="Append one event or a batch",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}, "example": _EXAMPLE}},
        },
    },
    dependencies=[Depends(access.WRITERS)],
)
async def append(request: Request) -> Response:
    """An event, an array of events, or `{"events": […]}`, under a write key.

    In a batch the good are taken, and each bad one is answered with its index, field and reason.
    `context` may tell an event's `source`, `country` and `visitor`, and that it is of a `bot`, or
    the `user_agent` by which that is told.
    """
    intake: Intake = request.app.state.intake
    key, shop = intake.known_key(header(request, b"authorization"))
    with intake.room.share() as share:
        body = await read_body(request, share)
        sender = intake.sender(request)
        status, found = await intake.accept(body, key, shop, datetime.now(UTC), sender)
    return Response(orjson.dumps(found), status, media_type="application/json")
