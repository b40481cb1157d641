"""An account: who somebody is to the shop, where they have things sent, and what they may do.

Passwords are no part of it: they are credentials, and stand in no event.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec import Struct

from app.domain.aggregate import Aggregate, Told
from app.domain.refusal import Conflict, Forbidden, Invalid, Unknown
from streams.events import (
    AccountClosed,
    AccountRegistered,
    Address,
    AddressAdded,
    AddressChanged,
    AddressRemoved,
    Data,
    DefaultAddressChanged,
    PasswordChanged,
    PersonErased,
    ProfileChanged,
    Role,
    RoleChanged,
)

MOST_ADDRESSES = 50

_changed = msgspec.structs.replace


class By(NamedTuple):
    """Who asks: their role and, of who has an account, the user's id."""

    role: str
    id: str


SHOP_ITSELF = By("admin", "")
"""Whoever has the servers: the command line, and the first admin is made by it."""


class Account(Struct, frozen=True, omit_defaults=True):
    """An account as it is now. Of a closed one nothing personal is left."""

    user_id: str
    role: Role
    registered_at: datetime
    email: str = ""
    name: str | None = None
    phone: str | None = None
    country: str | None = None
    addresses: Mapping[str, Address] = {}
    default_address: str | None = None
    closed_at: datetime | None = None


def register(registered: AccountRegistered, by: By) -> list[Data]:
    """A new account. Whoever registers is a customer; staff and admins are made by an admin.
    Raises Forbidden, Invalid."""
    if registered.role != "customer" and by.role != "admin":
        raise Forbidden("role", "an account of this role is made by an admin", "role")
    if not registered.email:
        raise Invalid("needed", "an account needs an e-mail address", "email")
    return [registered]


def change_profile(account: Account, changed: ProfileChanged, by: By) -> list[Data]:
    """Says who somebody is from now on. Raises Unknown, Forbidden, Conflict."""
    check_may_change(account, by)
    if (changed.name, changed.phone, changed.country) == (
        account.name,
        account.phone,
        account.country,
    ):
        return []
    return [changed]


def change_role(account: Account, role: Role, by: By) -> list[Data]:
    """Raises Forbidden, Conflict."""
    check_open(account)
    if by.role != "admin":
        raise Forbidden("role", "roles are given by an admin", "role")
    if by.id == account.user_id:
        raise Conflict("own_role", "an admin's own role is changed by another admin", "role")
    return [] if account.role == role else [RoleChanged(user_id=account.user_id, role=role)]


def change_password(account: Account, by: By) -> list[Data]:
    """That it was changed: by themselves, or by the shop. Raises Unknown, Conflict."""
    if by != SHOP_ITSELF and by.id != account.user_id:
        raise unknown(account.user_id)
    check_open(account)
    return [PasswordChanged(user_id=account.user_id)]


def close(account: Account, by: By) -> list[Data]:
    """Ends an account. Raises Unknown, Forbidden, Conflict."""
    check_may_change(account, by)
    if by.role == "admin" and by.id == account.user_id:
        raise Conflict("own_account", "an admin's account is closed by another admin")
    return [AccountClosed(user_id=account.user_id)]


def add_address(
    account: Account, address_id: str, address: Address, by: By, *, default: bool
) -> list[Data]:
    """One more address; the first is the default. Raises Unknown, Forbidden, Conflict."""
    check_may_change(account, by)
    if len(account.addresses) >= MOST_ADDRESSES:
        raise Conflict("too_many", f"an account has at most {MOST_ADDRESSES} addresses")
    added = AddressAdded(user_id=account.user_id, address_id=address_id, address=address)
    if not default and account.addresses:
        return [added]
    return [added, DefaultAddressChanged(user_id=account.user_id, address_id=address_id)]


def change_address(
    account: Account, address_id: str, address: Address, by: By, *, default: bool
) -> list[Data]:
    """Another address in the place of one. Raises Unknown, Forbidden, Conflict."""
    check_may_change(account, by)
    events: list[Data] = []
    if _address(account, address_id) != address:
        events.append(
            AddressChanged(user_id=account.user_id, address_id=address_id, address=address)
        )
    if default and account.default_address != address_id:
        events.append(DefaultAddressChanged(user_id=account.user_id, address_id=address_id))
    return events


def remove_address(account: Account, address_id: str, by: By) -> list[Data]:
    """One address less; where it was the default, the oldest of the others is. Raises Unknown,
    Forbidden, Conflict."""
    check_may_change(account, by)
    _address(account, address_id)
    events: list[Data] = [AddressRemoved(user_id=account.user_id, address_id=address_id)]
    if account.default_address == address_id:
        rest = account.addresses.keys() - {address_id}
        oldest = min(rest, default=None)  # their ids sort by time
        events.append(DefaultAddressChanged(user_id=account.user_id, address_id=oldest))
    return events


def check_may_see(account: Account, by: By) -> None:
    """A customer sees themselves alone: of others they do not learn whether there are any. Raises
    Unknown."""
    if by.id != account.user_id and by.role not in ("staff", "admin"):
        raise unknown(account.user_id)


def unknown(user_id: str) -> Unknown:
    """There is none, or none that may be seen: it sounds the same."""
    return Unknown("unknown", f"there is no user {user_id!r}")


def check_may_change(account: Account, by: By) -> None:
    """Everyone changes themselves, staff the customers, admins everyone. Raises Unknown, Forbidden,
    Conflict."""
    check_may_see(account, by)
    if by.role == "staff" and by.id != account.user_id and account.role != "customer":
        raise Forbidden("role", f"an account of role {account.role} is changed by an admin")
    check_open(account)


def check_open(account: Account) -> None:
    """Raises Conflict."""
    if account.closed_at:
        raise Conflict("closed", "this account is closed")


def _address(account: Account, address_id: str) -> Address:
    found = account.addresses.get(address_id)
    if found is None:
        raise Unknown("unknown", f"there is no address {address_id!r}", "address_id")
    return found


def evolve(account: Account | None, told: Told) -> Account:
    """The account after one more event."""
    data = told.data
    if isinstance(data, AccountRegistered):
        return Account(
            user_id=data.user_id,
            role=data.role,
            registered_at=told.at,
            email=data.email or "",
            name=data.name,
            phone=data.phone,
            country=data.country,
        )
    if isinstance(data, PersonErased):
        # Also of whoever never had an account: so nobody else gets one under this name.
        return Account(
            user_id=data.user_id,
            role=account.role if account else "customer",
            registered_at=account.registered_at if account else told.at,
            closed_at=told.at,
        )
    assert account is not None
    match data:
        case ProfileChanged():
            return _changed(account, name=data.name, phone=data.phone, country=data.country)
        case RoleChanged():
            return _changed(account, role=data.role)
        case AddressAdded():  # or one changed
            if data.address is None:  # erased, wherever the log is read from now on
                return account
            addresses = {**account.addresses, data.address_id: data.address}
            return _changed(account, addresses=addresses)
        case AddressRemoved():
            rest = {key: one for key, one in account.addresses.items() if key != data.address_id}
            return _changed(account, addresses=rest)
        case DefaultAddressChanged():
            return _changed(account, default_address=data.address_id)
        case PasswordChanged():
            return account
        case AccountClosed():
            return Account(
                user_id=account.user_id,
                role=account.role,
                registered_at=account.registered_at,
                country=account.country,
                closed_at=told.at,
            )
    raise TypeError(type(data))


ACCOUNT = Aggregate(
    "accounts",
    Account,
    evolve,
    {
        kind: lambda data: data.user_id
        for kind in (
            AccountRegistered,
            ProfileChanged,
            RoleChanged,
            PasswordChanged,
            AccountClosed,
            PersonErased,
            AddressAdded,
            AddressChanged,
            AddressRemoved,
            DefaultAddressChanged,
        )
    },
)
