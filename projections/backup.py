"""A schema in one file: every table as COPY's text, all of one snapshot, and how to put it back.

Postgres' own tools would do, and must be of the server's version or newer; COPY's text is the same
in all of them. What shapes the tables is not in the file but their migrations' names: a backup goes
into an empty schema of its own time, and is migrated from there like any other.
"""

import json
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime
from graphlib import TopologicalSorter
from pathlib import Path
from typing import BinaryIO, cast

import asyncpg
import msgspec
from msgspec import Struct

from projections import postgres
from projections.read_model import one_generation
from streams.exclusive import Connection

_FORMAT = 1
_MANIFEST = "manifest.json"
_NOT_COPIED = "migrations"  # migrating writes it


class BackupUnreadable(Exception):
    """The file is not a backup, is cut short or altered, or is of a later version."""


class Position(Struct, frozen=True):
    """How far a group had read a partition of which incarnation of a topic."""

    group: str
    topic: str
    partition: int
    next_offset: int
    topic_id: str


class Table(Struct, frozen=True):
    columns: Sequence[str]
    rows: int


class Manifest(Struct, frozen=True):
    """What a backup holds: of when, by which version, how far the log had been read, and where the
    log ended (`orders:3` → the next offset) just after."""

    taken_at: datetime
    version: str
    migrations: Sequence[str]
    tables: Mapping[str, Table]
    sequences: Mapping[str, int]
    progress: Sequence[Position]
    log_ends: Mapping[str, int] = {}
    format: int = _FORMAT


async def dump(connection: Connection, archive: zipfile.ZipFile, version: str) -> Manifest:
    """Writes every table of the connection's schema into an archive, as of one moment. The archive
    is whole once `seal` was called."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await one_generation(connection)
        taken_at = await connection.fetchval("SELECT now()")
        names = await connection.fetch("SELECT name FROM migrations ORDER BY name")
        sequences = await connection.fetch(
            "SELECT sequencename, last_value FROM pg_sequences "
            "WHERE schemaname = current_schema() AND last_value IS NOT NULL"
        )
        progress = await connection.fetch(
            "SELECT group_name, topic, partition, next_offset, topic_id::text FROM progress "
            "ORDER BY group_name, topic, partition"
        )
        tables = {}
        for name, columns in await connection.fetch(_TABLES, _NOT_COPIED):
            listed = ", ".join(map(_quoted, columns))
            with archive.open(_member(name), "w", force_zip64=True) as member:
                copied = await connection.copy_from_query(
                    f"SELECT {listed} FROM {_quoted(name)}",  # noqa: S608 (quoted names)
                    output=cast(BinaryIO, member),
                )
            tables[name] = Table(columns, int(copied.split()[-1]))
    return Manifest(
        taken_at,
        version,
        [row["name"] for row in names],
        tables,
        dict(map(tuple, sequences)),
        [Position(*row) for row in progress],
    )


_TABLES = """
    SELECT relname, array_agg(attname ORDER BY attnum)
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relname <> $1
        AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
    GROUP BY relname ORDER BY relname
"""

_REFERENCES = """
    SELECT referring.relname, array_agg(referred.relname) AS referred
    FROM pg_constraint
    JOIN pg_class AS referring ON referring.oid = conrelid
    JOIN pg_class AS referred ON referred.oid = confrelid
    WHERE contype = 'f' AND connamespace = current_schema()::regnamespace AND conrelid <> confrelid
    GROUP BY referring.relname
"""


def seal(archive: zipfile.ZipFile, manifest: Manifest) -> None:
    """Writes what makes an archive a backup."""
    archive.writestr(_MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))


def opened(file: Path) -> tuple[zipfile.ZipFile, Manifest]:
    """A backup, to be read. Raises BackupUnreadable, OSError."""
    try:
        archive = zipfile.ZipFile(file)
        told = archive.read(_MANIFEST)
        if (found := json.loads(told).get("format")) != _FORMAT:
            raise BackupUnreadable(f"{file} has format {found}, this version reads {_FORMAT}")
        return archive, msgspec.json.decode(told, type=Manifest)
    except (zipfile.BadZipFile, KeyError, ValueError, msgspec.MsgspecError) as error:
        raise BackupUnreadable(f"{file} is no whole backup: {error}") from error


async def load(
    connection: Connection, schema: str, archive: zipfile.ZipFile, manifest: Manifest
) -> list[str]:
    """Puts a backup in the place of a schema, within the caller's transaction; the tables that it
    leaves out, since no migration makes them. Raises BackupUnreadable."""
    if unknown := sorted(set(manifest.migrations) - postgres.migration_names()):
        raise BackupUnreadable(f"it is of a later version, with the migrations {unknown}")
    await connection.execute(f"DROP SCHEMA IF EXISTS {_quoted(schema)} CASCADE")
    await postgres.shape(connection, schema, manifest.migrations)
    made = {row["relname"] for row in await connection.fetch(_TABLES, _NOT_COPIED)}
    refers = {row["relname"]: row["referred"] for row in await connection.fetch(_REFERENCES)}
    for name in _referred_first(made & manifest.tables.keys(), refers):
        await _load_table(connection, archive, name, manifest.tables[name])
    for name, last in manifest.sequences.items():
        await connection.execute(
            """
            SELECT setval(oid::regclass, $2) FROM pg_class
            WHERE relname = $1 AND relkind = 'S' AND relnamespace = current_schema()::regnamespace
            """,
            name,
            last,
        )
    await postgres.shape(connection, schema)
    return sorted(manifest.tables.keys() - made)


def _referred_first(names: Set[str], refers: Mapping[str, Iterable[str]]) -> list[str]:
    """Tables, those before that others refer to: Postgres checks at the end of each COPY."""
    graph = {name: refers.get(name, ()) for name in sorted(names)}
    return [name for name in TopologicalSorter(graph).static_order() if name in names]


async def _load_table(
    connection: Connection, archive: zipfile.ZipFile, name: str, table: Table
) -> None:
    try:
        with archive.open(_member(name)) as member:
            copied = await connection.copy_to_table(
                name, source=cast(BinaryIO, member), columns=list(table.columns)
            )
    except (zipfile.BadZipFile, KeyError, EOFError, asyncpg.DataError) as error:
        raise BackupUnreadable(f"table {name} cannot be read: {error}") from error
    if (rows := int(copied.split()[-1])) != table.rows:
        raise BackupUnreadable(f"table {name} has {rows} rows, not {table.rows}")


def _member(table: str) -> str:
    return f"tables/{table}.copy"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def durable(file: Path) -> None:
    """Returns once a file and its name are on the disk."""
    for path in (file, file.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
