"""Passwords: argon2id (RFC 9106), in threads of its own, a few at a time.

A hash takes 64 MB and a good part of a core for some 50 ms. Whoever comes while many wait already
is sent away at once, so that log-ins can take neither the memory nor the time of all the rest.
"""

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

T = TypeVar("T")

LEAST_LETTERS = 10
MOST_LETTERS = 256
_THREADS = 2
_MOST_WAITING = 100


class Busy(Exception):
    """Too many passwords are being looked at already."""


class Passwords:
    """Makes hashes, and holds passwords against them."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._threads = ThreadPoolExecutor(_THREADS, "argon2")
        self._waiting = 0
        # What the password of somebody who is not there is held against: it takes as long.
        self._nobody = self._hasher.hash(secrets.token_hex(32))

    async def hash(self, password: str) -> str:
        """A new hash, with its parameters and salt in it. Raises Busy."""
        return await self._threaded(password, self._hasher.hash)

    async def fits(self, hashed: str | None, password: str) -> bool:
        """Whether it is the password; never, and no sooner, where there is no hash. Raises Busy."""

        def verify(said: str) -> bool:
            try:
                return self._hasher.verify(hashed or self._nobody, said) and hashed is not None
            except (VerificationError, InvalidHashError):
                return False

        return await self._threaded(password, verify)

    def is_dated(self, hashed: str) -> bool:
        """Whether it was made with other parameters than are used today."""
        return self._hasher.check_needs_rehash(hashed)

    async def _threaded(self, password: str, work: Callable[[str], T]) -> T:
        if self._waiting >= _MOST_WAITING:
            raise Busy
        self._waiting += 1
        try:
            said = unicodedata.normalize("NFKC", password)
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, said)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
