"""The relay alone, as a process that can be killed: a worker has it beside its reading."""

import asyncio
import sys
from functools import partial

from projections.postgres import connect_alone
from streams.outbox import Relay


def main() -> None:
    dsn, schema, kafka, prefix, partitions = sys.argv[1:]
    alone = partial(connect_alone, dsn, schema)
    asyncio.run(Relay(alone, kafka, int(partitions), prefix).run())


if __name__ == "__main__":
    main()
