"""What clients of a live feed say, and what they are told, whichever way it travels."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct

from app.reports.table import QUERIES
from projections.clock import ShopClock
from projections.revenue import DIMENSIONS
from streams.codec import EARLIEST_YEAR, LATEST_YEAR, UNREADABLE, Refused, refusal

# What is pushed as it changes, and which fields of its figures may be filtered by. Every report may
# be asked for, too: see `app.live.queries`.
METRICS: Mapping[str, frozenset[str]] = {
    "revenue": frozenset({"dimension", "hour", "day", "key", "currency"}),
    "best_sellers": frozenset({"day", "product", "currency"}),
}
_TODAY = "today"
_MOST_LETTERS = 128
_MOST_VALUES = 1000

Word = Annotated[str, Meta(max_length=_MOST_LETTERS)]
StreamId = tuple[int, int]


class Subscribe(Struct, frozen=True, forbid_unknown_fields=True):
    """What a client sends. `since` is a revision to resume from, `id` comes back in each answer."""

    subscribe: Word
    id: Word | None = None
    shop: Word = "main"
    filter: dict[
        Word, Word | Annotated[list[Word], Meta(min_length=1, max_length=_MOST_VALUES)]
    ] = {}
    since: Word | None = None


class LiveFigure(Struct, frozen=True):
    """A figure as it goes to clients, as far as filters look into it."""

    metric: str
    shop: str
    id: str
    value: dict[str, Any]


class Change(Struct, frozen=True):
    """A figure that has changed: in which entry of the stream, what it is, and its bytes as clients
    get them."""

    stream_id: StreamId
    figure: LiveFigure
    encoded: bytes


class Message(NamedTuple):
    """One thing to tell a client: `snapshot`, `delta`, `beat` or `error`, the revision it brings
    the client to, and the whole as JSON."""

    kind: str
    revision: str
    body: bytes


_subscribes = msgspec.json.Decoder(Subscribe)
_figure = msgspec.json.Decoder(LiveFigure)
_array = msgspec.json.Decoder(list[msgspec.Raw])


def names() -> list[str]:
    """All that may be subscribed to."""
    return [*sorted(METRICS), *QUERIES]


def parse(text: str | bytes) -> Subscribe:
    """What a frame asks for. Raises Refused with the field and the reason."""
    try:
        return _checked(_subscribes.decode(text))
    except UNREADABLE as error:
        raise refusal(error) from None


def parse_query(metric: str, query: Sequence[tuple[str, str]], since: str | None) -> Subscribe:
    """What a URL asks for: `shop`, `since`, and all else filters, repeated for several values.

    Raises Refused with the field and the reason.
    """
    asked: dict[str, Any] = {"subscribe": metric, "filter": {}}
    for name, value in query:
        if len(value) > _MOST_LETTERS:
            raise Refused(name, f"it may have {_MOST_LETTERS} characters")
        if name in ("shop", "since"):
            asked[name] = value
        else:
            asked["filter"].setdefault(name, []).append(value)
    if since is not None:
        asked["since"] = since
    try:
        return _checked(msgspec.convert(asked, Subscribe))
    except UNREADABLE as error:
        raise refusal(error) from None


def _checked(wanted: Subscribe) -> Subscribe:
    if wanted.subscribe in QUERIES:
        return wanted  # its filters are those of its HTTP query
    fields = METRICS.get(wanted.subscribe)
    if fields is None:
        raise Refused("subscribe", f"unknown metric; there are {', '.join(names())}")
    return msgspec.structs.replace(wanted, filter=_filter(wanted, fields))


def _filter(wanted: Subscribe, fields: Collection[str]) -> dict[Word, list[Word]]:
    """A filter's values as figures have them. Raises Refused."""
    found = {}
    for field, told in wanted.filter.items():
        if field not in fields:
            known = ", ".join(sorted(fields))
            raise Refused(f"filter.{field}", f"{wanted.subscribe} is filtered by {known}")
        values = [told] if isinstance(told, str) else told
        try:
            found[field] = [_VALUES.get(field, str)(value) for value in values]
        except (ValueError, OverflowError):
            raise Refused(f"filter.{field}", f"expected {_EXPECTED[field]}") from None
    return found


def _day(text: str) -> str:
    return text if text == _TODAY else date.fromisoformat(text).isoformat()


def _hour(text: str) -> str:
    hour = datetime.fromisoformat(text)
    if hour.tzinfo is None or not EARLIEST_YEAR <= hour.year <= LATEST_YEAR:
        raise ValueError(text)
    return hour.isoformat()


def _currency(text: str) -> str:
    if not re.fullmatch("[A-Z]{3}", text):
        raise ValueError(text)
    return text


def _dimension(text: str) -> str:
    if text not in DIMENSIONS:
        raise ValueError(text)
    return text


# How each field's values are read; whatever is not named here may be anything.
_VALUES: Mapping[str, Callable[[str], str]] = {
    "day": _day,
    "hour": _hour,
    "currency": _currency,
    "dimension": _dimension,
}
_EXPECTED = {
    "day": f"a date such as 2026-03-01, or {_TODAY}",
    "hour": "the beginning of an hour, with its offset, such as 2026-03-01T12:00:00Z",
    "currency": "three capital letters",
    "dimension": f"one of {', '.join(DIMENSIONS)}",
}


def stream_id(text: str) -> StreamId:
    """`1700-3` as (1700, 3), which orders as the stream does. Raises ValueError."""
    if not (found := _STREAM_ID.fullmatch(text)):
        raise ValueError(text)
    return int(found[1]), int(found[2] or 0)


# As large as Redis' own are for some time; a larger one would be an error of every command.
_STREAM_ID = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")


def figure(encoded: bytes) -> LiveFigure:
    """What filters look at, of a figure as clients get it."""
    return _figure.decode(encoded)


def changes(found: str, fields: Mapping[bytes, bytes]) -> list[Change]:
    """An entry of the stream, decoded once for all clients."""
    at = stream_id(found)
    encoded = _array.decode(fields[b"figures"])
    return [Change(at, figure(one), bytes(one)) for one in encoded]


def figures_message(kind: str, name: str, revision: str, figures: Sequence[bytes]) -> Message:
    """A snapshot or a delta of encoded figures."""
    head = msgspec.json.encode({"type": kind, "id": name, "revision": revision})
    return Message(kind, revision, head[:-1] + b',"figures":[' + b",".join(figures) + b"]}")


def beat(revision: str) -> Message:
    """Nothing has changed, and all is well."""
    return Message("beat", revision, msgspec.json.encode({"type": "beat", "revision": revision}))


def error(refused: Refused, name: str | None = None) -> Message:
    """What was wrong with what a client sent, or why the subscription of this name has ended."""
    said = {"type": "error", "field": refused.field, "reason": refused.reason}
    return Message("error", "", msgspec.json.encode(said if name is None else said | {"id": name}))


class Subscription:
    """What one client wants of one metric, and from where in the stream on."""

    def __init__(self, wanted: Subscribe, clock: ShopClock) -> None:
        self.id = wanted.id or wanted.subscribe
        self.metric = wanted.subscribe
        self.shop = wanted.shop
        self._clock = clock
        self._filter = {
            field: frozenset([value] if isinstance(value, str) else value)
            for field, value in wanted.filter.items()
        }
        if "hour" in self._filter:  # told in any zone
            hours = map(datetime.fromisoformat, self._filter["hour"])
            self._filter["hour"] = frozenset(h.astimezone(clock.zone).isoformat() for h in hours)
        self.after: StreamId | None = None  # none: its snapshot is still to come

    def wants(self, figure: LiveFigure) -> bool:
        """Whether a figure passes the filter. `today` is the shop's day at this moment."""
        if figure.metric != self.metric or figure.shop != self.shop:
            return False
        return all(
            str(figure.value.get(field)) in values
            or (_TODAY in values and figure.value.get(field) == self._today())
            for field, values in self._filter.items()
        )

    def _today(self) -> str:
        return self._clock.day(self._clock.hour(datetime.now(UTC))).isoformat()
