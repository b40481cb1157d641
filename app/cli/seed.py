"""`tillstream seed`: a believable shop of any size."""

import asyncio
import os
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.cli.account import PASSWORD
from app.cli.terminal import Failed, cli, talk
from app.settings import Settings

if TYPE_CHECKING:
    from app.seed.carry_out import Made, Tell
    from app.seed.plan import Plan


@cli.command()
def seed(
    users: Annotated[int, typer.Option(min=1, help="with addresses, over many countries")] = 200,
    products: Annotated[int, typer.Option(min=1, help="with variants and stock")] = 60,
    orders: Annotated[int, typer.Option(min=0, help="paid, shipped, reviewed, refunded")] = 1000,
    days: Annotated[int, typer.Option(min=1, max=3650, help="since the shop has opened")] = 90,
    seed: Annotated[str, typer.Option(help="the same one is the same shop")] = "1",
    shop: str = "main",
) -> None:
    """Fill a shop with users, products, orders and reviews, by its own commands.

    Ctrl-C is safe: run it again, and it goes on; so it does with larger sizes. TILLSTREAM_PASSWORD
    is the users' password; where it is not set, none can log in.
    """
    import asyncpg

    from app.domain.refusal import Refusal
    from app.seed.plan import Plan, Sizes

    if not (seed.isascii() and seed.isalnum() and len(seed) <= 16):  # it is part of ids
        raise Failed("--seed takes up to 16 letters and digits")
    settings, until = Settings(), datetime.now(UTC)
    opened = until - timedelta(days=days)
    plan = Plan(seed.lower(), Sizes(users, products, orders), opened, until, settings.currency)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=talk,
    )
    tasks = {what: bar.add_task(what, total=total) for what, total in plan.sizes._asdict().items()}
    begun = datetime.now(UTC)
    try:
        with bar:
            made = asyncio.run(
                _seed(
                    settings,
                    shop,
                    plan,
                    lambda what, done, _: bar.update(tasks[what], completed=done),
                )
            )
    except Refusal as refused:
        raise Failed(f"{refused}") from refused
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Failed(f"{error!r}; run it again, and it goes on") from error
    except KeyboardInterrupt:
        talk.print("[yellow]![/] stopped; run it again, and it goes on")
        raise typer.Exit(130) from None
    seconds = (datetime.now(UTC) - begun).total_seconds()
    for refusal in made.refused[:5]:
        talk.print(f"[yellow]![/] {refusal}")
    talk.print(
        f"[green]✓[/] {made.commands:,} commands in {seconds:.1f} s "
        f"({made.commands / seconds:,.0f}/s); {len(made.refused):,} orders refused"
    )


async def _seed(settings: Settings, shop: str, plan: "Plan", tell: "Tell") -> "Made":
    from app.identity.passwords import Passwords
    from app.seed.carry_out import seeding

    passwords = Passwords()
    hashed = await passwords.hash(os.environ.get(PASSWORD) or secrets.token_urlsafe(32))
    async with seeding(settings, shop, plan, hashed, tell) as made:
        return await made.run()
