"""`tillstream erase`: a person erased by whoever has the servers."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from app.cli.terminal import Failed, cli, talk
from app.settings import Settings


@cli.command()
def erase(
    person: Annotated[str, typer.Argument(help="the pseudonym that their orders bear")],
    shop: str = "main",
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Erase a person, for good: everything that names them, and the key of what is on the log."""
    import asyncpg

    from app.domain.refusal import Refusal

    if not yes:
        typer.confirm(f"Erase {person} of the shop {shop}? Nobody can undo it", abort=True)
    try:
        found = asyncio.run(_erased(Settings(), shop, person))
    except Refusal as refusal:
        raise Failed(str(refusal)) from refusal
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Failed(f"nothing was erased: Postgres does not answer: {error!r}") from error
    if orders := found.get("orders_under_way"):
        talk.print(f"[yellow]![/] {orders} of their orders are under way, without an address now")
    talk.print(f"[green]✓[/] erased; models are made anew by a job of the API: {found['state']}")
    typer.echo(found["erasure_id"])


async def _erased(settings: Settings, shop: str, person: str) -> dict[str, Any]:
    import orjson

    from app.commands.execute import Answer, Call, Commands
    from app.commands.work import Work
    from app.erasure.erase import erase as run
    from app.vault import Vault
    from projections.postgres import connect, migrate

    postgres = settings.servers.postgres
    await migrate(postgres, settings.schema_name)
    pool = await connect(postgres, settings.schema_name, size=2)

    async def handle(work: Work) -> Answer:
        return await run(work, person)

    try:
        call = Call(shop, "", Work.new_id(), b"")
        done = await Commands(pool, Vault(pool)).run(call, datetime.now(UTC), handle)
    finally:
        await pool.close()
    found: dict[str, Any] = orjson.loads(done.body)
    return found
