"""Commands about accounts, for whoever has the servers: the first admin is made here."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from app.cli.terminal import Failed, cli, talk
from app.settings import Settings

if TYPE_CHECKING:
    from app.api.users import NewUser
    from app.identity.registrar import Registrar

PASSWORD = "TILLSTREAM_PASSWORD"  # noqa: S105  (a variable's name)

commands = typer.Typer(help="Make accounts, and change their passwords.", no_args_is_help=True)
cli.add_typer(commands, name="account")

Email = Annotated[str, typer.Option(help="to log in with")]


@commands.command()
def create(
    email: Email,
    role: Annotated[str, typer.Option(help="customer, staff or admin")] = "customer",
    name: Annotated[str | None, typer.Option(help="as it is shown")] = None,
    shop: str = "main",
) -> None:
    """Make an account. The password is asked for, or taken from TILLSTREAM_PASSWORD."""
    new = _checked(email, role, name)
    told = new.password.get_secret_value()
    user_id = _run(lambda all_: all_.create(shop, new.email, told, new.role, new.name))
    talk.print(f"[green]✓[/] {new.role} {new.email}")
    typer.echo(user_id)


@commands.command()
def password(email: Email, shop: str = "main") -> None:
    """Give an account another password, asked for or from TILLSTREAM_PASSWORD; all its sessions
    end."""
    told = _checked(email, "customer", None).password.get_secret_value()
    user_id = _run(lambda all_: all_.set_password(shop, email, told))
    if user_id is None:
        raise Failed(f"there is no account of {email} in the shop {shop!r}")
    talk.print(f"[green]✓[/] {email} has another password, and logs in anew")
    typer.echo(user_id)


def _checked(email: str, role: str, name: str | None) -> "NewUser":
    from app.api.auth import refuse_obvious
    from app.api.problems import Problem
    from app.api.users import NewUser

    fields = {"email": email, "role": role, "name": name, "password": _password()}
    try:
        new = NewUser.model_validate(fields)
        refuse_obvious(new.password, new.email)
    except ValidationError as error:
        # Not as it is: it repeats what it was given.
        said = (f"{one['loc'][0]}: {one['msg']}" for one in error.errors(include_input=False))
        raise Failed("; ".join(said)) from None
    except Problem as problem:
        raise Failed(problem.detail) from None
    return new


def _password() -> str:
    if (told := os.environ.get(PASSWORD)) is not None:
        return told
    if not sys.stdin.isatty():
        raise Failed(f"no terminal to ask for the password: set {PASSWORD}")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _run(work: "Callable[[Registrar], Awaitable[str | None]]") -> str | None:
    import asyncpg

    from app.domain.refusal import Refusal
    from app.identity.registrar import registrar

    async def run() -> str | None:
        async with registrar(Settings()) as accounts:
            return await work(accounts)

    try:
        return asyncio.run(run())
    except Refusal as refusal:
        raise Failed(str(refusal)) from refusal
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Failed(f"Postgres does not answer: {error!r}") from error
