"""Accounts: who may decide what about whom, and what an account is of its events."""

from typing import Any

import pytest

from app.domain import account
from app.domain.account import ACCOUNT, MOST_ADDRESSES, SHOP_ITSELF, Account, By
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
    ProfileChanged,
    RoleChanged,
)
from tests.deciding import NOW, given

ADA = AccountRegistered(user_id="u-1", email="ada@example.com", name="Ada", country="PT")
SAM = AccountRegistered(user_id="s-1", role="staff", email="sam@example.com", name="Sam")
HERSELF = By("customer", "u-1")
ANOTHER = By("customer", "u-2")
GUEST = By("guest", "cart-1")
STAFF = By("staff", "s-9")
ADMIN = By("admin", "a-1")
CLOSED = AccountClosed(user_id="u-1")

LISBON = Address(lines=["Rua da Prata 80"], city="Lisboa", country="PT")
PORTO = Address(lines=["Rua das Flores 1"], city="Porto", country="PT")


def added(number: int, address: Address = LISBON) -> AddressAdded:
    return AddressAdded(user_id="u-1", address_id=f"a-{number}", address=address)


def default(address_id: str | None) -> DefaultAddressChanged:
    return DefaultAddressChanged(user_id="u-1", address_id=address_id)


def state(*events: Data) -> Account:
    found = given(ACCOUNT, *events).state
    assert found is not None
    return found


def test_whoever_registers_is_a_customer_and_only_an_admin_makes_others() -> None:
    assert account.register(ADA, By("anyone", "")) == [ADA]
    for by in (By("anyone", ""), HERSELF, STAFF):
        with pytest.raises(Forbidden):
            account.register(SAM, by)
    assert account.register(SAM, ADMIN) == account.register(SAM, SHOP_ITSELF) == [SAM]
    with pytest.raises(Invalid):
        account.register(AccountRegistered(user_id="u-3"), ADMIN)


@pytest.mark.parametrize("by", [HERSELF, STAFF, ADMIN])
def test_a_profile_is_changed_by_who_may(by: By) -> None:
    changed = ProfileChanged(user_id="u-1", name="Ada King", country="GB")
    given(ACCOUNT, ADA).when(account.change_profile, changed, by).then(changed)
    assert state(ADA, changed).name == "Ada King"


def test_a_profile_that_is_so_already_changes_nothing() -> None:
    same = ProfileChanged(user_id="u-1", name="Ada", country="PT")
    given(ACCOUNT, ADA).when(account.change_profile, same, HERSELF).then()


# What each decider takes, but who asks.
DECIDERS: dict[str, tuple[Any, ...]] = {
    "change_profile": (ProfileChanged(user_id="u-1", name="X"),),
    "close": (),
    "remove_address": ("a-1",),
}


@pytest.mark.parametrize("by", [ANOTHER, GUEST, By("anyone", "")])
@pytest.mark.parametrize("decider", DECIDERS)
def test_who_is_somebody_else_is_told_that_there_is_nobody(decider: str, by: By) -> None:
    when = given(ACCOUNT, ADA, added(1)).when(getattr(account, decider), *DECIDERS[decider], by)
    when.refused(Unknown)
    given(ACCOUNT, ADA).when(account.add_address, "a", LISBON, by, default=False).refused(Unknown)
    given(ACCOUNT, ADA).when(account.change_password, by).refused(Unknown)


@pytest.mark.parametrize("decider", DECIDERS)
def test_nothing_is_changed_of_an_account_that_is_closed(decider: str) -> None:
    closed = given(ACCOUNT, ADA, added(1), CLOSED)
    closed.when(getattr(account, decider), *DECIDERS[decider], ADMIN).refused(Conflict)
    closed.when(account.change_role, "staff", ADMIN).refused(Conflict)
    closed.when(account.change_password, SHOP_ITSELF).refused(Conflict)


def test_staff_change_customers_and_themselves_alone() -> None:
    told = ProfileChanged(user_id="s-1", name="Samuel")
    given(ACCOUNT, SAM).when(account.change_profile, told, STAFF).refused(Forbidden)
    given(ACCOUNT, SAM).when(account.close, STAFF).refused(Forbidden)
    given(ACCOUNT, SAM).when(account.change_profile, told, By("staff", "s-1")).then(told)
    given(ACCOUNT, SAM).when(account.change_profile, told, ADMIN).then(told)


@pytest.mark.parametrize("by", [HERSELF, STAFF])
def test_only_admins_give_roles(by: By) -> None:
    given(ACCOUNT, ADA).when(account.change_role, "staff", by).refused(Forbidden, "role")


def test_a_role_is_changed_once_and_never_ones_own() -> None:
    told = RoleChanged(user_id="u-1", role="staff")
    given(ACCOUNT, ADA).when(account.change_role, "staff", ADMIN).then(told)
    given(ACCOUNT, ADA, told).when(account.change_role, "staff", ADMIN).then()
    own = By("admin", "u-1")
    given(ACCOUNT, ADA).when(account.change_role, "customer", own).refused(Conflict, "role")
    given(ACCOUNT, ADA).when(account.close, own).refused(Conflict)


def test_a_password_is_changed_by_its_owner_or_by_the_shop() -> None:
    told = PasswordChanged(user_id="u-1")
    given(ACCOUNT, ADA).when(account.change_password, HERSELF).then(told)
    given(ACCOUNT, ADA).when(account.change_password, SHOP_ITSELF).then(told)
    given(ACCOUNT, ADA).when(account.change_password, ADMIN).refused(Unknown)
    assert state(ADA, told) == state(ADA)


def test_the_first_address_is_the_default_and_a_later_one_where_it_is_said() -> None:
    nobody = given(ACCOUNT, ADA)
    nobody.when(account.add_address, "a-1", LISBON, HERSELF, default=False).then(
        added(1), default("a-1")
    )
    one = given(ACCOUNT, ADA, added(1), default("a-1"))
    one.when(account.add_address, "a-2", PORTO, STAFF, default=False).then(added(2, PORTO))
    one.when(account.add_address, "a-2", PORTO, HERSELF, default=True).then(
        added(2, PORTO), default("a-2")
    )


def test_an_address_is_changed_in_its_place() -> None:
    two = given(ACCOUNT, ADA, added(1), default("a-1"), added(2, PORTO))
    changed = AddressChanged(user_id="u-1", address_id="a-2", address=LISBON)
    two.when(account.change_address, "a-2", LISBON, HERSELF, default=False).then(changed)
    two.when(account.change_address, "a-2", PORTO, HERSELF, default=True).then(default("a-2"))
    two.when(account.change_address, "a-1", LISBON, HERSELF, default=True).then()
    two.when(account.change_address, "a-3", LISBON, HERSELF, default=False).refused(
        Unknown, "address_id"
    )


def test_without_its_default_the_oldest_of_the_others_is_it() -> None:
    three = given(ACCOUNT, ADA, added(3), default("a-3"), added(2), added(1))
    removed = AddressRemoved(user_id="u-1", address_id="a-3")
    three.when(account.remove_address, "a-3", HERSELF).then(removed, default("a-1"))
    last = given(ACCOUNT, ADA, added(3), default("a-3"))
    last.when(account.remove_address, "a-3", HERSELF).then(removed, default(None))
    three.when(account.remove_address, "a-1", HERSELF).then(
        AddressRemoved(user_id="u-1", address_id="a-1")
    )
    three.when(account.remove_address, "b", HERSELF).refused(Unknown, "address_id")


def test_an_account_has_no_more_addresses_than_it_may() -> None:
    full = given(ACCOUNT, ADA, *(added(number) for number in range(MOST_ADDRESSES)))
    full.when(account.add_address, "one more", LISBON, HERSELF, default=False).refused(Conflict)


def test_of_a_closed_account_nothing_personal_is_left() -> None:
    phone = ProfileChanged(user_id="u-1", name="Ada", phone="+351 1", country="PT")
    found = state(ADA, phone, added(1), default("a-1"), CLOSED)
    assert found == Account(
        user_id="u-1", role="customer", registered_at=NOW, country="PT", closed_at=NOW
    )


def test_an_account_whose_person_was_erased_can_still_be_made_of_its_events() -> None:
    bare = AccountRegistered(user_id="u-1", country="PT")
    erased = AddressAdded(user_id="u-1", address_id="a-1")
    gone = AddressRemoved(user_id="u-1", address_id="a-1")
    found = state(bare, erased, default("a-1"), gone, default(None))
    assert (found.email, found.addresses, found.country) == ("", {}, "PT")
