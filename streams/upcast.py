"""Earlier versions of events, lifted to the present one on reading: the log itself never changes.

To change what a type of event says: make its fields in `streams.events` the new ones, count up its
version, and say here how the version before becomes it. Folds know the present version alone.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Raw

Fields = dict[str, Any]
Upcaster = Callable[[Fields], Fields]

# (type, version) → its fields as the next version has them. Pure; amounts come as text or Decimal.
UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}


class NotLifted(Exception):
    """An event's fields cannot be told in the present version."""


_decoder = msgspec.json.Decoder(Fields, float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="string")


def lift(name: str, version: int, to: int, data: Raw) -> Raw:
    """The fields of an event of one version in another one's terms. Raises NotLifted."""
    steps = [UPCASTERS.get((name, earlier)) for earlier in range(version, to)]
    if version > to or None in steps:
        raise NotLifted(f"version {version} of {name} is not known here")
    try:
        fields = _decoder.decode(data)
        for step in steps:
            assert step is not None
            fields = step(fields)
        return Raw(_encoder.encode(fields))
    except Exception as error:
        # What was never valid in its own version is not ours to repair: it is kept as it is.
        raise NotLifted(f"version {version} of {name} cannot be read: {error!r}") from error
