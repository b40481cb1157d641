"""What a process counts of itself, for Prometheus; and the port where a worker tells it."""

import structlog
from prometheus_client import Counter, Histogram, disable_created_metrics, start_http_server

logger = structlog.get_logger()

_PORTS_TRIED = 20

# A second series beside each, of use to nobody here.
disable_created_metrics()  # type: ignore[no-untyped-call]

HTTP_REQUESTS = Counter(
    "tillstream_http_requests", "Answers, by route and status", ["method", "route", "status"]
)
HTTP_SECONDS = Histogram(
    "tillstream_http_request_seconds",
    "From a request's first byte to its answer's last; live feeds are not among them",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
EVENTS = Counter("tillstream_events", "Events at the door, by what became of them", ["outcome"])

COMMITS = Counter("tillstream_commits", "Transactions that applied a batch", ["group"])
COMMIT_SECONDS = Histogram(
    "tillstream_commit_seconds",
    "From a batch, folded, to its transaction's end",
    ["group"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RECORDS = Counter(
    "tillstream_records", "Records that were read, by what became of them", ["group", "outcome"]
)
RETRIES = Counter("tillstream_retries", "Tries that Postgres did not answer", ["group"])


def serve(host: str, port: int) -> int | None:
    """Tells the counters on the first free port from this one on, in a thread; which one it is.
    None where it is 0, which means not to, or where none is free."""
    for tried in range(port, min(port + _PORTS_TRIED, 65_536)) if port else ():
        try:
            start_http_server(tried, host)
        except OSError:
            continue
        logger.info("metrics are told", address=f"http://{host}:{tried}/metrics")
        return tried
    if port:
        logger.warning("no port is free for metrics", first=port, tried=_PORTS_TRIED)
    return None
