"""What every command shares: the program, its voice, and how it says that it failed."""

import typer
from rich.console import Console

cli = typer.Typer(
    help="Your shop, live: events in, exact figures out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
talk = Console(stderr=True, highlight=False)


class Failed(Exception):
    """A command did not do what it was asked to; the message says what to do next."""
