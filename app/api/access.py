"""Who asks, and what they may: every route names the roles that it is for.

A token says who somebody is and what they may do, signed with a key that every API process of a
shop shares. A guest's token is for one cart. What is the actor's own is checked where it is known
whose it is: in the command.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import jwt
from fastapi import Request

from app.api.limits import header
from app.api.problems import Problem

ISSUER = "tillstream"
_ALGORITHM = "HS256"


class Role(StrEnum):
    ANYONE = "anyone"
    """Nobody in particular: no token."""
    GUEST = "guest"
    """Whoever holds the token of a cart."""
    CUSTOMER = "customer"
    STAFF = "staff"
    ADMIN = "admin"


class Actor(NamedTuple):
    """Who asks: `id` is the person's, or the cart's of a guest; empty is anyone."""

    role: Role
    id: str
    shop: str


class Tokens:
    """Access tokens: signed, short-lived, never stored."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, actor: Actor, now: datetime, lasts: timedelta) -> str:
        claims = {
            "iss": ISSUER,
            "aud": actor.shop,
            "sub": actor.id,
            "role": actor.role.value,
            "typ": "access",
            "iat": int(now.timestamp()),
            "exp": int((now + lasts).timestamp()),
        }
        return jwt.encode(claims, self._key, _ALGORITHM)

    def read(self, token: str, shop: str) -> Actor:
        """Who a token is of. Raises Problem."""
        try:
            claims = jwt.decode(
                token,
                self._key,
                [_ALGORITHM],
                audience=shop,
                issuer=ISSUER,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
            if claims.get("typ") != "access" or not isinstance(claims["sub"], str):
                raise jwt.InvalidTokenError("no access token")
            return Actor(Role(str(claims.get("role"))), claims["sub"], shop)
        except (jwt.InvalidTokenError, ValueError) as error:
            raise unauthorized(
                "invalid_token", "this token is not valid here, or no more"
            ) from error


def unauthorized(code: str, detail: str) -> Problem:
    return Problem(401, code, detail, headers={"WWW-Authenticate": f'Bearer error="{code}"'})


class Allow:
    """The rule of a route: which roles it is for. As a dependency it gives the actor."""

    def __init__(self, *roles: Role) -> None:
        self.roles = frozenset(roles)

    async def __call__(self, request: Request, shop: str = "main") -> Actor:
        """Raises Problem."""
        scheme, _, token = header(request, b"authorization").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            if Role.ANYONE in self.roles:
                return Actor(Role.ANYONE, "", shop)
            raise unauthorized("token", "log in, and send `Authorization: Bearer TOKEN`")
        tokens: Tokens = request.app.state.tokens
        actor = tokens.read(token.strip(), shop)
        if actor.role not in self.roles:
            raise Problem(403, "role", f"this is for {', '.join(sorted(self.roles))} alone")
        return actor


class Public(Allow):
    """For anyone, whatever they show of themselves."""

    async def __call__(self) -> Actor:  # type: ignore[override]
        return Actor(Role.ANYONE, "", "")


ANYONE = Allow(*Role)
STAFF = Allow(Role.STAFF, Role.ADMIN)
ADMIN = Allow(Role.ADMIN)
CUSTOMER = Allow(Role.CUSTOMER, Role.STAFF, Role.ADMIN)
SHOPPER = Allow(Role.GUEST, Role.CUSTOMER, Role.STAFF, Role.ADMIN)
SIGNED = Public()
"""For whoever signs what they send: the route holds the signature against its secret."""
