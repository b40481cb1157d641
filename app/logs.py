"""What the processes say of themselves: lines to read in a terminal, JSON for everyone else."""

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import Processor

Form = Literal["auto", "json", "text"]


def configure(form: Form = "auto") -> None:
    """Sends all that is logged, by us and by the libraries, to stderr in one form.

    `auto` means text where stderr is a terminal, else JSON, a line an event.
    """
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Tracebacks are plain in both: those that show variables show what stands in events.
    rendered: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
        if as_json
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    structlog.configure(
        processors=[*shared, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _named],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _named(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A library's line says which one it is of."""
    if (record := event.get("_record")) is not None:
        event["logger"] = record.name
    return event
