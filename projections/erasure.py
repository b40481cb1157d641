"""Erased names: which there are, and how they give way to pseudonyms in the read models.

The rows that are there get another name in the transaction that makes the name an erased one, and
the read models of a person another generation. So a worker that has folded a batch before finds at
its commit that it was folded onto something else, learns the names, and folds it again under them.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from projections.read_model import ReadModel, Transaction
from streams.erased import Erased, pseudonym_of


async def erased(transaction: Transaction) -> Erased:
    """All erased names, as readers of the log need them."""
    key = await transaction.fetchval("SELECT key FROM erasure_key")
    if key is None:
        return Erased()
    found: dict[str, set[bytes]] = defaultdict(set)
    for shop, digest in await transaction.fetch("SELECT shop, digest FROM erased_names"):
        found[shop].add(digest)
    return Erased(key, found)


async def count(transaction: Transaction) -> int:
    """How many names were erased so far: what was made with fewer is not to be believed."""
    return int(await transaction.fetchval("SELECT count(*) FROM erased_names"))


async def register(
    transaction: Transaction, erasure: UUID, shop: str, names: Sequence[str], now: datetime
) -> dict[str, str]:
    """Notes that these names are erased, the person's first; their pseudonyms. Whoever does so puts
    these in the place of the names in the same transaction. Said again it changes nothing."""
    await transaction.execute(_KEY)
    rows = await transaction.fetch(_REGISTER, shop, list(names), erasure)
    person = await transaction.fetchval("SELECT erasure_digest($1, $2)", shop, names[0])
    await transaction.execute(
        "INSERT INTO erasures (id, shop, digest, erased_at) VALUES ($1, $2, $3, $4) "
        "ON CONFLICT (shop, digest) DO NOTHING",
        *(erasure, shop, person, now),
    )
    return {row["name"]: pseudonym_of(row["digest"]) for row in rows}


async def rename(
    transaction: Transaction,
    models: Sequence[ReadModel],
    shop: str,
    pseudonyms: dict[str, str],
) -> None:
    """Puts pseudonyms in the place of names. For whoever holds `fenced`."""
    named = [model for model in models if model.renamed]
    names, given = list(pseudonyms), list(pseudonyms.values())
    for model in named:
        for statement in model.renamed:
            await transaction.execute(statement, shop, names, given)
    await transaction.execute(
        "UPDATE read_models SET generation = generation + 1 WHERE name = ANY($1)",
        [model.name for model in named],
    )


async def fenced(transaction: Transaction) -> None:
    """Keeps workers from committing until the transaction ends; none is in the midst of it."""
    await transaction.execute("LOCK TABLE progress IN SHARE ROW EXCLUSIVE MODE")


# 244 random bits.
_KEY = """
    INSERT INTO erasure_key (key)
    SELECT sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8'))
    WHERE NOT EXISTS (SELECT FROM erasure_key)
    ON CONFLICT DO NOTHING
"""
_REGISTER = """
    WITH new AS (
        SELECT DISTINCT name, erasure_digest($1, name) AS digest FROM unnest($2::text[]) AS name
    ), entered AS (
        INSERT INTO erased_names (shop, digest, erasure) SELECT $1, digest, $3 FROM new
        ON CONFLICT DO NOTHING
        RETURNING digest
    )
    SELECT name, digest FROM new
"""
