"""`tillstream trigger`: one believable event of any type, made up from the type's own fields."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx2
import msgspec
import orjson
from msgspec import inspect
from rich.markup import escape

from app.subscriptions import GROUPS, topics_of
from app.target import Target
from streams import codec, money
from streams.codec import Refused
from streams.events import VOCABULARY, Data, canonical
from streams.money import SignedMoney

_TIMEOUT_SECONDS = 15.0
_NEAR = 4


class NotSent(Exception):
    """There is no such type, or the event was refused; the message says what to do next."""


class Said(NamedTuple):
    """What the person at the keyboard said of the event; the rest is made up."""

    country: str | None = None
    product: str | None = None
    category: str | None = None
    quantity: int | None = None
    price: str | None = None
    currency: str | None = None
    order: str | None = None
    person: str | None = None


class Answer(NamedTuple):
    id: str
    position: str


# The fields that what was said goes to; of `products`, it goes to the one line.
_FIELD_OF: Mapping[str, str] = {"product": "product_id", "order": "order_id"}
_OF_A_LINE = frozenset({"product_id", "category", "quantity", "price"})


def event(spelling: str, said: Said, token: str) -> dict[str, Any]:
    """An event as a client would send it. `token` makes its ids its own. Raises NotSent."""
    name = canonical(spelling)
    if name is None or VOCABULARY[name].ours:
        raise NotSent(f"{spelling!r} is no type that a shop may say. {near(spelling)}")
    kind = VOCABULARY[name]
    told = {
        _FIELD_OF.get(field, field): value
        for field, value in said._asdict().items()
        if value is not None and field != "person"
    }
    about = kind.subject[0] if kind.subject else ""
    data = _Making(name, told, token, about).data(kind.data)
    try:
        codec.decode_fields(name, msgspec.Raw(orjson.dumps(data)))
    except Refused as refused:
        raise NotSent(f"{name} would be refused: {refused}") from refused
    made = {"type": name, "data": data, "person": said.person or f"p-{token}"}
    return made if kind.subject else made | {"subject": made["person"]}


def near(spelling: str) -> str:
    """The types that are spelled alike, else all of them."""
    names = {name.lower(): name for name, kind in VOCABULARY.items() if not kind.ours}
    squeezed = "".join(filter(str.isalnum, spelling)).lower()
    close = [name for name in names if squeezed and squeezed in name]
    close += [one for one in get_close_matches(squeezed, names, _NEAR, 0.5) if one not in close]
    if close:
        return f"Did you mean {', '.join(names[name] for name in close[:_NEAR])}?"
    return f"There are {', '.join(names.values())}"


class _Making:
    """The fields of one event: those said, those needed, and those that make it believable."""

    def __init__(self, name: str, told: Mapping[str, Any], token: str, about: str) -> None:
        self._name = name
        self._told = told
        self._token = token
        self._about = about
        self._used: set[str] = set()

    def data(self, kind: type[Data]) -> dict[str, Any]:
        """Raises NotSent where the type has no place for what was said."""
        made = self._struct(kind, outermost=True)
        if unused := self._told.keys() - self._used:
            field = min(unused)
            raise NotSent(f"{self._name} has no {field}; its fields are {', '.join(_names(kind))}")
        return made

    def _struct(self, kind: type[msgspec.Struct], *, outermost: bool = False) -> dict[str, Any]:
        made = {}
        for field in msgspec.structs.fields(kind):
            if field.name in self._told and (outermost or field.name in _OF_A_LINE):
                self._used.add(field.name)
                made[field.name] = self._told[field.name]
            elif field.required or field.name == self._about or self._is_shown(field.name):
                made[field.name] = self._value(field.name, field.type)
        return made

    def _is_shown(self, name: str) -> bool:
        """Whether a field that is not needed is made up too. What follows a sale is about that
        sale as it was: a refund without lines gives back all that is left of it."""
        if name == "products" and self._told.keys() & _OF_A_LINE:
            return True
        shown = _SHOWN_AFTER_SALE if self._name in _AFTER_SALE else _SHOWN
        return name in shown

    def _value(self, name: str, kind: Any) -> Any:
        if name in _VALUES:
            return _VALUES[name]
        if name == "name":
            return str(self._told.get("product_id", _VALUES["product_id"])).capitalize()
        if name in _SUMS:
            return self.total
        if name == "price":
            return self.price
        return self._of_type(name, inspect.type_info(kind))

    def _of_type(self, name: str, kind: inspect.Type) -> Any:
        """Something of a type, for fields whose names say nothing to us."""
        match kind:
            case inspect.UnionType(types=types):
                real = [one for one in types if not isinstance(one, inspect.NoneType)]
                return self._of_type(name, real[0])
            case inspect.StructType(cls=struct):
                return self._struct(struct)
            case inspect.ListType(item_type=item):
                return [self._of_type(name, item)]
            case inspect.DictType():
                return {}
            case inspect.BoolType():
                return True
            case inspect.IntType(ge=least):
                return max(1, least or 1)
            case inspect.FloatType():
                return 1.0
            case inspect.EnumType(cls=enum):
                return next(iter(enum)).value
            case inspect.LiteralType(values=values):
                return values[0]
            case inspect.CustomType(cls=custom) if issubclass(custom, SignedMoney):
                return self.price
            case inspect.DateTimeType():
                return "2026-01-01T00:00:00Z"
            case inspect.DateType():
                return "2026-01-01"
            case _:
                named = name.removesuffix("_id")
                return name.replace("_", " ") if named == name else f"{named}-{self._token}"

    @property
    def price(self) -> str:
        return str(self._told.get("price", "9.90"))

    @property
    def total(self) -> str:
        """What the one line comes to. Raises NotSent."""
        try:
            return money.text(money.parse(self.price) * int(self._told.get("quantity", 1)))
        except ValueError as error:
            raise NotSent(f"--price {self.price!r}: {error}") from error


def _names(kind: type[Data]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(kind)]


_VALUES: Mapping[str, Any] = {
    "product_id": "mug",
    "category": "kitchen",
    "quantity": 1,
    "country": "DE",
    "currency": "EUR",
    "promotion_id": "kitchen-week",
    "coupon_id": "WELCOME10",
    "rating": 5,
    "review_body": "Holds coffee, and has not broken yet.",
    "query": "blue mug",
    "share_via": "email",
    "payment_method": "card",
    "shipping_method": "parcel",
    "step": 1,
    "reason": "tried out",
}
_SUMS = frozenset({"revenue", "total", "value", "amount"})
_SHOWN = frozenset(
    {"name", "category", "price", "quantity", "country", "currency", "revenue", "total", "value"}
    | {"products", "query", "review_body", "share_via", "payment_method", "shipping_method", "step"}
)
_AFTER_SALE = frozenset({"OrderPaid", "OrderCancelled", "OrderRefunded", "SalesAdjusted"})
_SHOWN_AFTER_SALE = frozenset({"reason", "name", "category", "quantity"})


# Sending it.


async def send(
    to: Target, event: Mapping[str, Any], transport: httpx2.AsyncBaseTransport | None = None
) -> Answer:
    """Sends it; its id and position. Raises NotSent."""
    headers = {"Authorization": f"Bearer {to.key}"}
    async with httpx2.AsyncClient(timeout=_TIMEOUT_SECONDS, transport=transport) as client:
        try:
            answer = await client.post(f"{to.api}/v1/events", json=event, headers=headers)
        except httpx2.HTTPError as error:
            raise NotSent(f"the API does not answer at {to.api}: {error!r}") from error
    if answer.status_code != 202:
        raise NotSent(f"the API answered {answer.status_code}: {answer.text[:500]}")
    return Answer(**answer.json())


def next_steps(to: Target, event: Mapping[str, Any], position: str) -> Iterator[str]:
    """What was sent, and the commands that show what it did."""
    data = orjson.dumps(event["data"]).decode()
    yield f"[green]✓[/] {event['type']} {escape(data)}"
    topic = position.partition(":")[0]
    where = f"shop={quote(to.shop, safe='')}&min_position={position}"
    if topic == "orders":
        order_id = event["data"].get("order_id") or event["data"].get("checkout_id")
        yield f"  curl '{to.api}/v1/orders/{quote(str(order_id), safe='')}?{where}'"
        yield f"  curl '{to.api}/v1/sales/revenue?{where}'"
    elif any(topic in topics_of(group) for group in GROUPS):
        yield "  tillstream doctor  # says when it is applied"
    else:
        yield f"  nothing reads {topic} yet; the log keeps it: tillstream capture {topic}.jsonl"
