"""Personal fields on the log: encrypted with the person's own key, so that destroying the key
erases them wherever the log was copied to. An erased person's name is known by its digest, and gets
no other key.

AES-SIV (RFC 5297) is deterministic: a retried event has the same bytes, and is seen to repeat.
"""

import base64
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from projections.read_model import Transaction
from streams.erased import is_erased

_CACHED_KEYS = 50_000
_KEY_BITS = 256


class Erased(Exception):
    """The person's key was destroyed: nothing can be sealed for them or opened any more."""


def unsealed(key: bytes, event_id: str, sealed: str) -> dict[str, Any]:
    """What was sealed with this key for this event. Raises cryptography's InvalidTag."""
    plain = AESSIV(key).decrypt(base64.b64decode(sealed), [event_id.encode()])
    return msgspec.json.decode(plain, type=dict[str, Any])


class Connections(Protocol):
    """Such as a pool of asyncpg's."""

    def acquire(self) -> AbstractAsyncContextManager[Any]: ...


class Vault:
    """Keys of persons in Postgres, made when first needed, cached in this process."""

    def __init__(self, pool: Connections) -> None:
        self._pool = pool
        self._cached: OrderedDict[tuple[str, str], AESSIV] = OrderedDict()

    async def seal(self, shop: str, person: str, event_id: str, fields: Mapping[str, Any]) -> str:
        """Fields of any JSON, as base64, encrypted and bound to the event. Raises Erased,
        OSError."""
        cipher = await self._cipher(shop, person)
        sealed = cipher.encrypt(msgspec.json.encode(fields), [event_id.encode()])
        return base64.b64encode(sealed).decode()

    async def open(self, shop: str, person: str, event_id: str, sealed: str) -> dict[str, Any]:
        """What `seal` sealed. Raises Erased, and cryptography's InvalidTag if it was altered."""
        cipher = await self._cipher(shop, person)
        plain = cipher.decrypt(base64.b64decode(sealed), [event_id.encode()])
        return msgspec.json.decode(plain, type=dict[str, Any])

    def forget(self) -> None:
        """Lets go of the keys that are known by heart: some may have been destroyed."""
        self._cached.clear()

    async def _cipher(self, shop: str, person: str) -> AESSIV:
        if is_erased(person):
            raise _erased(shop)
        cipher = self._cached.get((shop, person))
        if cipher is None:
            cipher = AESSIV(await self._key(shop, person))
            self._cached[shop, person] = cipher
            if len(self._cached) > _CACHED_KEYS:
                self._cached.popitem(last=False)
        return cipher

    async def _key(self, shop: str, person: str) -> bytes:
        async with self._pool.acquire() as connection:
            await connection.execute(_MAKE, shop, person, AESSIV.generate_key(_KEY_BITS))
            # Looked for on its own: an erasure may have been committed since.
            key = await connection.fetchval(_FIND, shop, person)
        if key is None:
            raise _erased(shop)
        return bytes(key)


async def destroy(transaction: Transaction, shop: str, persons: Sequence[str]) -> None:
    """Destroys keys, of names that are erased in this transaction; other processes may know them by
    heart until they hear of it, a second later."""
    await transaction.execute(
        "DELETE FROM person_keys WHERE shop = $1 AND person = ANY($2)", shop, list(persons)
    )


def _erased(shop: str) -> Erased:
    return Erased(f"the key of this person of shop {shop!r} was destroyed")


_NOT_ERASED = """
    NOT EXISTS (
        SELECT FROM erased_names
        WHERE erased_names.shop = $1 AND digest = erasure_digest($1, $2)
    )
"""
_MAKE = f"""
    INSERT INTO person_keys (shop, person, key) SELECT $1, $2, $3 WHERE {_NOT_ERASED}
    ON CONFLICT DO NOTHING
"""
_FIND = f"""
    SELECT key FROM person_keys WHERE shop = $1 AND person = $2 AND {_NOT_ERASED}
"""  # noqa: S608
