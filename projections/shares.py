"""The log folded anew by several processes at once, each with a share of the partitions.

One of them is the process that asks. The others are told by it, through their standard input, up to
where to go, and answer with how far they are; where it ends, however it ends, so do they. They may
be killed, too: what each has done is committed with its progress.
"""

import asyncio
import os
import pickle
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError

from projections.postgres import connect_alone
from projections.refold import Group, Offsets, Refold, Source, offsets_of, refolding_here
from streams.batch import LogChanged, Partition
from streams.interpreter import tune
from streams.readback import log_ends
from streams.topic_ids import described

_WORTH_A_PROCESS = 40_000  # records: to start one takes as long as to fold some
_ASK_SECONDS = 0.2
_LENGTH = 4  # bytes in front of what is said


@asynccontextmanager
async def refolding(
    group: Group, source: Source, schema: str, live: Offsets
) -> AsyncIterator["Refolding"]:
    """Folds over the tables of `schema`, which `create_tables` has made, for all partitions of the
    group's topics, for the live group may begin with one at any moment; in several processes if
    there is much to do.

    Raises LogChanged, ReadModelChanged, Transient, OSError.
    """
    live = {**dict.fromkeys(await _partitions(group, source), 0), **live}
    names = {p: TopicPartition(source.prefix + p.topic, p.number) for p in live}
    ends = await log_ends(source.kafka, list(names.values()))
    lost = {p: ends[tp][1] for p, tp in names.items() if ends[tp][1] < live[p]}
    begun = {**dict.fromkeys(live, 0), **await _begun(group, schema)}
    own, *others = shares({p: live[p] - begun[p] for p in live}, source.processes)
    async with AsyncExitStack() as stack:
        away = [
            await stack.enter_async_context(
                _started(group, source, schema, {p: begun[p] for p in share})
            )
            for share in others
        ]
        here = await stack.enter_async_context(refolding_here(group, source, schema, own))
        yield Refolding([here, *away], lost)


async def _partitions(group: Group, source: Source) -> Collection[Partition]:
    """All that a group reads, where its topics are there."""
    topics = {topic for step in group.steps for topic in step.topics}
    try:
        found = await described(source.kafka, [source.prefix + topic for topic in topics])
    except UnknownTopicOrPartitionError:
        return []
    return [
        Partition(name.removeprefix(source.prefix), number)
        for name, topic in found.items()
        for number in range(topic.partitions)
    ]


async def _begun(group: Group, schema: str) -> Offsets:
    connection = await connect_alone(group.dsn, group.schema)
    try:
        return await offsets_of(connection, group.name, schema)
    finally:
        await connection.close()


def shares(left: Mapping[Partition, int], processes: int) -> Sequence[Collection[Partition]]:
    """So many shares of the partitions, as even as can be, or fewer where that is not worth it."""
    worth = max(1, min(processes, len(left), sum(left.values()) // _WORTH_A_PROCESS))
    found: list[list[Partition]] = [[] for _ in range(worth)]
    weights = [0] * worth
    for partition in sorted(left, key=lambda p: (-left[p], p)):
        lightest = weights.index(min(weights))
        found[lightest].append(partition)
        weights[lightest] += left[partition]
    return found


class Refolding:
    """All partitions of a group, each with who folds it."""

    def __init__(self, members: "Sequence[Refold | _Away]", lost: Offsets) -> None:
        self._members = members
        self._lost = lost

    @property
    def at(self) -> Offsets:
        """Up to where each partition is folded."""
        return {partition: at for one in self._members for partition, at in one.at.items()}

    def reach(self, live: Offsets) -> Offsets:
        """Up to where to go to be where the live group is: where the log has lost its tail, it was
        further than there is anything to read."""
        return {**live, **self._lost}

    async def to(self, ends: Offsets, tell: Callable[[], object] = lambda: None) -> None:
        """Goes on until all before these offsets is applied; `tell` is called after each commit.
        Raises what stops a reader."""
        if unknown := ends.keys() - self.at.keys():
            raise LogChanged(f"{min(unknown)} is read only since this has begun: begin again")
        tasks = [
            asyncio.create_task(one.to({p: ends[p] for p in one.at if p in ends}, tell))
            for one in self._members
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


# Another process, as seen from here.


class _Away:
    """A process that folds a share."""

    def __init__(self, process: Process, at: Offsets) -> None:
        self._process = process
        self._asked = self._done = 0
        self._failed: BaseException | None = None
        self._heard = asyncio.Event()
        self.at = at

    async def listen(self) -> None:
        """Takes in what it says, until it ends."""
        assert self._process.stdout is not None
        while (said := await _hear(self._process.stdout)) is not None:
            self.at, self._done, self._failed = said
            self._heard.set()
        self._failed = self._failed or ChildProcessError("a process that folded has ended")
        self._heard.set()

    async def to(self, ends: Offsets, tell: Callable[[], object] = lambda: None) -> None:
        """As `Refold.to`. Whoever does not wait for its end may ask again: it does both."""
        assert self._process.stdin is not None
        self._asked += 1
        number = self._asked
        self._process.stdin.write(_said((number, ends)))
        while self._done < number:
            if self._failed:
                raise self._failed
            await self._heard.wait()
            self._heard.clear()
            tell()


@asynccontextmanager
async def _started(
    group: Group, source: Source, schema: str, begun: Offsets
) -> AsyncIterator[_Away]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "projections.shares", stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    away = _Away(process, begun)
    listening = asyncio.create_task(away.listen())
    try:
        process.stdin.write(_said((group, source, schema, list(begun))))
        yield away
    finally:
        # It would take half a second to tidy up what it leaves anyway.
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await listening


def _said(what: Any) -> bytes:
    said = pickle.dumps(what)
    return len(said).to_bytes(_LENGTH) + said


async def _hear(stream: asyncio.StreamReader) -> Any:
    """What is said next; None at the end."""
    try:
        length = int.from_bytes(await stream.readexactly(_LENGTH))
        return pickle.loads(await stream.readexactly(length))  # noqa: S301  (both ends are ours)
    except (asyncio.IncompleteReadError, OSError):
        return None


# Such a process itself.


async def _obey(told: asyncio.StreamReader, answers: int) -> None:
    """Folds up to where it is told, until nobody is there any more to tell it."""
    group, source, schema, partitions = await _hear(told)
    at: Offsets = {}
    done = 0

    def say(failed: BaseException | None = None) -> None:
        with suppress(BrokenPipeError):  # nobody is there
            _write(answers, _said((dict(at), done, failed)))

    try:
        async with refolding_here(group, source, schema, partitions) as refold:
            at = refold.at
            while (asked := await _hear(told)) is not None:
                number, ends = asked
                await refold.to(ends, say)
                done = number
                say()
    except Exception as error:
        say(_portable(error))


def _portable(error: Exception) -> BaseException:
    """An exception that can be told to another process."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  (our own)
    except Exception:
        return ChildProcessError(f"a process that folded has ended: {error!r}")
    return error


def _write(to: int, said: bytes) -> None:
    while said:
        said = said[os.write(to, said) :]


async def _run(answers: int) -> None:
    told = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    work = asyncio.create_task(_obey(told, answers))

    async def until_alone() -> None:
        while not told.at_eof():  # also while it folds, and asks for nothing
            await asyncio.sleep(_ASK_SECONDS)
        work.cancel()

    alone = asyncio.create_task(until_alone())
    await asyncio.wait({work})
    alone.cancel()


def main() -> None:
    """Folds a share, as told on standard input; what others print goes elsewhere."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who has started it says when it is to end
    answers = os.dup(1)
    os.dup2(2, 1)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    tune()
    asyncio.run(_run(answers))


if __name__ == "__main__":
    main()
