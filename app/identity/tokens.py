"""Access tokens: JWTs (RFC 9068) of one form alone, after the advice of RFC 8725.

What is not exactly as `issue` makes it is refused before its signature is looked at: the algorithm
is ours, no header says where a key is to be found, no claim comes twice or of another type. A token
without a session is of nobody who has logged in: of a guest, who has a cart, or made with the key.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

import jwt

ISSUER = "tillstream"
LASTS = timedelta(minutes=10)
"""How long an access token is good for: then its refresh token gets another."""

_ALGORITHM = "HS256"
_TYPE = "at+jwt"
_MOST_LETTERS = 2048
_LONGEST_ID = 128
_SKEW_SECONDS = 30  # clocks of API processes may differ by so much
_FORM = re.compile(r"[A-Za-z0-9_-]{1,256}\.[A-Za-z0-9_-]{1,1700}\.[A-Za-z0-9_-]{43}")
_HEADER = frozenset({"alg", "kid", "typ"})
_NEEDED = frozenset({"iss", "aud", "sub", "role", "iat", "exp"})
_KNOWN = _NEEDED | {"sid"}


class Role(StrEnum):
    ANYONE = "anyone"
    """Nobody in particular: no token."""
    GUEST = "guest"
    """Whoever holds the token of a cart."""
    CUSTOMER = "customer"
    STAFF = "staff"
    ADMIN = "admin"
    READER = "reader"
    """Whoever holds a read key of the shop."""
    WRITER = "writer"
    """Whoever holds a write key of the shop."""


LONGEST: Mapping[Role, timedelta] = {
    Role.GUEST: timedelta(days=400),
    Role.CUSTOMER: timedelta(minutes=15),
    Role.STAFF: timedelta(minutes=15),
    Role.ADMIN: timedelta(minutes=15),
}
"""Who may have a token at all, and how long one of theirs may last."""


class Actor(NamedTuple):
    """Who asks: `id` is the person's, or the cart's of a guest; empty is anyone."""

    role: Role
    id: str
    shop: str
    session: str | None = None
    expires: datetime | None = None


class NoToken(Exception):
    """It is none of ours, or none any more; why is for the log alone."""


class Tokens:
    """Access tokens: signed, short-lived, never stored. The first key signs."""

    def __init__(self, key: bytes) -> None:
        keys = [one for one in key.split(b",") if one]
        self._keys = {_name(one): one for one in keys}
        self._first = keys[0]
        self.pepper = hashlib.sha256(b"pepper\0" + self._first).digest()

    def issue(self, actor: Actor, now: datetime, lasts: timedelta = LASTS) -> str:
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": actor.shop,
            "sub": actor.id,
            "role": actor.role.value,
            "iat": int(now.timestamp()),
            "exp": int((now + lasts).timestamp()),
        }
        if actor.session is not None:
            claims["sid"] = actor.session
        headers = {"typ": _TYPE, "kid": _name(self._first)}
        return jwt.encode(claims, self._first, _ALGORITHM, headers)

    def read(self, token: str, shop: str, now: datetime | None = None) -> Actor:
        """Who a token is of. Raises NoToken."""
        if len(token) > _MOST_LETTERS or not _FORM.fullmatch(token):
            raise NoToken("no JWT of ours")
        head, body, signature = token.split(".")
        try:
            header, claims = _object(head), _object(body)
            _bytes(signature)
        except ValueError as error:
            raise NoToken(str(error)) from None
        if header.keys() != _HEADER or header["alg"] != _ALGORITHM or header["typ"] != _TYPE:
            raise NoToken("no header of ours")
        key = self._keys.get(header["kid"]) if isinstance(header["kid"], str) else None
        if key is None:
            raise NoToken("signed with no key of ours")
        try:
            jwt.decode_complete(
                token,
                key,
                [_ALGORITHM],
                options={"verify_exp": False, "verify_iat": False, "verify_aud": False},
            )
        except jwt.InvalidTokenError as error:
            raise NoToken(str(error)) from None
        return _actor(claims, shop, (now or datetime.now(UTC)).timestamp())


def _actor(claims: Mapping[str, Any], shop: str, now: float) -> Actor:
    """What verified claims say, all of them being of their types and of this shop and time."""
    if not _NEEDED <= claims.keys() <= _KNOWN:
        raise NoToken("claims are missing, or unknown")
    for name in ("iss", "aud", "sub", "role"):
        if not isinstance(claims[name], str) or not 0 < len(claims[name]) <= _LONGEST_ID:
            raise NoToken(f"{name} is of another type")
    for name in ("iat", "exp"):
        if type(claims[name]) is not int:  # True is none
            raise NoToken(f"{name} is of another type")
    session = claims.get("sid")
    if "sid" in claims and not (isinstance(session, str) and 0 < len(session) <= _LONGEST_ID):
        raise NoToken("sid is of another type")
    if claims["iss"] != ISSUER or claims["aud"] != shop:
        raise NoToken("of another issuer, or for another shop")
    longest = LONGEST.get(claims["role"])
    if longest is None:
        raise NoToken("no role that has tokens")
    if not 0 < claims["exp"] - claims["iat"] <= longest.total_seconds():
        raise NoToken("it lasts longer than any of ours")
    if claims["iat"] > now + _SKEW_SECONDS:
        raise NoToken("it is of the future")
    if claims["exp"] <= now:
        raise NoToken("it is over")
    expires = datetime.fromtimestamp(claims["exp"], UTC)
    return Actor(Role(claims["role"]), claims["sub"], shop, session, expires)


def _name(key: bytes) -> str:
    """What tells keys apart, and tells nothing of them."""
    return hashlib.sha256(b"kid\0" + key).hexdigest()[:16]


def _bytes(part: str) -> bytes:
    """Base64url as there is one way to write it. Raises ValueError."""
    found = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(found).rstrip(b"=").decode() != part:
        raise ValueError("not as it would be written")
    return found


def _object(part: str) -> dict[str, Any]:
    """A JSON object in which every name stands once. Raises ValueError."""
    try:
        found = json.loads(_bytes(part), object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004  (as all else that it may not be)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
