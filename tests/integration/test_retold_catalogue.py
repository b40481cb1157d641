"""The catalogue's states held against the log, after everything that may happen to them."""

from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from msgspec.structs import replace

from app.commands import calendar, catalogue, categories, experiments, rates, reviews
from app.commands.categories import Changes, NewCategory
from app.commands.execute import Answer, Call, Commands
from app.commands.stock import change_stock
from app.commands.work import Work
from app.domain import stock
from app.domain.currency_rate import Pair, SaidRate
from app.domain.experiment import Change
from app.domain.review import review_id
from app.settings import Settings
from app.vault import Vault
from streams.events import (
    CalendarEntryPlanned,
    ExperimentArm,
    ExperimentStarted,
    ProductListed,
    Variant,
)
from streams.money import Money
from tests.integration.test_retold import Pool, checked, pool, relaying

__all__ = ["pool"]


def variant(name: str, price: int) -> Variant:
    return Variant(id=name, price=Money(price), options={"colour": name})


async def everything(settings: Settings, pool: Pool) -> None:
    """Every command of the catalogue, most of them twice."""
    commands = Commands(pool, Vault(pool))
    call = Call("main", "staff/s", "c", b"")
    one = "mug", review_id("mug", "u-1")
    two = "mug", review_id("mug", "u-2")

    async def do(command: Any, *arguments: Any, called: bool = True) -> None:
        async def handle(work: Work) -> Answer:
            found: Answer = await command(work, *([call] if called else []), *arguments)
            return found

        await commands.run(call, datetime.now(UTC), handle)

    new = partial(do, called=False)
    mug = ProductListed(
        product_id="mug",
        name="Mug",
        currency="EUR",
        category="mugs",
        description="A mug",
        variants=[variant("blue", 99_000), variant("red", 1)],
    )
    await new(categories.create_category, NewCategory("home", "Home"))
    await new(catalogue.create_product, mug, {"blue": 9}, NewCategory("mugs", "Mugs", "home"))
    await do(categories.change_category, "mugs", Changes("Cups", True, None))
    await do(categories.change_category, "home", Changes(None, True, "mugs"))
    await do(categories.remove_category, "home", None)
    await new(categories.create_category, NewCategory("home", "Home again"))
    await do(catalogue.change_product, "mug", {"name": "Cup", "brand": "Potter"})
    await do(catalogue.put_variant, "mug", variant("blue", 120_000), 0)
    await do(catalogue.put_variant, "mug", variant("green", 5), 4)
    await do(catalogue.remove_variant, "mug", "red")
    await do(catalogue.add_image, "mug", "i", _kept)
    await do(catalogue.add_image, "mug", "j", _kept)
    await do(catalogue.remove_image, "mug", "i")
    await do(categories.remove_category, "mugs", "home")
    await do(catalogue.delist_product, "mug", "season")
    await do(catalogue.relist_product, "mug")
    await do(change_stock, "blue", lambda known: stock.set_threshold(known, 3))
    await do(change_stock, "blue", lambda known: stock.reserve(known, "o-1", 6))
    await do(change_stock, "blue", lambda known: stock.release(known, "o-1", 2))
    await do(change_stock, "blue", lambda known: stock.ship(known, "o-1"))
    await do(change_stock, "blue", lambda known: stock.count(known, 1))
    await do(change_stock, "blue", lambda known: stock.receive(known, 7, "delivery"))
    await new(reviews.write_review, "mug", "u-1", 5, "Good.")
    await new(reviews.write_review, "mug", "u-2", 1, None)
    await do(reviews.edit_review, one, "u-1", 4, "Rather good.")
    await do(reviews.moderate_review, one, True, "spam")
    await do(reviews.retract_review, two, "u-2")
    await new(reviews.write_review, "mug", "u-2", 3, "Again.")
    pair, december, new_year = Pair("USD", "EUR"), date(2025, 12, 31), date(2026, 1, 1)
    said = [SaidRate(pair, december, "0.9"), SaidRate(pair, new_year, "0.91")]
    await new(rates.say_currency_rates, said)
    await new(rates.say_currency_rates, [SaidRate(pair, december, None)])
    easter = CalendarEntryPlanned(
        entry_id="easter", kind="closed", first="2026-04-05", last="2026-04-06"
    )
    await do(calendar.plan_entry, easter)
    await do(calendar.plan_entry, replace(easter, entry_id="week", kind="promotion"))
    await do(calendar.withdraw_entry, "week")
    arms = [ExperimentArm(name="usual"), ExperimentArm(name="new")]
    started = ExperimentStarted(
        experiment_id="x", flag="f", arms=arms, spans=[], currency="EUR", traffic="0.5"
    )
    await new(experiments.start_experiment, started)
    await do(experiments.change_experiment, "x", Change({"new": 3}))
    await do(experiments.stop_experiment, "x", "new", "better")
    await new(experiments.start_experiment, replace(started, experiment_id="y"))


async def _kept(_: Any) -> None: ...


async def test_whatever_happens_to_it_the_log_tells_it(settings: Settings, pool: Pool) -> None:
    await everything(settings, pool)
    async with relaying(settings):
        found = await checked(settings, pool)
    rows = {"categories": 2, "products": 1, "stock": 3, "reviews": 2, "currency_rate_years": 2}
    rows |= {"calendar_entries": 2, "experiments": 2}
    for table, count in rows.items():
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == count
        assert found[table].found.keys == count
        assert found[table].found.examples == []
    texts = await pool.fetch("SELECT event FROM outbox")
    assert not any(b"Rather good." in row["event"] for row in texts)
