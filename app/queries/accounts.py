"""Questions about accounts: one, or those that staff look for."""

import re
from typing import Any, NamedTuple

import asyncpg

from app.commands.accounts import shown
from app.commands.work import decode
from app.domain.account import ACCOUNT, Account

_WORD = re.compile(r"\w+")
_MOST_WORDS = 8


class Found(NamedTuple):
    account: Account
    version: int


class People:
    """The accounts of one schema, as they are at this moment."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def get(self, shop: str, user_id: str) -> Found | None:
        row = await self._pool.fetchrow(
            "SELECT state, version FROM accounts WHERE shop = $1 AND id = $2", shop, user_id
        )
        return Found(decode(ACCOUNT, row["state"]), row["version"]) if row else None

    async def page(
        self,
        shop: str,
        *,
        search: str | None,
        role: str | None,
        closed: bool | None,
        limit: int,
        before: str | None,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Accounts, the newest first, and from where to go on. `search` finds the beginnings of
        words in names and e-mail addresses, all of them."""
        rows = await self._pool.fetch(_PAGE, shop, role, _query(search), closed, before, limit + 1)
        found = [shown(decode(ACCOUNT, row["state"])) for row in rows[:limit]]
        return found, rows[limit - 1]["id"] if len(rows) > limit else None


def _query(search: str | None) -> str | None:
    """Words as Postgres looks for them. Of a search without any word comes nothing."""
    if search is None:
        return None
    words = _WORD.findall(search.replace("_", " "))[:_MOST_WORDS]
    return " & ".join(f"'{word}':*" for word in words)


_PAGE = """
    SELECT id, state FROM accounts
    WHERE shop = $1
        AND ($2::text IS NULL OR role = $2)
        AND ($3::text IS NULL OR words @@ to_tsquery('simple', $3))
        AND ($4::bool IS NULL OR (state ? 'closed_at') = $4)
        AND ($5::text IS NULL OR id < $5)
    ORDER BY id DESC
    LIMIT $6
"""
