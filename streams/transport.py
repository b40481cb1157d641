"""Faust, fed in chunks: one message for each (partition, fetched chunk) instead of each record.

Stock Faust makes several asyncio tasks a message, some 8,000 events a second. Here a message's
value is a `Chunk`, the whole list of records that one fetch brought for one partition, and its
offset is that of the last record. Agents, rebalancing and commits stay Faust's own.

Where to read from is not Kafka's to say: on every assignment the `reader` of the transport is
asked (see `streams.subscribe`), and Kafka's committed offsets are only a hint for lag tools.

This leans on Faust's private API: `tests/integration/test_transport.py` holds it to what it needs.
"""

import asyncio
from collections.abc import Sequence, Set
from typing import Any, ClassVar, cast

import structlog
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import (
    ConsumerStoppedError,
    IllegalStateError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from faust.transport.consumer import CONSUMER_FETCHING
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.chunk import Chunk, Reader, fresh_highwater

logger = structlog.get_logger()


class ChunkConsumer(driver.Consumer):
    """Delivers chunks, seeks to where the reader says, commits what was acked last."""

    transport: "ChunkTransport"
    seeks = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._expected: dict[TP, int] = {}  # the next offset to deliver of each partition
        self._missed = False

    async def perform_seek(self) -> None:
        """Goes to the reader's own positions. Faust calls this at the end of each rebalance."""
        self.seeks += 1
        self._expected, self._missed = {}, False
        try:
            # Faust would give up sooner or later and leave a worker that reads nothing for ever.
            async with asyncio.timeout(0.8 * self.app.conf.broker_request_timeout):
                assigned = {TopicPartition(*tp) for tp in self.assignment()}
                found = await self.transport.reader.resume(assigned, self.seeks)
                positions = {TP(*tp): offset for tp, offset in found.items()}
                self._expected = dict(positions)  # first: a poll may return as soon as it is sought
                await self._thread.seek_wait(positions)
        except IllegalStateError as error:
            # Meanwhile they went again: where to read from is asked at the end of that rebalance.
            logger.info("partitions went before they were read", error=str(error))
            self._expected, self._missed = {}, True
            return
        except Exception as error:
            await self.app.crash(error)
            raise
        for tp, offset in positions.items():
            self._forget(tp)
            self._read_offset[tp] = offset
            self._committed_offset[tp] = offset or None

    def fresh_highwater(self, tp: TP) -> int | None:
        """The end of a partition; None where Kafka has not said so just now."""
        return fresh_highwater(self._thread._ensure_consumer(), TopicPartition(*tp))

    async def on_partitions_revoked(self, revoked: Set[TP]) -> None:
        """Lets the reader end what it has under way before anyone else may begin."""
        await self.transport.reader.release()
        await super().on_partitions_revoked(revoked)

    def _forget(self, tp: TP) -> None:
        self._acked[tp].clear()
        self._acked_index[tp].clear()

    def _new_offset(self, tp: TP) -> int | None:
        """What to commit. A partition's chunks are acked in order, so the last one acked counts."""
        if not self._acked[tp]:
            return None
        last = max(self._acked[tp])
        self._forget(tp)
        return int(last) + 1

    async def _drain_messages(self, fetcher: Any) -> None:
        """The fetcher's loop: polls, and delivers what each poll brought, chunk by chunk."""
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                self.diag.set_flag(CONSUMER_FETCHING)
                await self._deliver_next()
                self.diag.unset_flag(CONSUMER_FETCHING)
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.app.should_stop:
                raise
        finally:
            self.diag.unset_flag(CONSUMER_FETCHING)

    async def _deliver_next(self) -> None:
        if self._missed and self.flow_active:
            await self.perform_seek()
        try:
            fetched, active = await self._wait_next_records(timeout=1.0)
        except NoOffsetForPartitionError:
            # Between an assignment and our seek aiokafka looks for a committed offset, and with
            # auto_offset_reset="none" says so where there is none. The seek is what counts.
            fetched, active = None, None
        except OffsetOutOfRangeError:
            # What follows is not on the log any more: a seek asks the reader what that means.
            fetched, active, self._missed = None, None, True
        deliveries = []
        for tp, records in (fetched or {}).items():
            wanted = active is None or tp in active or tp in self._buffered_partitions
            if self.should_stop or not self.flow_active or not wanted:
                self._missed = True  # Kafka has handed it over: only a seek brings it again
            elif message := self._next_message(TP(tp.topic, tp.partition), records):
                deliveries.append(asyncio.ensure_future(self.callback(message)))
        await self._end(deliveries)

    def _next_message(self, tp: TP, records: Sequence[ConsumerRecord]) -> ConsumerMessage | None:
        """What follows on what was delivered last. A poll may have begun before a seek and end
        after it: what it brings is judged by its offsets alone."""
        expected = self._expected.get(tp)
        if expected is None or records[-1].offset < expected:
            return None  # from before a seek
        if records[0].offset > expected:
            self._missed = True
            return None
        records = records[expected - records[0].offset :]
        self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
        self._expected[tp] = records[-1].offset + 1
        return self._chunk_message(tp, records)

    async def _end(self, deliveries: Sequence["asyncio.Future[None]"]) -> None:
        """Waits until what a poll brought is where its agents take it from."""
        seek = self.seeks
        # One turn of the loop is enough, unless a stream is full. It is taken whatever the poll
        # brought, for others must get their turn.
        await asyncio.sleep(0)
        if not all(delivery.done() for delivery in deliveries):
            await self.wait_first(asyncio.gather(*deliveries), self.suspend_flow.wait())
        if self.suspend_flow.is_set() and seek == self.seeks:
            self._missed |= bool(deliveries)  # some may have been cut off in the middle
        for delivery in deliveries:
            if delivery.done() and not delivery.cancelled():
                delivery.result()
        if self._n_acked >= (self._commit_every or float("inf")):
            self._n_acked = 0
            await self.commit()

    def _chunk_message(self, tp: TP, records: Sequence[ConsumerRecord]) -> ConsumerMessage:
        last = records[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
            headers=[],
            key=None,
            value=cast(Any, Chunk(tp.topic, tp.partition, records, self.seeks)),
            checksum=None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )


class ChunkTransport(driver.Transport):
    """Faust finds it by the scheme `chunks://`; set `reader` before the app starts."""

    Consumer: ClassVar[type[ChunkConsumer]] = ChunkConsumer
    default_port = 9092
    reader: Reader
