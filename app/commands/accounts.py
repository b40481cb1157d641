"""Commands about accounts. What they change of credentials and sessions is in their transaction."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from app.commands.execute import Answer, Call, check_version
from app.commands.work import Work
from app.domain import account as decide
from app.domain.account import ACCOUNT, Account, By
from app.domain.refusal import Conflict
from app.identity import credentials, sessions
from streams.events import AccountRegistered, Address, Data, ProfileChanged, Role

Profile = Mapping[str, str | None]
"""The fields of a profile that are to change."""


def shown(account: Account) -> dict[str, Any]:
    """An account as it is shown to whoever may see it."""
    addresses = [
        {
            "address_id": address_id,
            "default": address_id == account.default_address,
            **msgspec.to_builtins(address),
        }
        for address_id, address in sorted(account.addresses.items())
    ]
    return {
        "user_id": account.user_id,
        "email": account.email or None,
        "name": account.name,
        "phone": account.phone,
        "country": account.country,
        "role": account.role,
        "addresses": addresses,
        "registered_at": account.registered_at,
        "closed_at": account.closed_at,
    }


async def register(work: Work, registered: AccountRegistered, hashed: str, by: By) -> Answer:
    """A new account and what its user logs in with. Raises Refusal."""
    user_id = registered.user_id
    await work.load(ACCOUNT, [user_id])
    work.tell(*decide.register(registered, by), person=user_id)
    email = registered.email or ""
    free = await credentials.add(work.connection, work.shop, user_id, email, hashed, work.now)
    if not free:
        raise Conflict("taken", "there is an account with this e-mail address", "email")
    return _answer(work, user_id, 201)


async def change_profile(work: Work, call: Call, user_id: str, changes: Profile, by: By) -> Answer:
    """Raises Refusal."""
    account = await _visible(work, user_id, by)
    before = ProfileChanged(
        user_id=user_id, name=account.name, phone=account.phone, country=account.country
    )
    changed = msgspec.structs.replace(before, **changes)
    return _tell(work, call, user_id, decide.change_profile(account, changed, by))


async def change_role(work: Work, call: Call, user_id: str, role: Role, by: By) -> Answer:
    """Another role; whoever is logged in logs in again with it. Raises Refusal."""
    account = await _visible(work, user_id, by)
    events = decide.change_role(account, role, by)
    if events:
        await sessions.end_all(work.connection, work.shop, user_id, "role", work.now)
    return _tell(work, call, user_id, events)


async def change_password(
    work: Work, call: Call, user_id: str, hashed: str, by: By, session: str | None
) -> Answer:
    """Another password; all other sessions than this one end. Raises Refusal."""
    account = await _visible(work, user_id, by)
    answer = _tell(work, call, user_id, decide.change_password(account, by))
    await credentials.change(work.connection, work.shop, user_id, hashed, work.now)
    await sessions.end_all(work.connection, work.shop, user_id, "password", work.now, session)
    return answer


async def close(work: Work, call: Call, user_id: str, by: By) -> Answer:
    """Nobody logs in with it any more, and its e-mail address is free again. Raises Refusal."""
    account = await _visible(work, user_id, by)
    answer = _tell(work, call, user_id, decide.close(account, by))
    await sessions.end_all(work.connection, work.shop, user_id, "closed", work.now)
    await credentials.remove(work.connection, work.shop, user_id)
    return answer


async def add_address(
    work: Work, call: Call, user_id: str, address: Address, by: By, *, default: bool
) -> Answer:
    """Raises Refusal."""
    account = await _visible(work, user_id, by)
    events = decide.add_address(account, work.new_id(), address, by, default=default)
    return _tell(work, call, user_id, events, 201)


async def change_address(
    work: Work,
    call: Call,
    user_id: str,
    address_id: str,
    address: Address,
    by: By,
    *,
    default: bool,
) -> Answer:
    """Raises Refusal."""
    account = await _visible(work, user_id, by)
    events = decide.change_address(account, address_id, address, by, default=default)
    return _tell(work, call, user_id, events)


async def remove_address(work: Work, call: Call, user_id: str, address_id: str, by: By) -> Answer:
    """Raises Refusal."""
    account = await _visible(work, user_id, by)
    return _tell(work, call, user_id, decide.remove_address(account, address_id, by))


async def _visible(work: Work, user_id: str, by: By) -> Account:
    """Locks an account that is there, and for this one to see. Raises Unknown."""
    account = await work.find(ACCOUNT, user_id)
    if account is None:
        raise decide.unknown(user_id)
    decide.check_may_see(account, by)
    return account


def _tell(
    work: Work, call: Call, user_id: str, events: Sequence[Data], status: int = 200
) -> Answer:
    check_version(call, work.version(ACCOUNT, user_id))
    work.tell(*events, person=user_id)
    return _answer(work, user_id, status)


def _answer(work: Work, user_id: str, status: int) -> Answer:
    return Answer(
        shown(work.state(ACCOUNT, user_id)),
        status,
        work.version(ACCOUNT, user_id),
        f"/v1/users/{user_id}" if status == 201 else None,
    )
