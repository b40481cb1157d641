"""Ratings: any order and any batches come to the same, which is what each review said by then."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain import review
from app.domain.aggregate import Told
from app.domain.refusal import Refusal
from app.domain.review import Review
from projections import rating_days, ratings
from projections.clock import ShopClock
from projections.read_model import Setting
from streams import codec
from streams.events import Event
from tests.catalogued import AT, facts, told

ZONES = ("UTC", "Europe/Berlin", "America/St_Johns")

Standing = dict[tuple[str, str, date], tuple[Counter[int], Counter[int]]]
"""What stands at the end of each day on which something was told, and was written on it, by stars;
by shop, product, day."""

bodies: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.tuples(st.just("ProductReviewed"), st.integers(1, 5).map(lambda n: {"rating": n})),
    st.tuples(st.just("ReviewEdited"), st.integers(1, 5).map(lambda n: {"rating": n})),
    st.tuples(st.just("ReviewRetracted"), st.just({})),
    st.tuples(st.just("ReviewModerated"), st.booleans().map(lambda yes: {"hidden": yes})),
    st.tuples(st.just("StockReceived"), st.just({"quantity": 1})),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """What is told of a few reviews, over days of which one has 23 hours; some at one moment."""
    events = []
    for number in range(draw(st.integers(1, 14))):
        kind, data = draw(bodies)
        known = draw(st.sampled_from(["r1", "r1", "r2"]))
        if kind == "ProductReviewed":
            known = draw(st.sampled_from([known, known, ""]))
        data = data | ({"review_id": known} if known and kind != "StockReceived" else {})
        shop, product = draw(st.sampled_from([("main", "p1"), ("main", "p2"), ("other", "p1")]))
        hours = draw(st.integers(0, 12)) * 3.5
        events.append(told(kind, product, f"e{number:02}", hours=hours, shop=shop, **data))
    return events


def kept(log: Sequence[Event], zone: str, cuts: Iterable[int] = ()) -> Any:
    """The states and the rows that are not zero, of a log that is read in batches."""
    setting = Setting(ShopClock(ZoneInfo(zone)), AT)
    read, stars = facts(log), dict[Any, int | None]()
    states: dict[ratings.Key, ratings.Review] = {}
    rows: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    for start, end in pairwise([0, *sorted({cut % (len(log) + 1) for cut in cuts}), len(log)]):
        folded = ratings.fold(read[start:end], states, setting)
        for *key, counting, state in folded.rows:
            states[tuple(key)] = ratings._decoder.decode(state)
            assert states[tuple(key)] == folded.states[tuple(key)]
            stars[tuple(key)] = counting
        for *key, standing, written in rating_days.fold(folded.changes, {}, setting).rows:
            row = rows[tuple(key)]
            row[:] = row[0] + standing, row[1] + written
    return states, stars, {key: row for key, row in rows.items() if any(row)}


def standing(rows: dict[tuple[Any, ...], list[int]], days: Iterable[Any]) -> Standing:
    """Rows added up to the end of each day."""
    found: Standing = {}
    for shop, product, day in days:
        stood, written = Counter[int](), Counter[int]()
        for (of_shop, of_product, of_day, stars), (change, new) in rows.items():
            if (of_shop, of_product) == (shop, product) and of_day <= day.isoformat():
                stood[stars] += change
                written[stars] += new if of_day == day.isoformat() else 0
        found[shop, product, day] = +stood, +written
        assert all(count >= 0 for count in stood.values())
    return found


def counted(events: Sequence[Event], zone: str) -> Standing:
    """The same by hand: of each day, every review as it was at its end."""
    by_review: dict[tuple[str, str, str], list[tuple[Any, str, date, str, Any]]] = {}
    for event in events:
        if "Review" in event.type:
            data = msgspec.json.decode(event.data)
            key = event.shop, data["product_id"], data.get("review_id", event.id)
            day = event.time.astimezone(ZoneInfo(zone)).date()
            by_review.setdefault(key, []).append((event.time, event.id, day, event.type, data))
    found: Standing = {}
    for shop, product, day in days_of(events, zone):
        stood, written = Counter[int](), Counter[int]()
        for (of_shop, of_product, _), told_of in by_review.items():
            if (of_shop, of_product) != (shop, product):
                continue
            stars, back, hidden, known = 0, False, False, False
            for _, _, at, kind, data in sorted(told_of, key=lambda one: one[:2]):
                if at > day:
                    break
                stars = data.get("rating", stars)
                hidden = data.get("hidden", hidden)
                back = kind == "ReviewRetracted" or (back and kind != "ProductReviewed")
                if kind == "ProductReviewed" and not known:
                    known = True
                    written[stars] += at == day
            if stars and not back and not hidden:
                stood[stars] += 1
        found[shop, product, day] = +stood, +written
    return found


def days_of(events: Iterable[Event], zone: str) -> set[tuple[str, str, date]]:
    return {
        (event.shop, event.subject, event.time.astimezone(ZoneInfo(zone)).date())
        for event in events
    }


@settings(max_examples=200)
@given(histories(), st.sampled_from(ZONES), st.data())
def test_shuffled_repeated_and_cut_anyhow_events_end_in_the_same_ratings(
    history: list[Event], zone: str, data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(history), max_size=4), label="repeated")
    log = data.draw(st.permutations(history + again), label="log")
    cuts = data.draw(st.lists(st.integers(0, len(log)), max_size=len(log)), label="cuts")
    states, stars, rows = kept(log, zone, cuts)
    assert (states, stars, rows) == kept(history, zone)
    days = days_of(history, zone)
    assert standing(rows, days) == counted(history, zone)
    now = Counter((*key[:2], count) for key, count in stars.items() if count)
    total = Counter[tuple[str, str, int]]()
    for (shop, product, _, of_stars), (change, _) in rows.items():
        total[shop, product, of_stars] += change
    assert now == +total


steps = st.lists(
    st.tuples(st.sampled_from(["write", "edit", "retract", "hide", "show"]), st.integers(1, 5)),
    max_size=12,
)


@given(steps)
def test_a_review_counts_where_anyone_may_see_it(taken: list[tuple[str, int]]) -> None:
    known: Review | None = None
    log: list[Event] = []
    for command, stars in taken:
        try:
            if command == "write":
                decided = review.write(known, "p1", "ada", stars, None, verified=False)
            elif known is None:
                continue
            elif command == "edit":
                decided = review.edit(known, stars, None, verified=False)
            elif command == "retract":
                decided = review.retract(known)
            else:
                decided = review.moderate(known, command == "hide", "advertising")
        except Refusal:
            continue
        for data in decided:
            number = len(log)
            fields = msgspec.json.decode(codec.raw(data))
            log.append(told(type(data).__name__, event_id=f"e{number}", hours=number, **fields))
            known = review.evolve(known, Told(AT, data, "ada"))
    _, stars_of, rows = kept(log, "UTC", range(len(log)))
    if known is not None:
        assert list(stars_of.values()) == [known.rating if known.visible else None]
        assert sum(written for _, written in rows.values()) == 1
