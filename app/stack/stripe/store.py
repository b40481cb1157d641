"""What the stand-in keeps: objects, answers and deliveries, in one file, changed in transactions.

A request, what it answered under its Idempotency-Key and the webhooks that follow from it are one
transaction: a stand-in that is killed at any moment owes exactly the webhooks of what it has done.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

Object: TypeAlias = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, kind TEXT, json TEXT
);
CREATE INDEX IF NOT EXISTS objects_kind ON objects (kind, seq);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, endpoint TEXT, params TEXT, status INT, body TEXT, request TEXT, at REAL
);
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT, endpoint TEXT, due REAL,
    tries INT DEFAULT 0, state TEXT DEFAULT 'waiting', begun REAL
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due) WHERE state = 'waiting';
CREATE TABLE IF NOT EXISTS later (id INTEGER PRIMARY KEY, refund TEXT, due REAL);
"""


class Kept(NamedTuple):
    """What was answered under an Idempotency-Key."""

    endpoint: str
    params: str
    status: int
    body: str
    request: str
    at: float


class Delivery(NamedTuple):
    """A webhook that is owed: which event to which endpoint, and how often it was tried."""

    id: int
    event: str
    endpoint: str
    tries: int
    begun: float


class Store:
    """One file, used by one process."""

    def __init__(self, path: Path | None) -> None:
        """Without a path it is kept in memory alone."""
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None)
        # What a crash of the machine itself takes, a stand-in may lose.
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;" + _SCHEMA)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it, or where it raises nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # Objects.

    def put(self, found: Object) -> None:
        """A new object, or one as it is now."""
        self._db.execute(
            "INSERT INTO objects (id, kind, json) VALUES (?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET json = excluded.json",
            (found["id"], found["object"], json.dumps(found)),
        )

    def get(self, kind: str, id: str) -> Object | None:  # noqa: A002
        row = self._db.execute(
            "SELECT json FROM objects WHERE id = ? AND kind = ?", (id, kind)
        ).fetchone()
        return json.loads(row[0]) if row else None

    def delete(self, id: str) -> None:  # noqa: A002
        self._db.execute("DELETE FROM objects WHERE id = ?", (id,))

    def latest(
        self,
        kind: str,
        fields: Mapping[str, str],
        bounds: Sequence[int | None],
        after: str | None,
        limit: int,
    ) -> list[Object]:
        """The latest first, of those with these fields, from before one of them on. `bounds` are
        those of `created`: >, >=, <, <=."""
        where = [f"json_extract(json, '$.{name}') = ?" for name in fields]
        told: list[str | int] = list(fields.values())
        for comparison, bound in zip((">", ">=", "<", "<="), bounds, strict=False):
            if bound is not None:
                where.append(f"json_extract(json, '$.created') {comparison} ?")
                told.append(bound)
        if after is not None:
            where.append("seq < (SELECT seq FROM objects WHERE id = ?)")
            told.append(after)
        conditions = "".join(f" AND {one}" for one in where)
        rows = self._db.execute(
            f"SELECT json FROM objects WHERE kind = ?{conditions} "  # noqa: S608
            "ORDER BY seq DESC LIMIT ?",
            (kind, *told, limit),
        )
        return [json.loads(row[0]) for row in rows]

    # Answers, by Idempotency-Key.

    def kept(self, key: str) -> Kept | None:
        row = self._db.execute(
            "SELECT endpoint, params, status, body, request, at FROM answers WHERE key = ?", (key,)
        ).fetchone()
        return Kept(*row) if row else None

    def keep(self, key: str, answer: Kept) -> None:
        self._db.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", (key, *answer))

    def forget_answers(self, before: float) -> None:
        self._db.execute("DELETE FROM answers WHERE at < ?", (before,))

    # Webhooks.

    def owe(self, event: str, endpoint: str, due: float, now: float) -> None:
        self._db.execute(
            "INSERT INTO deliveries (event, endpoint, due, begun) VALUES (?, ?, ?, ?)",
            (event, endpoint, due, now),
        )

    def due(self, now: float, limit: int, *, latest_first: bool = False) -> list[Delivery]:
        rows = self._db.execute(
            "SELECT id, event, endpoint, tries, begun FROM deliveries "  # noqa: S608
            f"WHERE state = 'waiting' AND due <= ? ORDER BY id {'DESC' if latest_first else 'ASC'} "
            "LIMIT ?",
            (now, limit),
        )
        return [Delivery(*row) for row in rows]

    def next_due(self) -> float | None:
        """When the next webhook, or the next change of a refund, is due."""
        row = self._db.execute(
            "SELECT min(due) FROM (SELECT due FROM deliveries WHERE state = 'waiting' "
            "UNION ALL SELECT due FROM later)"
        ).fetchone()
        return None if row[0] is None else float(row[0])

    def tried(self, id: int, state: str, due: float) -> None:  # noqa: A002
        self._db.execute(
            "UPDATE deliveries SET tries = tries + 1, state = ?, due = ? WHERE id = ?",
            (state, due, id),
        )

    # Refunds that change by themselves.

    def change_later(self, refund: str, due: float) -> None:
        self._db.execute("INSERT INTO later (refund, due) VALUES (?, ?)", (refund, due))

    def changes_due(self, now: float) -> list[str]:
        """The refunds that change now; each is told once."""
        rows = self._db.execute("DELETE FROM later WHERE due <= ? RETURNING refund", (now,))
        return [row[0] for row in rows.fetchall()]
