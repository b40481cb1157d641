"""`/v1/auth`: registering, logging in and out, and the tokens in between.

What is answered here may be kept by nobody on the way. A password and a refresh token are in
bodies alone: never in an URL, a log, or a kept answer.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import structlog
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from app.api import access
from app.api.access import Actor
from app.api.commands import New, Sent, carried_out
from app.api.completeness import RETRY
from app.api.problems import Problem
from app.commands import accounts
from app.commands.carts import merge_carts
from app.commands.execute import Answer, Call, Commands
from app.commands.work import Work
from app.domain.account import By
from app.domain.refusal import Refusal
from app.identity.attempts import TooMany, network_of
from app.identity.login import LogIns, Wrong
from app.identity.passwords import LEAST_LETTERS, MOST_LETTERS, Busy
from app.identity.sessions import NoSession, Refreshed
from app.identity.tokens import LASTS, NoToken, Role, Tokens
from app.vault import Erased
from projections.postgres import AWAY
from streams.events import AccountRegistered

logger = structlog.get_logger()
router = APIRouter(tags=["accounts"])

_EMAIL = r"^[^@\s\x00]{1,64}@[^@\s\x00.]+(\.[^@\s\x00.]+)+$"
Email = Annotated[str, Field(max_length=254, pattern=_EMAIL, examples=["ada@example.com"])]
Name = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00]+$")]
Phone = Annotated[str, Field(max_length=64, pattern=r"^\+?[0-9 ()./-]{3,63}$")]
Country = Annotated[
    str, Field(pattern="^[A-Z]{2}$", description="ISO 3166-1 alpha-2", examples=["PT"])
]
AnyPassword = Annotated[SecretStr, Field(min_length=1, max_length=MOST_LETTERS)]
NewPassword = Annotated[SecretStr, Field(min_length=LEAST_LETTERS, max_length=MOST_LETTERS)]
Token = Annotated[SecretStr, Field(min_length=1, max_length=128)]


def _example(**fields: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"example": fields})


class NewAccount(BaseModel):
    model_config = _example(
        email="ada@example.com",
        password="correct horse battery",  # noqa: S106  (an example)
        name="Ada Lovelace",
        country="PT",
    )

    email: Email
    password: NewPassword
    name: Name | None = None
    phone: Phone | None = None
    country: Country | None = None

    def registered(self, user_id: str) -> AccountRegistered:
        return AccountRegistered(user_id=user_id, **self.model_dump(exclude={"password"}))


class LogIn(BaseModel):
    model_config = _example(
        email="ada@example.com",
        password="correct horse battery",  # noqa: S106
    )

    email: Annotated[str, Field(min_length=1, max_length=254, pattern=r"^[^\x00]+$")]
    password: AnyPassword
    cart_token: Annotated[
        str | None, Field(max_length=2048, description="of a cart that becomes the user's own")
    ] = None


class RefreshToken(BaseModel):
    model_config = _example(refresh_token="as it was answered last")  # noqa: S106

    refresh_token: Token


class PasswordChange(BaseModel):
    model_config = _example(
        password="correct horse battery",  # noqa: S106
        new_password="staple correct horse",  # noqa: S106
    )

    password: AnyPassword
    new_password: NewPassword


@router.post("/v1/auth/register", operation_id="auth_register", status_code=201)
async def auth_register(
    request: Request,
    actor: Annotated[Actor, Depends(access.ANYONE)],
    new: NewAccount,
    sent: New,
) -> Response:
    """A new customer's account, to log in with. An e-mail address has one account in a shop."""
    return await registering(request, actor, new, new.registered(Work.new_id()), sent)


async def registering(
    request: Request,
    actor: Actor,
    new: NewAccount,
    registered: AccountRegistered,
    sent: Sent,
) -> Response:
    """Makes an account and its credentials. Raises Problem."""
    log_ins: LogIns = request.app.state.log_ins
    refuse_obvious(new.password, new.email)
    async with answering():
        if actor.role not in (Role.STAFF, Role.ADMIN):
            await log_ins.count_registration(address_of(request), datetime.now(UTC))
        hashed = await log_ins.passwords.hash(new.password.get_secret_value())
    by = By(actor.role, actor.id)
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, _: accounts.register(work, registered, hashed, by),
        secret=True,
    )


@router.post("/v1/auth/login", operation_id="auth_login", dependencies=[Depends(access.PUBLIC)])
async def auth_login(request: Request, told: LogIn, shop: access.Shop = "main") -> Response:
    """An access token for some minutes, and a refresh token for the one after it.

    An address without an account is answered as a wrong password is. Too many failures, by account
    or from one address of a client, are a 429 for a quarter of an hour.
    """
    log_ins: LogIns = request.app.state.log_ins
    now = datetime.now(UTC)
    async with answering():
        found = await log_ins.log_in(
            shop, told.email, told.password.get_secret_value(), address_of(request), now
        )
    cart_id = await _merged(request, shop, told.cart_token, found.user_id)
    return _tokens(request, shop, found, now, cart_id=cart_id)


async def _merged(request: Request, shop: str, cart_token: str | None, user_id: str) -> str | None:
    """The user's cart, with what was in a guest's. Whoever has logged in has, whatever comes of
    this: nobody is kept out by what once was in a cart."""
    if cart_token is None:
        return None
    tokens: Tokens = request.app.state.tokens
    commands: Commands = request.app.state.commands
    merged: list[str | None] = [None]

    async def handle(work: Work) -> Answer:
        merged[0] = await merge_carts(work, guest.id, user_id)
        return Answer({})

    try:
        guest = tokens.read(cart_token, shop)
        if guest.role is Role.GUEST:
            call = Call(shop, user_id, Work.new_id(), b"")
            await commands.run(call, datetime.now(UTC), handle)
    except (NoToken, Refusal, Erased, *AWAY) as error:
        logger.warning("a guest's cart was not merged", error=type(error).__name__)
    return merged[0]


@router.post("/v1/auth/refresh", operation_id="auth_refresh", dependencies=[Depends(access.PUBLIC)])
async def auth_refresh(
    request: Request, told: RefreshToken, shop: access.Shop = "main"
) -> Response:
    """The next tokens. A refresh token is good for once; the same ones are answered again for ten
    seconds, so that requests at the same time agree. Later it ends the session: it was stolen.
    """
    log_ins: LogIns = request.app.state.log_ins
    now = datetime.now(UTC)
    async with answering():
        found = await log_ins.sessions.refresh(shop, told.refresh_token.get_secret_value(), now)
    return _tokens(request, shop, found, now)


@router.post(
    "/v1/auth/logout",
    operation_id="auth_logout",
    status_code=204,
    dependencies=[Depends(access.PUBLIC)],
)
async def auth_logout(request: Request, told: RefreshToken, shop: access.Shop = "main") -> Response:
    """Ends the session of a refresh token, if it is of any; its access tokens end with it."""
    log_ins: LogIns = request.app.state.log_ins
    async with answering():
        await log_ins.sessions.end(shop, told.refresh_token.get_secret_value(), datetime.now(UTC))
    return Response(status_code=204, headers=_SECRET)


@router.put("/v1/auth/password", operation_id="auth_password")
async def auth_password(
    request: Request,
    actor: Annotated[Actor, Depends(access.CUSTOMER)],
    told: PasswordChange,
    sent: New,
) -> Response:
    """Another password. Every other session of the user ends."""
    log_ins: LogIns = request.app.state.log_ins
    refuse_obvious(told.new_password, "", "new_password")
    by, address = By(actor.role, actor.id), address_of(request)

    async def change(work: Work, call: Call) -> Answer:
        password = told.password.get_secret_value()
        await log_ins.confirm(actor.shop, actor.id, password, address, work.now)
        hashed = await log_ins.passwords.hash(told.new_password.get_secret_value())
        return await accounts.change_password(work, call, actor.id, hashed, by, actor.session)

    async with answering():
        return await carried_out(request, actor, sent, change, secret=True)


_SECRET = {"Cache-Control": "no-store"}


def _tokens(
    request: Request, shop: str, found: Refreshed, now: datetime, **more: str | None
) -> Response:
    tokens: Tokens = request.app.state.tokens
    actor = Actor(Role(found.role), found.user_id, shop, found.session)
    body = {
        "user_id": found.user_id,
        "role": found.role,
        "token_type": "Bearer",
        "access_token": tokens.issue(actor, now),
        "expires_in": int(LASTS.total_seconds()),
        "refresh_token": found.token,
        **more,
    }
    return Response(orjson.dumps(body), headers=_SECRET, media_type="application/json")


def address_of(request: Request) -> str:
    return network_of(request.client and request.client.host)


def refuse_obvious(password: SecretStr, email: str, field: str = "password") -> None:
    """What is guessed first. Raises Problem."""
    said = password.get_secret_value().casefold()
    if len(set(said)) < 4 or (email and said in (email.casefold(), email.partition("@")[0])):
        reason = "too easily guessed"
        raise Problem(422, "invalid", f"{field}: {reason}", [{"field": field, "reason": reason}])


@asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """What logging in can meet, as problems. Raises Problem."""
    try:
        yield
    except (Wrong, NoSession) as error:
        said = "this e-mail address and this password do not belong together"
        if isinstance(error, NoSession):
            said = "this token is of no session that goes on: log in again"
        code = "credentials" if isinstance(error, Wrong) else "refresh_token"
        raise access.unauthorized(code, said) from None
    except TooMany as many:
        raise Problem(
            429, "too_many_attempts", str(many), headers={"Retry-After": str(many.seconds)}
        ) from None
    except Busy:
        said = "too many log in at this moment"
        raise Problem(503, "busy", said, headers=RETRY) from None
    except AWAY as error:
        said = "nobody can log in while Postgres does not answer"
        raise Problem(503, "postgres_unavailable", said, headers=RETRY) from error
