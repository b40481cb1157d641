"""The whole as gauges for Prometheus. Labels are groups, topics and partitions: all bounded."""

from collections.abc import Awaitable, Callable, Iterable, Sequence

import asyncpg
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric

from app.api.watch import Seen

Source = Callable[["asyncpg.Pool[asyncpg.Record]"], Awaitable[Sequence[Metric]]]

# What others tell from tables of their own: each gives its gauges, at every scrape, and raises
# nothing. The results of the background `verify` belong here, as `tillstream_verify_…`.
SOURCES: Sequence[Source] = ()

_DEPENDENCIES = ("kafka", "postgres", "redis", "learner")


class _Collected:
    """What was collected already, as a collector."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


async def registry_of(seen: Seen, pool: "asyncpg.Pool[asyncpg.Record]") -> CollectorRegistry:
    """A registry that tells what was seen."""
    found = [*_of_groups(seen), *_of_the_whole(seen)]
    for source in SOURCES:
        found += await source(pool)
    registry = CollectorRegistry()
    registry.register(_Collected(found))
    return registry


def _of_groups(seen: Seen) -> list[Metric]:
    where = ["group", "topic", "partition"]
    lag = GaugeMetricFamily("tillstream_lag_records", "Records that wait in the log", labels=where)
    offset = GaugeMetricFamily("tillstream_next_offset", "Where a group reads on", labels=where)
    watermark = GaugeMetricFamily(
        "tillstream_watermark_timestamp_seconds", "Up to when figures are complete", labels=where
    )
    read = GaugeMetricFamily(
        "tillstream_read_records",
        "Records a group has read, by what became of them",
        labels=[*where, "outcome"],
    )
    unaccounted = GaugeMetricFamily(
        "tillstream_unaccounted_records",
        "Records that were read and neither applied, repeated nor quarantined: always 0",
        labels=["group"],
    )
    missing = GaugeMetricFamily(
        "tillstream_quarantine_missing_records",
        "Records that were counted as quarantined and are not kept: always 0",
        labels=["group"],
    )
    for group in seen.groups:
        for one in group.partitions:
            labels = [group.group, one.partition.topic, str(one.partition.number)]
            if one.end is not None:
                lag.add_metric(labels, one.lag)
            offset.add_metric(labels, one.next_offset)
            if one.complete_to is not None:
                watermark.add_metric(labels, one.complete_to.timestamp())
            for outcome in ("applied", "repeated", "quarantined"):
                read.add_metric([*labels, outcome], getattr(one, outcome))
        unaccounted.add_metric([group.group], group.unaccounted)
        if seen.quarantine is not None:
            kept = seen.quarantine.rows.get(group.group, 0)
            missing.add_metric([group.group], group.quarantined - kept)
    return [lag, offset, watermark, read, unaccounted, missing]


def _of_the_whole(seen: Seen) -> list[Metric]:
    up = GaugeMetricFamily(
        "tillstream_dependency_up", "Whether it answers the API", labels=["name"]
    )
    for name in _DEPENDENCIES:
        up.add_metric([name], name not in seen.away)
    failures = GaugeMetricFamily(
        "tillstream_failed_events", "Events that a group stands before", labels=["group", "model"]
    )
    for one in seen.failures:
        failures.add_metric([one.group, one.model], 1)
    found: list[Metric] = [up, failures]
    if seen.outbox is not None:
        found += [
            GaugeMetricFamily(
                "tillstream_outbox_waiting_events",
                "Events that Kafka has not acknowledged yet",
                seen.outbox.waiting,
            ),
            GaugeMetricFamily(
                "tillstream_outbox_oldest_seconds",
                "How long the first of them has waited",
                seen.outbox.oldest_seconds,
            ),
        ]
    if seen.quarantine is not None:
        found.append(
            GaugeMetricFamily(
                "tillstream_quarantine_waiting_records",
                "Records in quarantine that were not resubmitted",
                seen.quarantine.waiting,
            )
        )
    return found
