"""How commands come in over HTTP, and how they are answered."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import asyncpg
from fastapi import Depends, Header, Request, Response

from app.api.access import Actor, Role
from app.api.completeness import RETRY
from app.api.problems import Problem
from app.commands.execute import Answer, Call, Commands, Done, digest_of
from app.commands.work import Work
from app.domain.refusal import Conflict, Forbidden, Invalid, Refusal, Stale, Unknown
from app.identity.tokens import Tokens
from app.vault import Erased
from projections.postgres import AWAY

IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=255, description="the same command under it is done once"),
]
IfMatch = Annotated[
    str | None, Header(max_length=64, description="the ETag that was seen; 412 if it has changed")
]


class Sent(NamedTuple):
    """What comes with a command: the key under which it is done once, the ETag that was seen."""

    key: str | None = None
    if_match: str | None = None


async def _new(idempotency_key: IdempotencyKey = None) -> Sent:
    return Sent(idempotency_key)


async def _change(idempotency_key: IdempotencyKey = None, if_match: IfMatch = None) -> Sent:
    return Sent(idempotency_key, if_match)


New = Annotated[Sent, Depends(_new)]
"""With a command that asks for no version: of what is new nobody can have seen one."""
Change = Annotated[Sent, Depends(_change)]
"""With a command that changes what is there."""

_STATUS: dict[type[Refusal], int] = {
    Invalid: 422,
    Unknown: 404,
    Forbidden: 403,
    Conflict: 409,
    Stale: 412,
}

_PASSING = {"busy", "in_flight"}  # conflicts with what is under way, not with what is there
_SOON = {"Retry-After": "1"}

_LEAST_KEY = 22  # 128 bits in base64
_LEAST_KINDS = 8


async def carried_out(
    request: Request,
    actor: Actor,
    sent: Sent,
    handle: Callable[[Work, Call], Awaitable[Answer]],
    *,
    secret: bool = False,
) -> Response:
    """Carries out a command, once under its key, and answers it. Raises Problem.

    Of a `secret` body is kept what only this shop's key can make of it: of a plain digest a
    password could be guessed, and fast.
    """
    commands: Commands = request.app.state.commands
    if sent.key is not None and actor.role is Role.ANYONE:
        check_unguessable(sent.key)
    work_id = Work.new_id()
    tokens: Tokens = request.app.state.tokens
    target = f"{request.method} {request.url.path}?{request.url.query}".encode()
    call = Call(
        actor.shop,
        f"{actor.role}/{actor.id}",
        work_id,
        digest_of(
            target,
            await request.body(),
            (sent.if_match or "").encode(),
            *([tokens.pepper] if secret else []),
        ),
        sent.key,
        version_of(sent.if_match),
    )
    try:
        done = await commands.run(call, datetime.now(UTC), lambda work: handle(work, call))
    except Refusal as refusal:
        raise refused(refusal) from None
    except Erased as erased:
        raise Problem(409, "erased", str(erased)) from None
    except (*AWAY, asyncpg.IdleInTransactionSessionTimeoutError) as error:
        raise Problem(
            503,
            "postgres_unavailable",
            "whether it was done is not known: send it again, under the same Idempotency-Key",
            headers=RETRY,
        ) from error
    return response(done)


def check_unguessable(key: str) -> None:
    """Those who are nobody in particular share their keys: there one is all that tells whose an
    answer is, and must be as hard to guess as a password. Raises Problem."""
    if len(key) < _LEAST_KEY or len(set(key)) < _LEAST_KINDS:
        reason = f"without a token it takes {_LEAST_KEY} random characters and more, as in a UUID"
        errors = [{"field": "Idempotency-Key", "reason": reason}]
        raise Problem(422, "guessable", f"Idempotency-Key: {reason}", errors)


def refused(refusal: Refusal) -> Problem:
    """A refusal as an answer."""
    errors = [{"field": one.field, "reason": one.reason} for one in refusal.all if one.field]
    detail = "; ".join(map(str, refusal.all))
    headers = _SOON if refusal.code in _PASSING else None
    return Problem(_STATUS[type(refusal)], refusal.code, detail, errors, headers)


def response(done: Done) -> Response:
    """A command's answer, as it was and as it will be."""
    headers = {"Cache-Control": "no-store"}
    if done.version is not None:
        headers["ETag"] = etag(done.version)
    if done.location is not None:
        headers["Location"] = done.location
    if done.repeated:
        headers["Idempotent-Replayed"] = "true"
    return Response(done.body, done.status, headers, "application/json")


def etag(version: int) -> str:
    return f'"{version}"'


def version_of(if_match: str | None) -> int | None:
    """The version that If-Match asks for; None where it takes any. Raises Problem."""
    if if_match is None or if_match.strip() == "*":
        return None
    told = if_match.strip().removeprefix("W/").strip('"')
    if not (told.isdecimal() and told.isascii() and len(told) < 19):
        reason = "expected the ETag of an answer before"
        errors = [{"field": "If-Match", "reason": reason}]
        raise Problem(422, "invalid", f"If-Match: {reason}", errors)
    return int(told)
