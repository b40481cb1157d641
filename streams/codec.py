"""The bytes of the log: an event to a record's value and back, checked once, before any fold."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec
import xxhash
from msgspec import Struct

from streams import money
from streams.events import VOCABULARY, Data, Event
from streams.upcast import NotLifted, lift

AHEAD = timedelta(minutes=5)
EARLIEST_YEAR, LATEST_YEAR = 1970, 2999
_LONGEST_SHOP = 128

# What a decoder raises on bytes that are no event: wrong, not UTF-8, or nested without end.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Refused(Exception):
    """A record or a submission is not an event: which field, and why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


class Fact(Struct, frozen=True, gc=False):
    """An event that counts, decoded, with where it stands in the log."""

    topic: str
    partition: int
    offset: int
    event: Event
    data: Data


_encoder = msgspec.json.Encoder(enc_hook=money.encode, decimal_format="string")
_envelopes = msgspec.json.Decoder(Event)
_decoders: Mapping[str, msgspec.json.Decoder[Data]] = {
    name: msgspec.json.Decoder(kind.data, dec_hook=money.decode)
    for name, kind in VOCABULARY.items()
}

encode = _encoder.encode


def raw(data: Data) -> msgspec.Raw:
    """An event's own fields as they stand in its envelope."""
    return msgspec.Raw(_encoder.encode(data))


def decode_envelope(value: bytes | None) -> Event:
    """The envelope alone. Raises Refused."""
    if value is None:
        raise Refused("", "an empty record")
    refuse_nul(value)
    try:
        return _envelopes.decode(value)
    except UNREADABLE as error:
        raise refusal(error) from None


class _Owned(Struct):
    shop: str


_owned = msgspec.json.Decoder(_Owned)


def shop_of(value: bytes | None) -> str | None:
    """Whose a record is that is no event; None where it does not say."""
    try:
        shop = _owned.decode(value or b"").shop
    except UNREADABLE:
        return None
    return shop if 0 < len(shop) <= _LONGEST_SHOP and "\0" not in shop else None


def refuse_nul(value: bytes) -> None:
    """Postgres' text cannot hold NUL, which JSON can only say in this way. Raises Refused."""
    # Most events have no backslash at all, which is quickest to see.
    if b"\\" in value and b"\\u0000" in value and _NUL.search(value):
        raise Refused("", "text with a NUL character (\\u0000) or with half a surrogate pair")


# An odd number of backslashes: an even one is the text "\\u0000" itself.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def without_halves(value: bytes) -> bytes:
    """JSON in which every half of a surrogate pair, which may stand there and is no character, is
    NUL. msgspec reads nothing at all that has one anywhere: so a batch would go with one event."""
    return _ESCAPES.sub(lambda found: _NUL_SAID if _HALF.fullmatch(found[0]) else found[0], value)


_NUL_SAID = b"\\u0000"
_HALF = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_ESCAPES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)",
    re.DOTALL,
)


def decode_data(event: Event, topic: str) -> Data:
    """An event's own fields in their present version, checked. Raises Refused."""
    kind = VOCABULARY.get(event.type)
    if kind is None:
        raise Refused("type", f"unknown type {event.type!r}")
    if kind.topic != topic:
        raise Refused("type", f"{event.type} belongs on {kind.topic}, not on {topic}")
    data = event.data
    if event.version != kind.version:
        try:
            data = lift(event.type, event.version, kind.version, data)
        except NotLifted as error:
            raise Refused("version", str(error)) from None
    check_time(event.time, event.received_at)
    return decode_fields(event.type, data)


def check_time(time: datetime, received_at: datetime) -> None:
    """Raises Refused where an event is dated into the future, or out of any shop's life."""
    if time - received_at > AHEAD:
        raise Refused("time", "more than five minutes ahead of its receipt")
    if not EARLIEST_YEAR <= time.year <= LATEST_YEAR:
        raise Refused("time", f"not between {EARLIEST_YEAR} and {LATEST_YEAR}")


def decode_fields(name: str, data: msgspec.Raw) -> Data:
    """The fields of an event of a known type. Raises Refused."""
    try:
        return _decoders[name].decode(data)
    except UNREADABLE as error:
        raise refusal(error, "data") from None


def refusal(error: Exception, inside: str = "") -> Refused:
    """msgspec's `Expected … - at `$.a[0].b`` as a field (`a[0].b`) and a reason."""
    reason, _, path = str(error).partition(" - at `")
    field = path.removesuffix("`").removeprefix("$").removeprefix(".")
    quoted = reason.split("`")
    if "field `" in reason:  # a missing or an unknown one: the path ends at its holder
        field = f"{field}.{quoted[1]}" if field else quoted[1]
    return Refused(".".join(part for part in (inside, field) if part), reason)


def identity(event: Event) -> int:
    """64 bits that stand for (shop, id)."""
    return xxhash.xxh3_64_intdigest(f"{event.shop}\0{event.id}".encode())


def fingerprint(event: Event) -> int:
    """64 bits of what a retry repeats: type, subject, data and the sender's own time.

    A sender who gave no time got the time of receipt, and a retry gets another.
    """
    own_time = 0.0 if event.time == event.received_at else event.time.timestamp()
    said = f"{event.type}\0{event.subject}\0{own_time}\0{event.sealed or ''}\0"
    return xxhash.xxh3_64_intdigest(event.data, xxhash.xxh3_64_intdigest(said.encode()))
