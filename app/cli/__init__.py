"""The command line. Data goes to stdout, talk to stderr; an error says what to do next."""

import logging
import os
import sys

from pydantic import ValidationError
from rich.markup import escape

from app import logs

# Importing them registers the commands, in the order in which --help lists them.
from app.cli import run, send, ask, account, payments, quarantine, rebuild, backup, chaos, seed  # noqa: F401  # isort: skip
from app.cli import imports, evaluate, evaluate_recommend, evaluate_customers  # noqa: F401  # isort: skip
from app.cli import evaluate_sentiment, erase  # noqa: F401  # isort: skip
from app.cli.terminal import Failed, cli, talk
from app.settings import SettingsError


def main() -> None:
    """Runs the command line; an expected error is one line, not a traceback."""
    from app.stack.errors import StackError
    from streams.topics import PartitionsDiffer

    logs.configure("text")
    # aiokafka speaks of every leader it has to look up again.
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    try:
        cli()
    except (Failed, PartitionsDiffer, SettingsError, StackError) as error:
        talk.print(f"[red]✗[/] {escape(str(error))}")
        sys.exit(1)
    except ValidationError as error:
        for wrong in error.errors(include_url=False):
            name = "_".join(str(part) for part in wrong["loc"]).upper()
            told = wrong.get("input")
            talk.print(f"[red]✗[/] TILLSTREAM_{name}={escape(str(told))}: {escape(wrong['msg'])}")
        sys.exit(1)
    except (FileExistsError, NotADirectoryError, PermissionError, FileNotFoundError) as error:
        talk.print(
            f"[red]✗[/] {error.filename}: {error.strerror}. State is kept in TILLSTREAM_HOME "
            f"({os.environ.get('TILLSTREAM_HOME', '.tillstream')}): a folder that can be written"
        )
        sys.exit(1)
