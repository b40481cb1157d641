"""Access tokens: ours are read, and nothing that only looks like one (RFC 8725)."""

import pytest

from app.identity.tokens import Actor, NoToken, Role, Tokens
from tests.forged import KEY, NOW, OLD_KEY, SHOP, forgeries, genuine

FORGED = forgeries()


def test_what_is_issued_is_read() -> None:
    tokens = Tokens(KEY)
    for role in (Role.GUEST, Role.CUSTOMER, Role.STAFF, Role.ADMIN):
        actor = Actor(role, "u-1", SHOP, "session-1")
        read = tokens.read(tokens.issue(actor, NOW), SHOP, NOW)
        assert read[:4] == actor[:4]
        assert read.expires is not None
        assert 0 < (read.expires - NOW).total_seconds() <= 900
    assert tokens.read(genuine(), SHOP, NOW).id == "u-1"


def test_there_are_forty_kinds_of_forgeries() -> None:
    assert len(FORGED) >= 40
    assert len({*FORGED.values()}) == len(FORGED), "two of them are the same token"


@pytest.mark.parametrize("kind", FORGED)
def test_no_forgery_is_read(kind: str) -> None:
    with pytest.raises(NoToken):
        Tokens(KEY).read(FORGED[kind], SHOP, NOW)


def test_of_several_keys_the_first_signs_and_all_are_taken() -> None:
    actor = Actor(Role.CUSTOMER, "u-1", SHOP)
    before, both = Tokens(OLD_KEY), Tokens(KEY + b"," + OLD_KEY)
    assert both.read(before.issue(actor, NOW), SHOP, NOW).id == "u-1"
    assert Tokens(KEY).read(both.issue(actor, NOW), SHOP, NOW).id == "u-1"
    with pytest.raises(NoToken):
        before.read(both.issue(actor, NOW), SHOP, NOW)
    with pytest.raises(NoToken):
        Tokens(KEY).read(before.issue(actor, NOW), SHOP, NOW)
