"""Personal fields on the log, opened for models that learn from what persons wrote.

Learners ask nobody: whoever feeds them opens a chunk's fields first, with all its keys in one
query. No key is kept, so one that was destroyed opens nothing from then on: such an event is heard
as it stands on the log, still sealed, and without these fields.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag

from app.vault import unsealed
from streams import codec
from streams.aside import aside
from streams.codec import Fact, Refused

Connected = Callable[[], AbstractAsyncContextManager[Any]]  # of asyncpg's connections
Keys = Mapping[tuple[str, str], bytes]


async def opened(
    facts: Sequence[Fact], types: Collection[str], connected: Connected
) -> Sequence[Fact]:
    """The same facts, those of these types with their sealed fields. Raises what a connection does.

    An opened event is no longer `sealed`; one that still is could not be opened.
    """
    persons = {
        (fact.event.shop, fact.event.person)
        for fact in facts
        if fact.event.sealed is not None and fact.event.type in types and fact.event.person
    }
    if not persons:
        return facts
    async with connected() as connection:
        shops, names = (list(column) for column in zip(*sorted(persons), strict=True))
        rows = await connection.fetch(_KEYS, shops, names)
    keys = {(row["shop"], row["person"]): bytes(row["key"]) for row in rows}
    return await aside(len(persons), _all_opened, facts, types, keys)


def _all_opened(facts: Sequence[Fact], types: Collection[str], keys: Keys) -> list[Fact]:
    return [
        _opened(fact, keys) if fact.event.sealed is not None and fact.event.type in types else fact
        for fact in facts
    ]


def _opened(fact: Fact, keys: Keys) -> Fact:
    event = fact.event
    key = keys.get((event.shop, event.person or ""))
    if key is None or event.sealed is None:
        return fact
    try:
        fields = unsealed(key, event.id, event.sealed)
        told: dict[str, Any] = msgspec.json.decode(codec.raw(fact.data))
        whole = msgspec.Raw(msgspec.json.encode({**told, **fields}))
        data = codec.decode_fields(event.type, whole)
    except (InvalidTag, ValueError, Refused):  # it was sealed with a key that is lost
        return fact
    return msgspec.structs.replace(
        fact, event=msgspec.structs.replace(event, sealed=None), data=data
    )


_KEYS = """
    SELECT shop, person, key FROM person_keys
    JOIN unnest($1::text[], $2::text[]) AS asked (shop, person) USING (shop, person)
    WHERE key IS NOT NULL
"""
