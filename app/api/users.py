"""`/v1/users`: accounts as their users see them, and as staff do.

A customer sees and changes themselves alone: of everyone else they are told that there is nobody.
`me` is whoever asks.
"""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import access
from app.api.access import Actor
from app.api.auth import Country, Name, NewAccount, Phone, registering
from app.api.commands import Change, New, carried_out, etag, refused
from app.api.completeness import RETRY
from app.api.problems import Problem, known_parameters
from app.commands import accounts
from app.commands.work import Work
from app.domain.account import By, check_may_see, unknown
from app.domain.refusal import Refusal
from app.queries.accounts import People
from app.queries.orders import orders_of
from projections.postgres import AWAY
from streams.events import Address, Role

router = APIRouter(tags=["accounts"])

ME = "me"
_ID = r"^[^\x00/]+$"
UserId = Annotated[
    str, Path(min_length=1, max_length=128, pattern=_ID, description="a user's id, or `me`")
]
AddressId = Annotated[str, Path(min_length=1, max_length=128, pattern=_ID)]
_Text = Annotated[str | None, Query(max_length=128, pattern=r"^[^\x00]*$")]
AnyCustomer = Annotated[Actor, Depends(access.CUSTOMER)]


Limit = Annotated[int, Query(ge=1, le=200)]


class NewUser(NewAccount):
    role: Role = "customer"


class Profile(BaseModel):
    """What is left out stays as it is; null takes it away."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "Ada King", "country": "GB"}}
    )

    name: Name | None = None
    phone: Phone | None = None
    country: Country | None = None


class RoleChange(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"role": "staff"}})

    role: Role


class PostalAddress(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "name": "Ada Lovelace",
                "lines": ["Rua da Prata 80"],
                "postal_code": "1100-420",
                "city": "Lisboa",
                "country": "PT",
                "default": True,
            }
        },
    )

    name: Name | None = None
    lines: Annotated[list[Name], Field(min_length=1, max_length=5)]
    postal_code: Annotated[str, Field(max_length=32, pattern=r"^[^\x00]+$")] | None = None
    city: Name
    region: Name | None = None
    country: Country
    phone: Phone | None = None
    default: Annotated[bool, Field(description="taken where none is named")] = False

    def address(self) -> Address:
        return Address(**self.model_dump(exclude={"default"}))


@router.get("/v1/users", operation_id="users_list", dependencies=[Depends(known_parameters)])
async def users_list(
    request: Request,
    actor: Annotated[Actor, Depends(access.STAFF)],
    search: Annotated[
        _Text, Query(description="beginnings of words in names and e-mail addresses")
    ] = None,
    role: Role | None = None,
    closed: bool | None = None,
    limit: Limit = 50,
    cursor: Annotated[_Text, Query(description="`next_cursor` of the answer before")] = None,
) -> Response:
    """Accounts, the newest first."""
    people: People = request.app.state.people
    try:
        users, more = await people.page(
            actor.shop, search=search, role=role, closed=closed, limit=limit, before=cursor
        )
    except AWAY as error:
        raise _away() from error
    return _json({"users": users, "next_cursor": more})


@router.post("/v1/users", operation_id="users_create", status_code=201)
async def users_create(
    request: Request,
    actor: Annotated[Actor, Depends(access.STAFF)],
    new: NewUser,
    sent: New,
) -> Response:
    """An account made for somebody: a customer's by staff, any by an admin."""
    return await registering(request, actor, new, new.registered(Work.new_id()), sent)


@router.get("/v1/users/{user_id}", operation_id="users_get")
async def users_get(request: Request, actor: AnyCustomer, user_id: UserId) -> Response:
    """One account."""
    people: People = request.app.state.people
    user_id = _named(actor, user_id)
    try:
        found = await people.get(actor.shop, user_id)
        if found is None:
            raise unknown(user_id)
        check_may_see(found.account, _by(actor))
    except Refusal as refusal:
        raise refused(refusal) from None
    except AWAY as error:
        raise _away() from error
    return _json(accounts.shown(found.account), {"ETag": etag(found.version)})


@router.get(
    "/v1/users/{user_id}/orders",
    operation_id="users_orders",
    dependencies=[Depends(known_parameters)],
)
async def users_orders(
    request: Request,
    actor: AnyCustomer,
    user_id: UserId,
    limit: Limit = 50,
    cursor: Annotated[_Text, Query(description="`next_cursor` of the answer before")] = None,
) -> Response:
    """The orders of one user, the latest first. They stay when an account is closed."""
    people: People = request.app.state.people
    user_id = _named(actor, user_id)
    try:
        found = await people.get(actor.shop, user_id)
        if found is None:
            raise unknown(user_id)
        check_may_see(found.account, _by(actor))
        page = await orders_of(request.app.state.pool, actor.shop, user_id, limit, cursor)
    except Refusal as refusal:
        raise refused(refusal) from None
    except ValueError:
        reason = "no cursor of an answer before"
        errors = [{"field": "cursor", "reason": reason}]
        raise Problem(422, "invalid", f"cursor: {reason}", errors) from None
    except AWAY as error:
        raise _away() from error
    return _json(dict(page))


@router.patch("/v1/users/{user_id}", operation_id="users_change")
async def users_change(
    request: Request,
    actor: AnyCustomer,
    user_id: UserId,
    profile: Profile,
    sent: Change,
) -> Response:
    """The profile: of oneself, of a customer by staff, of anyone by an admin."""
    changes = profile.model_dump(exclude_unset=True)
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: accounts.change_profile(
            work, call, _named(actor, user_id), changes, _by(actor)
        ),
    )


@router.put("/v1/users/{user_id}/role", operation_id="users_role")
async def users_role(
    request: Request,
    actor: Annotated[Actor, Depends(access.ADMIN)],
    user_id: UserId,
    change: RoleChange,
    sent: Change,
) -> Response:
    """What somebody may do from now on. Their sessions end: they log in again with it."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: accounts.change_role(
            work, call, _named(actor, user_id), change.role, _by(actor)
        ),
    )


@router.delete("/v1/users/{user_id}", operation_id="users_close")
async def users_close(
    request: Request,
    actor: AnyCustomer,
    user_id: UserId,
    sent: Change,
) -> Response:
    """Closes an account. Nothing personal is left in it, and its sessions end; its orders stay."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: accounts.close(work, call, _named(actor, user_id), _by(actor)),
    )


@router.post("/v1/users/{user_id}/addresses", operation_id="addresses_add", status_code=201)
async def addresses_add(
    request: Request,
    actor: AnyCustomer,
    user_id: UserId,
    address: PostalAddress,
    sent: Change,
) -> Response:
    """One more address; the first is the default."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: accounts.add_address(
            work,
            call,
            _named(actor, user_id),
            address.address(),
            _by(actor),
            default=address.default,
        ),
    )


@router.put("/v1/users/{user_id}/addresses/{address_id}", operation_id="addresses_change")
async def addresses_change(
    request: Request,
    actor: AnyCustomer,
    user_id: UserId,
    address_id: AddressId,
    address: PostalAddress,
    sent: Change,
) -> Response:
    """Another address in its place."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: accounts.change_address(
            work,
            call,
            _named(actor, user_id),
            address_id,
            address.address(),
            _by(actor),
            default=address.default,
        ),
    )


@router.delete("/v1/users/{user_id}/addresses/{address_id}", operation_id="addresses_remove")
async def addresses_remove(
    request: Request,
    actor: AnyCustomer,
    user_id: UserId,
    address_id: AddressId,
    sent: Change,
) -> Response:
    """One address less; where it was the default, the oldest of the others is."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: accounts.remove_address(
            work, call, _named(actor, user_id), address_id, _by(actor)
        ),
    )


def _named(actor: Actor, user_id: str) -> str:
    return actor.id if user_id == ME else user_id


def _by(actor: Actor) -> By:
    return By(actor.role.value, actor.id)


def _json(body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(body),
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type="application/json",
    )


def _away() -> Problem:
    return Problem(503, "postgres_unavailable", "accounts cannot be read now", headers=RETRY)
