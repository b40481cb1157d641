"""The right answers in a file: every figure, what was sent and how, and up to where."""

import gzip
import hashlib
import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from loadtests.simulator.books import View
from loadtests.simulator.history import History, Plan
from loadtests.simulator.traffic import Disorder, Traffic, disordered
from streams.events import VOCABULARY

FORMAT = "tillstream-truth/1"


class Sent(Struct, frozen=True, kw_only=True):
    """How the events travelled; `disorder` is what was asked for, the counts what came of it.

    `by_topic` is what a reader has to make of each topic's records: applied, repeated, quarantined.
    """

    records: int
    disorder: dict[str, float]
    moved: int
    late: int
    duplicates: int
    contradictions: list[str]
    by_topic: dict[str, tuple[int, int, int]]


class Truth(Struct, kw_only=True):
    """What happened in the shop, and what the figures have to be.

    `figures` are rows by view: `revenue/country/day`, `top-products/2026-11`,
    `ranking/units/all`, `orders`; each row is its key's parts and then its values.
    `acknowledged` is the last offset of each partition that the events went to.
    """

    format: str
    seed: int
    days: int
    until: date
    visits: int
    shop: str
    timezone: str
    events: int
    events_by_type: dict[str, int]
    sent: Sent
    digest: str
    figures: dict[str, list[tuple[list[str], list[str | int]]]]
    acknowledged: dict[str, int] = {}

    @property
    def views(self) -> dict[str, View]:
        return {
            name: {tuple(key): tuple(values) for key, values in rows}
            for name, rows in self.figures.items()
        }


def prepare(plan: Plan, zone: ZoneInfo, shop: str, disorder: Disorder) -> tuple[Traffic, Truth]:
    """What is to be sent, in its order, and the truth about it."""
    history = History(plan, zone).run()
    traffic = disordered(history.events, disorder, plan.seed)
    views = history.books.views()
    truth = Truth(
        format=FORMAT,
        **plan._asdict(),
        shop=shop,
        timezone=zone.key,
        events=len(history.events),
        events_by_type=dict(Counter(event["type"] for event in history.events).most_common()),
        sent=Sent(
            records=len(traffic.events),
            disorder=disorder._asdict(),
            moved=traffic.moved,
            late=traffic.late,
            duplicates=traffic.duplicates,
            contradictions=[*traffic.contradictions],
            by_topic=_by_topic(traffic),
        ),
        digest=digest(views),
        figures={name: _rows(view) for name, view in views.items()},
    )
    return traffic, truth


def _by_topic(traffic: Traffic) -> dict[str, tuple[int, int, int]]:
    lies = set(traffic.contradictions)
    records, ids, lied = Counter[str](), defaultdict[str, set[str]](set), Counter[str]()
    for event in traffic.events:
        topic = VOCABULARY[event["type"]].topic
        records[topic] += 1
        if event["id"] in lies and event["id"] in ids[topic]:
            lied[topic] += 1
        ids[topic].add(event["id"])
    return {
        topic: (len(ids[topic]), count - len(ids[topic]) - lied[topic], lied[topic])
        for topic, count in sorted(records.items())
    }


def _rows(view: View) -> list[tuple[list[str], list[str | int]]]:
    return [([*key], [*view[key]]) for key in sorted(view)]


def digest(views: Mapping[str, View]) -> str:
    """One word for all figures: equal where every one of them is."""
    found = hashlib.sha256()
    for name in sorted(views):
        for row in _rows(views[name]):
            found.update(msgspec.json.encode((name, *row)) + b"\n")
    return found.hexdigest()


class NoTruth(Exception):
    """The file holds no truth; the message says why."""


def write(path: Path, truth: Truth) -> None:
    """Writes the file, gzipped where its name ends in .gz."""
    encoded = msgspec.json.encode(truth) + b"\n"
    path.write_bytes(gzip.compress(encoded) if path.suffix == ".gz" else encoded)


def read(path: Path) -> Truth:
    """Raises OSError, NoTruth."""
    found = path.read_bytes()
    try:
        plain = gzip.decompress(found) if path.suffix == ".gz" else found
        truth = msgspec.json.decode(plain, type=Truth)
    except (
        msgspec.MsgspecError,
        gzip.BadGzipFile,
        zlib.error,
        EOFError,
        UnicodeDecodeError,
    ) as error:
        raise NoTruth(f"{path} is no truth file: {error}") from error
    if truth.format != FORMAT:
        raise NoTruth(f"{path} is of format {truth.format!r}, not {FORMAT}")
    return truth


def described(truth: Truth) -> Mapping[str, Any]:
    """A few words for a person."""
    sent = truth.sent
    return {
        "history": f"{truth.days} days until {truth.until}, seed {truth.seed}, {truth.timezone}",
        "events": f"{truth.events:,}",
        "sent": (
            f"{sent.records:,} records: {sent.moved:,} overtaken, {sent.late:,} late, "
            f"{sent.duplicates:,} twice, {len(sent.contradictions):,} contradicted"
        ),
        "figures": f"{sum(map(len, truth.figures.values())):,} rows, digest {truth.digest[:16]}",
    }
