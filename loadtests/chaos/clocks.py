"""`tillstream …` with a clock that is off: `python -m loadtests.chaos.clocks SECONDS worker`.

Every module of ours that asks for the time is given another `datetime`; nothing in them knows.
"""

import sys
from datetime import datetime, timedelta, tzinfo
from importlib import import_module

_ASKING = (
    *("app.api.ingest", "streams.subscribe", "projections.store", "projections.closer"),
    *("app.worker", "app.live.hub", "app.api.live"),
)


def set_clocks(seconds: float) -> None:
    """Puts the clocks of our modules forward by so many seconds."""
    off = timedelta(seconds=seconds)

    class Skewed(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + off

    for name in _ASKING:
        module = import_module(name)
        if getattr(module, "datetime", None) is datetime:
            vars(module)["datetime"] = Skewed


if __name__ == "__main__":
    set_clocks(float(sys.argv.pop(1)))
    from app.cli import main

    main()
