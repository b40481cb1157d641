"""What the shop itself keeps of a person, without them: states as their events tell them once what
was sealed is gone and the person has another name, and what commands keep beside states."""

import json
from datetime import datetime

from app.commands.work import decode, encode
from app.domain.account import ACCOUNT, evolve
from app.domain.aggregate import Told
from app.identity import credentials
from app.identity.attempts import who
from projections.read_model import Transaction
from streams.events import PersonErased


async def erase(
    transaction: Transaction, shop: str, pseudonyms: dict[str, str], person: str, now: datetime
) -> None:
    """All of them, in the order in which commands lock states. What was kept for retries, log-ins
    and people who look at it goes as well."""
    row = await transaction.fetchrow(
        "SELECT version, state FROM accounts WHERE shop = $1 AND id = $2 FOR UPDATE", shop, person
    )
    email = decode(ACCOUNT, row["state"]).email if row else ""
    await _account(transaction, shop, person, pseudonyms[person], now)
    for name, pseudonym in sorted(pseudonyms.items()):
        for statement in _STATES:
            await transaction.execute(statement, shop, name, pseudonym)
    for statement in _BESIDE:
        await transaction.execute(statement, shop, person)
    for name in pseudonyms:
        for statement in _WENT_WRONG:
            await transaction.execute(statement, name)
    for told in (*map(_quoted, pseudonyms), *filter(None, [email])):
        for statement in _SAID:
            await transaction.execute(statement, shop, told)
    if email:
        await transaction.execute(
            "DELETE FROM attempts WHERE who = $1", who(shop, credentials.compared(email))
        )


def _quoted(name: str) -> str:
    """As JSON says it: a short id stands in many words."""
    return json.dumps(name, ensure_ascii=False)


async def _account(
    transaction: Transaction, shop: str, person: str, pseudonym: str, now: datetime
) -> None:
    """The account, as PersonErased leaves it; also of somebody who never had one."""
    row = await transaction.fetchrow(
        "SELECT version, state FROM accounts WHERE shop = $1 AND id = $2", shop, person
    )
    known = decode(ACCOUNT, row["state"]) if row else None
    state = evolve(known, Told(now, PersonErased(user_id=pseudonym)))
    told = (shop, pseudonym, row["version"] + 1 if row else 1, encode(state).decode(), now)
    if row is None:
        await transaction.execute(
            "INSERT INTO accounts (shop, id, version, state, created_at, changed_at) "
            "VALUES ($1, $2, $3, $4::jsonb, $5, $5)",
            *told,
        )
    else:
        await transaction.execute(
            "UPDATE accounts SET id = $2, version = $3, state = $4::jsonb, changed_at = $5 "
            "WHERE shop = $1 AND id = $6",
            *(*told, person),
        )


# $1: the shop, $2: a name, $3: its pseudonym.
_STATES = (
    """
    UPDATE coupons SET state = jsonb_set(
        state #- ARRAY['redeemed_by', $2],
        ARRAY['redeemed_by', $3],
        state #> ARRAY['redeemed_by', $2]
    )
    WHERE shop = $1 AND state -> 'redeemed_by' ? $2
    """,
    (
        "UPDATE carts SET state = jsonb_set(state, '{customer}', to_jsonb($3::text)) "
        "WHERE shop = $1 AND customer = $2"
    ),
    """
    UPDATE shop_orders SET state = state
        || jsonb_build_object('person', $3::text, 'email', null, 'shipping_address', null)
    WHERE shop = $1 AND person = $2
    """,
    """
    UPDATE reviews SET state = (state - 'review_body') || jsonb_build_object('person', $3::text)
    WHERE shop = $1 AND state ->> 'person' = $2
    """,
)
# $1: the shop, $2: the person. They can ask for nothing again: their sessions are over.
_BESIDE = (
    "DELETE FROM credentials WHERE shop = $1 AND user_id = $2",
    "DELETE FROM sessions WHERE shop = $1 AND user_id = $2",
    "DELETE FROM answers WHERE shop = $1 AND right(actor, length($2) + 1) = '/' || $2",
    """
    UPDATE answers SET location = NULL
    WHERE shop = $1 AND strpos(location || '/', '/' || $2 || '/') > 0
    """,
)
# $1: the shop, $2: their id, a visitor's, in quotes, or their e-mail address. An answer that was
# given stays one, for the command is not to be done once more; what it said does not.
_SAID = (
    """
    UPDATE answers SET body = '{"erased":true}'
    WHERE shop = $1 AND strpos(encode(body, 'escape'), encode(convert_to($2, 'UTF8'), 'escape')) > 0
    """,
    """
    UPDATE quarantine SET key = NULL, value = NULL
    WHERE (shop = $1 OR shop IS NULL)
        AND strpos(encode(value, 'escape'), encode(convert_to($2, 'UTF8'), 'escape')) > 0
    """,
    """
    DELETE FROM jobs WHERE shop = $1 AND state NOT IN ('waiting', 'running')
        AND strpos(concat_ws(' ', asked, result, error), $2) > 0
    """,
)
# $1: their id, or a visitor's. Of what went wrong it is enough that it did.
_WENT_WRONG = (
    "UPDATE failures SET error = 'it named somebody who was erased' WHERE strpos(error, $1) > 0",
    "UPDATE verify_results SET examples = '[]' WHERE strpos(examples::text, $1) > 0",
)
