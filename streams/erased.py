"""Whoever was erased has another name wherever the log is read: one that nobody can trace back.

The log itself never changes. What was sealed on it with their key cannot be opened any more; what
is left there are ids that a storefront made up. Readers hear of an erased person, and of the
visitors that they were, under pseudonyms: each made of the id with a key of this installation. So
all their events are one person's still, be they told before the erasure or after it, and every
figure, of orders, of money, of how many customers there are, is what it was.
"""

import hashlib
from collections.abc import Mapping, Sequence, Set

import msgspec

from streams.codec import UNREADABLE, Fact
from streams.events import Context, PersonErased

PREFIX = "erased-"
_NAMED_BY_SUBJECT = ("interactions", "customers")
_DIGEST_BYTES = 16
_MOST_KNOWN = 100_000


def digest_of(key: bytes, shop: str, name: str) -> bytes:
    """What is kept of an erased name. Postgres' `erasure_digest` makes the same."""
    return hashlib.sha256(key + shop.encode() + b"\0" + name.encode()).digest()[:_DIGEST_BYTES]


def pseudonym_of(digest: bytes) -> str:
    return PREFIX + digest.hex()


def is_erased(name: str | None) -> bool:
    """Whether this is the pseudonym of somebody who was erased. What is kept of single persons has
    no room for them."""
    return name is not None and name.startswith(PREFIX)


class _Owner(msgspec.Struct):
    visitor: str | None = None
    user_id: str | None = None


class _Named(msgspec.Struct):
    shop: str = ""
    subject: str | None = None
    person: str | None = None
    context: _Owner | None = None
    data: _Owner | None = None


_named = msgspec.json.Decoder(_Named)


class Erased:
    """The names that were erased in all shops of an installation, by their digests."""

    def __init__(self, key: bytes = b"", digests: Mapping[str, Set[bytes]] | None = None) -> None:
        self._key = key
        self._digests = digests or {}
        self._known: dict[tuple[str, str], str | None] = {}
        self.count = sum(map(len, self._digests.values()))
        """Names are only ever added: of two, the one with more knows more."""

    def pseudonym(self, shop: str, name: str | None) -> str | None:
        """What an erased name is now; None for one that was not erased."""
        digests = self._digests.get(shop)
        if not digests or name is None:
            return None
        known = (shop, name)
        try:
            return self._known[known]
        except KeyError:
            digest = digest_of(self._key, shop, name)
            found = pseudonym_of(digest) if digest in digests else None
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[known] = found
        return found

    def facts(self, facts: Sequence[Fact]) -> Sequence[Fact]:
        """Facts as readers are to hear them."""
        return [self.fact(fact) for fact in facts] if self._digests else facts

    def fact(self, fact: Fact) -> Fact:
        """A fact without erased names, but for PersonErased, which says whom to forget."""
        event = fact.event
        if event.shop not in self._digests or isinstance(fact.data, PersonErased):
            return fact
        changes: dict[str, str | Context] = {}
        if person := self.pseudonym(event.shop, event.person):
            changes["person"] = person
        if event.context and (visitor := self.pseudonym(event.shop, event.context.visitor)):
            changes["context"] = msgspec.structs.replace(event.context, visitor=visitor)
        data = fact.data
        named = event.subject if fact.topic in _NAMED_BY_SUBJECT else None
        if subject := self.pseudonym(event.shop, named):
            changes["subject"] = subject
            if hasattr(data, "user_id"):
                data = msgspec.structs.replace(data, user_id=subject)
        if not changes:
            return fact
        return msgspec.structs.replace(
            fact, event=msgspec.structs.replace(event, **changes), data=data
        )

    def concerns(self, value: bytes | None) -> bool:
        """Whether a record, which may be no event, names somebody who was erased."""
        if not self._digests or value is None:
            return False
        try:
            told = _named.decode(value)
        except UNREADABLE:
            return False
        names = [told.subject, told.person]
        names += [told.context.visitor] if told.context else []
        names += [told.data.user_id] if told.data else []
        return any(self.pseudonym(told.shop, name) for name in names)


NOBODY = Erased()
"""Where nobody was erased."""
