"""Personal fields on the log: encrypted with the person's own key, so that destroying the key
erases them wherever the log was copied to.

AES-SIV (RFC 5297) is deterministic: a retried event has the same bytes, and is seen to repeat.
"""

import base64
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

_CACHED_KEYS = 50_000
_KEY_BITS = 256


class Erased(Exception):
    """The person's key was destroyed: nothing can be sealed for them or opened any more."""


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

    async def _cipher(self, shop: str, person: str) -> AESSIV:
        cipher = self._cached.get((shop, person))
        if cipher is None:
            cipher = AESSIV(await self._key(shop, person))
            self._cached[shop, person] = cipher
            if len(self._cached) > _CACHED_KEYS:
                self._cached.popitem(last=False)
        return cipher

    async def _key(self, shop: str, person: str) -> bytes:
        async with self._pool.acquire() as connection:
            await connection.execute(
                "INSERT INTO person_keys (shop, person, key) VALUES ($1, $2, $3) "
                "ON CONFLICT DO NOTHING",
                shop,
                person,
                AESSIV.generate_key(_KEY_BITS),
            )
            key = await connection.fetchval(
                "SELECT key FROM person_keys WHERE shop = $1 AND person = $2", shop, person
            )
        if key is None:
            raise Erased(f"the key of this person of shop {shop!r} was destroyed")
        return bytes(key)
