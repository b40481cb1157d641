"""Erasing a person in one transaction: where it has ended, nothing that answers knows them.

What it does not reach at once is done by a job, once for all who were erased meanwhile: models that
have learned from them are made anew without them (see `app.erasure.job`).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid4

import msgspec

from app.commands.execute import Answer
from app.commands.work import Work
from app.domain.account import ACCOUNT, By
from app.domain.refusal import Conflict, Forbidden, Unknown
from app.erasure import states
from app.erasure.asked import ask
from app.subscriptions import SUBSCRIPTIONS
from app.vault import destroy
from projections import erasure
from projections.read_model import ReadModel, Transaction
from projections.visitor_links import VISITORS
from streams import codec
from streams.erased import is_erased
from streams.events import SHOP, Event, PersonErased
from streams.outbox import Enqueued, enqueue

_MODELS = tuple(
    dict.fromkeys(row.model for row in SUBSCRIPTIONS if isinstance(row.model, ReadModel))
)


class Known(NamedTuple):
    """An erasure: when it was, and when the models were made anew."""

    id: UUID
    shop: str
    erased_at: datetime
    rebuilt_at: datetime | None

    def shown(self) -> dict[str, str | None]:
        """As JSON has it."""
        return {
            "erasure_id": str(self.id),
            "state": "rebuilding" if self.rebuilt_at is None else "done",
            "erased_at": self.erased_at.isoformat(),
            "rebuilt_at": self.rebuilt_at.isoformat() if self.rebuilt_at else None,
        }


async def find(
    transaction: Transaction, shop: str | None, person: str | None, number: UUID | None = None
) -> Known | None:
    """A person's erasure, or the one of this number."""
    row = await transaction.fetchrow(_FIND, shop, person, number)
    return Known(*row) if row else None


def check_may_erase(by: By, person: str, fresh: bool) -> None:
    """One oneself, freshly logged in; an admin everyone else. Raises Forbidden, Conflict."""
    if by.id != person and by.role != "admin":
        raise Unknown("unknown_customer", f"there is no customer {person!r}")
    if by.id == person and by.role == "admin":
        raise Conflict("own_account", "an admin is erased by another admin")
    if by.id == person and not fresh:
        raise Forbidden(
            "fresh_login", "log in once more, and ask again within a quarter of an hour"
        )


async def erase(work: Work, person: str) -> Answer:
    """Erases a person; once more it says what came of it. Raises Unknown."""
    connection = work.connection
    known = await find(connection, work.shop, person)
    if known is None:
        if is_erased(person) or not await connection.fetchval(_ANY, work.shop, person):
            raise Unknown("unknown_customer", f"there is no customer {person!r}")
        under_way = await connection.fetchval(_UNDER_WAY, work.shop, person)
        number = uuid4()  # nobody guesses it: it is all that the person has to ask by
        visitors = await apply(connection, number, work.shop, person, (), work.now)
        told = await enqueue(connection, [_event(work, person, visitors)], waking=False)
        known = await find(connection, work.shop, person)
        assert known is not None
        position = {"position": str(Enqueued(told[0], told[-1]))}
        said = {**known.shown(), "orders_under_way": under_way, **position}
    else:
        said = dict(known.shown())
    return Answer(said, 202, location=f"/v1/erasures/{known.id}")


async def apply(
    transaction: Transaction,
    number: UUID,
    shop: str,
    person: str,
    visitors: Sequence[str],
    now: datetime,
) -> list[str]:
    """All that the transaction does; the visitors that the person was, those that are given among
    them. Figures stand still from here to its end."""
    found = await _visitors(transaction, shop, person, visitors)
    names = await erasure.register(transaction, number, shop, [person, *found], now)
    await states.erase(transaction, shop, names, person, now)
    await erasure.fenced(transaction)
    found = await _visitors(transaction, shop, person, found)
    names = await erasure.register(transaction, number, shop, [person, *found], now)
    await destroy(transaction, shop, sorted(names))
    await erasure.rename(transaction, _MODELS, shop, names)
    await ask(transaction, shop, number)
    return found


async def _visitors(
    transaction: Transaction, shop: str, person: str, known: Sequence[str]
) -> list[str]:
    rows = await transaction.fetch(VISITORS, shop, person)
    found = {*known, *(row["visitor"] for row in rows)} - {person}
    return sorted(name for name in found if not is_erased(name))  # of a browser that was shared


def _event(work: Work, person: str, visitors: Sequence[str]) -> Event:
    data = PersonErased(user_id=person, visitors=list(visitors))
    return Event(
        id=work.new_id(),
        type=type(data).__name__,
        shop=work.shop,
        subject=person,
        time=work.now,
        received_at=work.now,
        data=msgspec.Raw(codec.raw(data)),
        source=SHOP,
        person=person,
    )


_FIND = """
    SELECT id, shop, erased_at, rebuilt_at FROM erasures
    WHERE id = $3::uuid OR (shop = $1::text AND digest = erasure_digest($1::text, $2::text))
"""
_UNDER_WAY = """
    SELECT count(*) FROM shop_orders
    WHERE shop = $1 AND person = $2 AND status IN ('placed', 'completed')
"""
_ANY = f"""
    SELECT EXISTS (SELECT FROM {ACCOUNT.table} WHERE shop = $1 AND id = $2)
        OR EXISTS (SELECT FROM person_keys WHERE shop = $1 AND person = $2)
        OR EXISTS (SELECT FROM shop_orders WHERE shop = $1 AND person = $2)
        OR EXISTS (SELECT FROM customer_days WHERE shop = $1 AND customer = $2)
        OR EXISTS (SELECT FROM visitor_links WHERE shop = $1 AND target = '0v:' || $2)
        OR EXISTS (SELECT FROM visitor_hours WHERE shop = $1 AND visitor = 'v:' || $2)
"""  # noqa: S608
