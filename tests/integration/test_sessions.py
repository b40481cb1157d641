"""Sessions, and how log-ins are counted, as several API processes share them, on Postgres."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from app.commands import accounts
from app.commands.execute import Answer, Call, Commands
from app.commands.work import Work
from app.domain.account import SHOP_ITSELF, By
from app.identity import credentials
from app.identity.attempts import Attempts, Limit, TooMany, network_of, who
from app.identity.sessions import GRACE, LASTS, NoSession, Refreshed, Sessions
from app.settings import Settings
from app.vault import Vault
from projections.postgres import connect, migrate
from streams.events import AccountRegistered

Pool = asyncpg.Pool
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HASH = "a hash"


@pytest.fixture
async def pools(settings: Settings) -> AsyncIterator[list[Pool]]:
    """Two processes' connections."""
    servers = settings.servers
    await migrate(servers.postgres, settings.schema_name)
    found = [await connect(servers.postgres, settings.schema_name, size=8) for _ in range(2)]
    yield found
    await asyncio.gather(*(pool.close() for pool in found))


@pytest.fixture
async def ada(pools: list[Pool]) -> str:
    """Somebody who has an account."""
    return await registered(pools[0], "ada@example.com")


async def registered(pool: Pool, email: str) -> str:
    new = AccountRegistered(user_id=Work.new_id(), email=email, name="Ada")

    async def handle(work: Work) -> Answer:
        return await accounts.register(work, new, HASH, SHOP_ITSELF)

    await Commands(pool, Vault(pool)).run(Call("main", "", "c", b""), NOW, handle)
    return new.user_id


async def begun(pool: Pool, user_id: str) -> Refreshed:
    return await Sessions(pool).begin("main", user_id, HASH, NOW)


async def tokens_of(pool: Pool, session: str) -> list[bool]:
    """Of each token of a session whether it was used."""
    rows = await pool.fetch(
        "SELECT used_at IS NOT NULL AS used FROM refresh_tokens WHERE session = $1", session
    )
    return [row["used"] for row in rows]


async def test_fifty_refreshes_at_once_agree_on_one_successor(pools: list[Pool], ada: str) -> None:
    session = await begun(pools[0], ada)
    token = session.token
    for turn in range(4):
        now = NOW + turn * 60 * SECOND
        answers = await asyncio.gather(
            *(Sessions(pools[n % 2]).refresh("main", token, now) for n in range(50))
        )
        assert len({answer.token for answer in answers}) == 1
        assert {answer.session for answer in answers} == {session.session}
        assert answers[0].token != token
        token = answers[0].token
        assert sorted(await tokens_of(pools[0], session.session)) == [False] + [True] * (turn + 1)


async def test_who_was_late_gets_the_successor_again_and_later_the_session_ends_for_all(
    pools: list[Pool], ada: str
) -> None:
    one, other = Sessions(pools[0]), Sessions(pools[1])
    first = await begun(pools[0], ada)
    second = await one.refresh("main", first.token, NOW)
    third = await one.refresh("main", second.token, NOW + SECOND)
    assert (await other.refresh("main", first.token, NOW + GRACE)).token == second.token
    assert await other.holds(first.session, NOW)
    with pytest.raises(NoSession):
        await one.refresh("main", first.token, NOW + GRACE + SECOND)
    for token in (first.token, second.token, third.token):
        with pytest.raises(NoSession):
            await other.refresh("main", token, NOW + GRACE + SECOND)
    assert not await other.holds(first.session, NOW)
    why = await pools[1].fetchval("SELECT ended_by FROM sessions WHERE id = $1", first.session)
    assert why == "reuse"


async def test_a_session_ends_with_its_time_by_logging_out_and_in_no_other_shop(
    pools: list[Pool], ada: str
) -> None:
    sessions = Sessions(pools[0])
    for shop, at in (("other", NOW), ("main", NOW + LASTS)):
        with pytest.raises(NoSession):
            await sessions.refresh(shop, (await begun(pools[0], ada)).token, at)
    one, other = await begun(pools[0], ada), await begun(pools[0], ada)
    later = await sessions.refresh("main", one.token, NOW)
    await sessions.end("main", one.token, NOW)  # also by a token that was used
    assert not await sessions.holds(one.session, NOW)
    with pytest.raises(NoSession):
        await sessions.refresh("main", later.token, NOW)
    assert await sessions.holds(other.session, NOW)
    assert not await sessions.holds("nobody's", NOW)
    with pytest.raises(NoSession):
        await sessions.refresh("main", "nobody's", NOW)


async def test_no_session_begins_with_a_password_that_was_changed_meanwhile(
    pools: list[Pool], ada: str
) -> None:
    await credentials.change(pools[0], "main", ada, "another", NOW)
    with pytest.raises(NoSession):
        await begun(pools[0], ada)


async def test_a_hash_is_renewed_only_where_its_password_still_is_the_password(
    pools: list[Pool], ada: str
) -> None:
    await credentials.renew(pools[0], "main", ada, HASH, "of today", NOW)
    await credentials.renew(pools[1], "main", ada, HASH, "too late", NOW)
    found = await credentials.of_user(pools[0], "main", ada)
    assert found is not None
    assert found.hash == "of today"


async def test_a_change_of_role_ends_even_sessions_that_begin_beside_it(
    pools: list[Pool], ada: str
) -> None:
    commands = Commands(pools[0], Vault(pools[0]))
    call = Call("main", "", "c", b"")

    async def promote(work: Work) -> Answer:
        return await accounts.change_role(work, call, ada, "staff", By("admin", "a"))

    begins = [begun(pools[1], ada) for _ in range(20)]
    *found, _ = await asyncio.gather(*begins, commands.run(call, NOW, promote))
    for session in found:
        assert isinstance(session, Refreshed)
        holds = await Sessions(pools[0]).holds(session.session, NOW)
        assert holds == (session.role == "staff"), "a session goes on with a role that is over"


async def test_closing_frees_the_address_and_ends_all(pools: list[Pool], ada: str) -> None:
    session = await begun(pools[0], ada)
    call = Call("main", "", "c", b"")

    async def close(work: Work) -> Answer:
        return await accounts.close(work, call, ada, By("customer", ada))

    await Commands(pools[0], Vault(pools[0])).run(call, NOW, close)
    assert not await Sessions(pools[0]).holds(session.session, NOW)
    assert await credentials.find(pools[0], "main", "ada@example.com") is None
    assert await registered(pools[0], "ADA@example.com ") != ada


async def test_nothing_of_a_token_or_a_password_is_in_the_tables(
    pools: list[Pool], ada: str
) -> None:
    first = await begun(pools[0], ada)
    second = await Sessions(pools[0]).refresh("main", first.token, NOW)
    for table in ("sessions", "refresh_tokens", "accounts", "outbox"):
        held = str(await pools[0].fetch(f"SELECT * FROM {table}"))
        for secret in (first.token, second.token, HASH):
            assert secret not in held
            assert secret.encode().hex() not in held


async def test_attempts_are_counted_together_and_no_more_are_let_through(
    pools: list[Pool],
) -> None:
    limit = Limit("log-in", 10, timedelta(minutes=15))
    counts = [Attempts(pool) for pool in pools]
    results = await asyncio.gather(
        *(counts[n % 2].count(limit, who("ada"), NOW) for n in range(50)), return_exceptions=True
    )
    assert sum(result is None for result in results) == 10
    with pytest.raises(TooMany) as many:
        await counts[0].count(limit, who("ada"), NOW + timedelta(minutes=5))
    assert many.value.seconds == 600
    await counts[0].count(limit, who("bob"), NOW)
    await counts[1].count(limit, who("ada"), NOW + timedelta(minutes=15))
    await counts[1].clear(limit, who("ada"), NOW)
    for _ in range(10):
        await counts[0].count(limit, who("ada"), NOW)
        await counts[1].forgive(limit, who("ada"))


@pytest.mark.parametrize(
    ("told", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        (None, "unknown"),
        ("a name", "unknown"),
    ],
)
def test_an_address_is_counted_as_who_has_it(told: str | None, counted: str) -> None:
    assert network_of(told) == counted
