"""A process that makes one file, and ends.

It takes no answer's time, gives back all memory that it took, and can be ended. It sees what
whoever asks sees: the snapshot of Postgres that they hold open. Its task comes on its standard
input; where that ends before the work does, nobody waits for it any more.
"""

import asyncio
import os
import resource
import shutil
import sys
import threading
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg
import msgspec

from app.exports import month, of_report
from app.exports.task import Made, OfMonth, Outcome, Refused, Task, TooLarge
from projections.clock import ShopClock
from projections.conversion import NoRate

_NICE = 5  # what is live goes first
_SECONDS = 300.0
_STATUS = Path("/proc/self/status")
_KILOBYTE = 1024 if sys.platform == "darwin" else 1


async def make(task: Task) -> Outcome:
    """Makes a file. Raises asyncpg.PostgresError, OSError."""
    seen, path = task.seen, Path(task.path)
    clock = ShopClock(ZoneInfo(task.timezone))
    connection = await asyncpg.connect(
        seen.dsn,
        command_timeout=_SECONDS,
        server_settings={"application_name": "tillstream exports", "jit": "off"},
    )
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(f"SET TRANSACTION SNAPSHOT '{seen.snapshot}'")
            await connection.execute("SELECT set_config('search_path', $1, true)", seen.search_path)
            if isinstance(task.of, OfMonth):
                rows = await month.write(path, connection, task, clock)
            else:
                rows = await of_report.write(path, connection, task, clock)
    except TooLarge as error:
        return Refused(str(error))
    except NoRate as error:
        return Refused(str(error), "no_rate")
    finally:
        connection.terminate()
    return Made(rows, _most_kilobytes())


def _most_kilobytes() -> int:
    """What this process has held at the most. On Linux `getrusage` would count what whoever started
    it held when it was forked off."""
    if _STATUS.exists():
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(lines["VmHWM"].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // _KILOBYTE


def _end_with_the_input(folder: Path) -> None:
    sys.stdin.buffer.read()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def main() -> None:
    """Makes the file of the task that is on the input, and says so on the output."""
    os.nice(_NICE)
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    folder = Path(task.path).parent
    threading.Thread(target=_end_with_the_input, args=(folder,), daemon=True).start()
    outcome = asyncio.run(make(task))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
    sys.stdout.flush()
    os._exit(0)  # the thread waits for the input, and nothing is left to be done


if __name__ == "__main__":
    main()
