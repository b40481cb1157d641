"""Imports in Postgres: what is known of each, what was rejected, what was said of headers."""

import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct

from app.imports.mapping import Correction, dumps
from app.imports.prepare import Prepared
from app.imports.reading import Fault
from app.imports.words import plain

MOST_REJECTIONS = 100_000
"""Rows that are kept of one import; beyond them they are counted."""
WAITING = ("received", "queued", "running", "applying")

_SILENCE = timedelta(minutes=5)
"""Whoever is at an import says so each second; without a word for so long, nobody is."""


class Import(Struct, frozen=True):
    """A row of `imports`."""

    import_id: str
    owner: str
    shop: str
    name: str
    state: str
    detail: str
    files: Sequence[Mapping[str, Any]]
    said: Mapping[str, Any]
    shape: Mapping[str, Any] | None
    mapping: Mapping[str, Any] | None
    asked: Sequence[Mapping[str, Any]]
    preview: Sequence[Mapping[str, Any]]
    progress: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


_LONGEST_OWNER, _LONGEST_SLUG = 67, 60


def new_id() -> str:
    return f"im-{secrets.token_hex(10)}"


def shop_named(owner: str, name: str) -> str:
    """A shop for a file of somebody's shop: the same for the same name. What stands before its last
    dot is whose it is. Raises ValueError where there is no room for a name."""
    stem = re.sub(r"\.(csv|tsv|txt|xlsx?|xlsb|xlsm|ods|gz)", "", plain(name).rsplit("/", 1)[-1])
    slug = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:_LONGEST_SLUG].strip("-") or "import"
    if len(owner) > _LONGEST_OWNER:
        raise ValueError(f"the name of the shop {owner[:20]}… is too long for one of its own in it")
    return f"{owner}.{slug}"


_COLUMNS = ", ".join(Import.__struct_fields__)
_JSON = frozenset({"files", "said", "shape", "mapping", "asked", "preview", "progress"})


def _import(row: "asyncpg.Record") -> Import:
    return Import(**{
        name: json.loads(value) if name in _JSON and value is not None else value
        for name, value in row.items()
    })  # fmt: skip


class Store:
    """Reads and writes them; raises what asyncpg raises."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self.pool = pool

    async def create(
        self,
        import_id: str,
        owner: str,
        shop: str,
        name: str,
        files: Sequence[Mapping[str, Any]],
        said: Mapping[str, Any],
    ) -> None:
        """A new one, whose files are in its folder."""
        await self.pool.execute(
            """
            INSERT INTO imports (import_id, owner, shop, name, state, files, said, created_at,
                updated_at)
            VALUES ($1, $2, $3, $4, 'received', $5, $6, clock_timestamp(), clock_timestamp())
            """,
            import_id,
            owner,
            shop,
            name,
            json.dumps(files),
            json.dumps(said),
        )

    async def find(self, import_id: str, owner: str | None = None) -> Import | None:
        row = await self.pool.fetchrow(
            f"SELECT {_COLUMNS} FROM imports WHERE import_id = $1 "  # noqa: S608
            "AND owner = coalesce($2, owner)",
            import_id,
            owner,
        )
        return _import(row) if row else None

    async def listed(self, owner: str, most: int) -> list[Import]:
        rows = await self.pool.fetch(
            f"SELECT {_COLUMNS} FROM imports WHERE owner = $1 "  # noqa: S608
            "ORDER BY created_at DESC, import_id LIMIT $2",
            owner,
            most,
        )
        return [_import(row) for row in rows]

    async def expired(self) -> list[str]:
        """Drafts that nobody has come back to: they are cancelled."""
        rows = await self.pool.fetch(
            """
            UPDATE imports SET state = 'cancelled', detail = 'nobody has come back to it',
                updated_at = clock_timestamp()
            WHERE state = 'draft' AND updated_at < clock_timestamp() - interval '7 days'
            RETURNING import_id
            """
        )
        return [row["import_id"] for row in rows]

    async def abandoned(self) -> list[str]:
        """What was under way in a process that is gone, and that no job takes up again: it has
        failed."""
        rows = await self.pool.fetch(
            """
            UPDATE imports SET state = 'failed', updated_at = clock_timestamp(),
                detail = 'the process that was at it has ended: bring the files again'
            WHERE state = ANY ($1) AND updated_at < clock_timestamp() - $2::interval
                AND NOT EXISTS (
                    SELECT FROM jobs WHERE jobs.kind = 'import'
                        AND jobs.state IN ('waiting', 'running')
                        AND jobs.asked ->> 'import_id' = imports.import_id
                )
            RETURNING import_id
            """,
            WAITING,
            _SILENCE,
        )
        return [row["import_id"] for row in rows]

    async def delete(self, import_id: str) -> None:
        await self.pool.execute("DELETE FROM imports WHERE import_id = $1", import_id)

    async def state(self, import_id: str) -> str:
        """Empty where there is no such import."""
        found = await self.pool.fetchval(
            "SELECT state FROM imports WHERE import_id = $1", import_id
        )
        return str(found or "")

    async def write(self, import_id: str, progress: Mapping[str, Any]) -> bool:
        """Says how far it is; False where it is not to go on."""
        return bool(
            await self.pool.fetchval(
                """
                UPDATE imports SET updated_at = clock_timestamp(), progress = $2
                WHERE import_id = $1 AND state = ANY ($3) RETURNING true
                """,
                import_id,
                json.dumps(progress),
                WAITING,
            )
        )

    async def turn(
        self, import_id: str, state: str, detail: str = "", before: Sequence[str] = WAITING
    ) -> bool:
        """Sets its state; False where it is in none of those that it may come from."""
        return bool(
            await self.pool.fetchval(
                """
                UPDATE imports SET state = $2, detail = $3, updated_at = clock_timestamp()
                WHERE import_id = $1 AND state = ANY ($4) RETURNING true
                """,
                import_id,
                state,
                detail[:2000],
                before,
            )
        )

    async def prepared(self, import_id: str, found: Prepared, state: str) -> bool:
        """What was found out, and how it goes on."""
        return bool(
            await self.pool.fetchval(
                """
                UPDATE imports SET state = $2, shape = $3, mapping = $4, asked = $5, preview = $6,
                    updated_at = clock_timestamp(), detail = ''
                WHERE import_id = $1 AND state IN ('received', 'draft') RETURNING true
                """,
                import_id,
                state,
                dumps(found.shapes),
                dumps(found.mapping),
                msgspec.json.encode(found.asked).decode(),
                json.dumps(found.preview),
            )
        )

    async def said(self, import_id: str, said: Mapping[str, Any], state: str) -> bool:
        """Corrections; what they change is found out next."""
        return bool(
            await self.pool.fetchval(
                """
                UPDATE imports SET said = $2, state = $3, updated_at = clock_timestamp()
                WHERE import_id = $1 AND state = 'draft' RETURNING true
                """,
                import_id,
                json.dumps(said),
                state,
            )
        )

    # What was said of headers.

    async def corrections(self, owner: str) -> dict[str, Correction]:
        rows = await self.pool.fetch(
            "SELECT header, correction FROM import_mappings WHERE owner = $1", owner
        )
        return {
            header: msgspec.json.decode(told, type=Correction, strict=False)
            for header, told in rows
        }

    async def remember(self, owner: str, header: str, said: Correction) -> None:
        await self.pool.execute(
            """
            INSERT INTO import_mappings VALUES ($1, $2, $3)
            ON CONFLICT (owner, header) DO UPDATE SET correction = excluded.correction
            """,
            owner,
            header,
            dumps(said),
        )

    async def key_of(self, shop: str) -> bytes:
        """The key of a shop's pseudonyms, made when first needed."""
        await self.pool.execute(
            "INSERT INTO import_keys VALUES ($1, $2) ON CONFLICT DO NOTHING",
            shop,
            secrets.token_bytes(32),
        )
        return bytes(await self.pool.fetchval("SELECT key FROM import_keys WHERE shop = $1", shop))

    # What was rejected.

    async def forget_rejections(self, import_id: str) -> None:
        """Those of lines, which are read again; not those of orders, which were counted."""
        await self.pool.execute(
            "DELETE FROM import_rejections WHERE import_id = $1 AND line > 0", import_id
        )

    async def reject(self, import_id: str, faults: Iterable[Fault]) -> None:
        clean = [
            (import_id, one.line, *(text.replace("\0", "\ufffd") for text in one[1:]))
            for one in faults
        ]
        await self.pool.copy_records_to_table(
            "import_rejections",
            records=clean,
            columns=("import_id", "line", "column_name", "value", "reason"),
        )

    async def rejections(self, import_id: str, most: int, after: int = 0) -> list[Fault]:
        rows = await self.pool.fetch(
            """
            SELECT line, column_name, value, reason FROM import_rejections
            WHERE import_id = $1 ORDER BY line, column_name, reason, value LIMIT $2 OFFSET $3
            """,
            import_id,
            most,
            after,
        )
        return [Fault(*row) for row in rows]
