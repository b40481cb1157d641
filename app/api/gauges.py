"""The whole as gauges for Prometheus. Labels are groups, topics and partitions: all bounded."""

from collections.abc import Iterable, Sequence

import asyncpg
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric

from app.api.watch import Seen

_DEPENDENCIES = ("kafka", "postgres", "redis", "learner", "recommender")


class _Collected:
    """What was collected already, as a collector."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


async def registry_of(seen: Seen, pool: "asyncpg.Pool[asyncpg.Record]") -> CollectorRegistry:
    """A registry that tells what was seen."""
    found = [*_of_groups(seen), *_of_the_whole(seen), *await _of_checks(pool)]
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
            missing.add_metric([group.group], seen.quarantine.missing.get(group.group, 0))
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
    at_risk = (seen.learner or {}).get("stock_outs_at_risk")
    if isinstance(at_risk, int):
        found.append(
            GaugeMetricFamily(
                "tillstream_stock_out_alerts",
                "Variants that are more likely than not to run out of stock within a week, as of "
                "each shop's last closed day",
                at_risk,
            )
        )
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


async def _of_checks(pool: "asyncpg.Pool[asyncpg.Record]") -> list[Metric]:
    """What the last checks of read models against the log found; nothing while none can say."""
    try:
        rows = await pool.fetch(
            "SELECT read_model, scope, checked_at, differing, failed FROM verify_results"
        )
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError):
        return []
    labels = ["read_model", "scope"]
    differing = GaugeMetricFamily(
        "tillstream_verify_differing_keys",
        "Keys whose figures were not what the log says, at the last check: always 0",
        labels=labels,
    )
    failed = GaugeMetricFamily(
        "tillstream_verify_failed_checks", "Checks that have found such keys", labels=labels
    )
    at = GaugeMetricFamily(
        "tillstream_verify_timestamp_seconds", "When the last check was made", labels=labels
    )
    for row in rows:
        names = [row["read_model"], row["scope"]]
        differing.add_metric(names, row["differing"])
        failed.add_metric(names, row["failed"])
        at.add_metric(names, row["checked_at"].timestamp())
    return [differing, failed, at]
