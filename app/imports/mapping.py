"""Which column is what: suggested, corrected by a person, kept for the next file of its kind."""

import hashlib
from collections.abc import Mapping as Map
from collections.abc import Sequence
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Struct

from app.imports.cells import DATE_FORMATS
from app.imports.words import MEANINGS, NAMES

TARGETS: Map[str, str] = {
    "order": "which order a row belongs to; rows of one make one order",
    "time": "when it was sold: a day, or a day and a time",
    "clock": "the time of day, where it stands in a column of its own",
    "product": "the product's id",
    "name": "what the product is called",
    "category": "the product's category",
    "brand": "the product's brand",
    "variant": "the form in which it was sold: its SKU, size, model",
    "quantity": "how many were sold; less than zero: given back",
    "unit_price": "the price of one",
    "total": "what the whole row comes to",
    "discount": "what was taken off the row",
    "tax": "the row's tax",
    "shipping": "the row's share of shipping",
    "currency": "its currency, ISO 4217",
    "country": "where it was sold to",
    "channel": "where it was sold",
    "customer": "who bought it: only a pseudonym of it is kept",
    "status": "whether it counts: sold, pending, cancelled, returned",
    "shipped": "when it was shipped",
    "delivered": "when it was delivered",
    "row": "the number of the row: it says nothing",
}
TIMES = ("time", "shipped", "delivered")
SHARES = ("discount", "tax")
AS_SHARES = ("amount", "percent", "fraction")
assert set(TARGETS) == set(NAMES)


class Invalid(Exception):
    """A correction that makes no sense: which field, and why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Column(Struct, frozen=True):
    """One column: what it is (empty: it is not read), how sure that is (0 to 1), and why.

    `format` is how its dates are written (`cells.DATE_FORMATS`), or whether a discount or a tax is
    an `amount`, a `percent`, or a `fraction` of the row."""

    name: str
    target: str = ""
    format: str = ""
    confidence: float = 1.0
    reason: str = ""


class Mapping(Struct, frozen=True):
    """All that turns a file's rows into sales. `statuses` are the words of the status column."""

    columns: Sequence[Column]
    decimal: str = "."
    currency: str = ""
    timezone: str = "UTC"
    statuses: Map[str, str] = {}

    def column(self, target: str) -> Column | None:
        return next((one for one in self.columns if one.target == target), None)


class Asked(Struct, frozen=True):
    """What a person has to know of a mapping. `blocking`: nothing is imported before it is said."""

    field: str
    reason: str
    blocking: bool = False
    options: Sequence[str] = ()


class Correction(Struct, frozen=True, forbid_unknown_fields=True):
    """What a person says of a mapping: the target of a column by its name, `""` for none, with a
    format after a colon where it has one (`time:d/m/y`, `discount:percent`)."""

    columns: Map[str, str] = {}
    decimal: str | None = None
    currency: str | None = None
    timezone: str | None = None
    statuses: Map[str, str] = {}
    encoding: str | None = None
    delimiter: str | None = None


def corrected(mapping: Mapping, said: Correction) -> Mapping:
    """The mapping as a person wants it. Raises Invalid."""
    names = {one.name for one in mapping.columns}
    told: dict[str, tuple[str, str]] = {}
    for name, text in said.columns.items():
        if name not in names:
            raise Invalid(f"columns.{name}", "the file has no such column")
        target, _, form = text.partition(":")
        told[name] = (target, _checked(name, target, form))
    for target in {target for target, _ in told.values() if target}:
        if sum(target == one for one, _ in told.values()) > 1:
            raise Invalid("columns", f"two columns are to be {target!r}")
    taken = {target for target, _ in told.values()}
    columns = []
    for one in mapping.columns:
        if one.name in told:
            target, form = told[one.name]
            kept = form or (one.format if one.target == target else "")
            columns.append(Column(one.name, target, kept, 1.0, "as you said"))
        elif one.target and one.target in taken:
            columns.append(Column(one.name, "", "", 1.0, "you said that another column is that"))
        else:
            columns.append(one)
    if said.encoding:
        known_encoding(said.encoding)
    if said.delimiter:
        _divides(said.delimiter)
    statuses = {**mapping.statuses, **said.statuses}
    if wrong := [word for word, meaning in statuses.items() if meaning not in ("", *MEANINGS)]:
        raise Invalid(f"statuses.{wrong[0]}", f"one of {', '.join(MEANINGS)}")
    return Mapping(
        columns,
        _decimal(said.decimal) or mapping.decimal,
        _currency(said.currency) or mapping.currency,
        _zone(said.timezone) or mapping.timezone,
        statuses,
    )


def _checked(name: str, target: str, form: str) -> str:
    if target and target not in TARGETS:
        raise Invalid(f"columns.{name}", f"no target {target!r}; there are {', '.join(TARGETS)}")
    allowed = DATE_FORMATS if target in TIMES else AS_SHARES if target in SHARES else ()
    if form and form not in allowed:
        raise Invalid(
            f"columns.{name}",
            f"no format {form!r} of {target!r}; there are {', '.join(allowed) or 'none'}",
        )
    return form


def _decimal(told: str | None) -> str | None:
    if told not in (None, ".", ","):
        raise Invalid("decimal", "`.` or `,`")
    return told


def _currency(told: str | None) -> str | None:
    if told is not None and not (len(told) == 3 and told.isascii() and told.isupper()):
        raise Invalid("currency", "three capital letters (ISO 4217)")
    return told


def known_encoding(told: str) -> str:
    """Raises Invalid where text cannot be written so."""
    try:
        "ä".encode(told, "replace").decode(told, "replace")
    except (LookupError, UnicodeError, AttributeError, ValueError):
        raise Invalid("encoding", f"no encoding is called {told[:40]!r}") from None
    return told


def _divides(told: str) -> None:
    if len(told) != 1 or told in '"\r\n\0':
        raise Invalid("delimiter", "one character that divides fields, such as `;`")


def _zone(told: str | None) -> str | None:
    if told is not None:
        try:
            ZoneInfo(told)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise Invalid("timezone", "no time zone such as Europe/Lisbon") from None
    return told


def digest(columns: Sequence[str]) -> str:
    """What a header is known by the next time."""
    return hashlib.sha256("\0".join(columns).encode("utf-8", "replace")).hexdigest()


def dumps(value: Struct) -> str:
    return msgspec.json.encode(value).decode()
