"""The index against the sessions themselves, compared one by one."""

from collections import defaultdict
from math import exp, isclose, sqrt
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_online import session_index
from ml_online.session_index import SessionIndex

CLICKS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 6), st.integers(0, 4_000)), min_size=1, max_size=60
)


def brute(
    sessions: dict[int, tuple[list[str], float]], asked: list[str], at: float
) -> dict[str, float]:
    """What `SessionIndex.scores` says, from all sessions: nothing sampled, nothing indexed."""
    latest = list(dict.fromkeys(reversed(asked)))
    found: dict[str, float] = defaultdict(float)
    for products, last in sessions.values():
        shared = [one for one in latest if one in products]
        if not shared or products == asked:
            continue
        similarity = sum(exp(-latest.index(one) / 2) for one in shared) / sqrt(len(products))
        similarity *= min(1.0, exp(-(at - last) / (20 * 86_400)))
        middle = max(n for n, one in enumerate(products) if one == shared[0])
        for place, one in enumerate(products):
            found[one] += similarity * exp(-abs(place - middle) / 6)
    return found


@settings(max_examples=60, deadline=None)
@given(CLICKS, st.lists(st.integers(0, 6), min_size=1, max_size=5))
def test_the_index_says_what_all_sessions_say(
    clicks: list[tuple[int, int, int]], asked: list[int]
) -> None:
    index, now = SessionIndex(), 1_000_000.0
    sessions: dict[int, tuple[list[str], float]] = {}
    open_now: dict[int, int] = {}
    for number, (who, product, pause) in enumerate(clicks):
        now += pause
        known = open_now.get(who)
        if known is None or now - sessions[known][1] > session_index.GAP_SECONDS:
            known = open_now[who] = number
            sessions[known] = ([], now)
        products, _ = sessions[known]
        sessions[known] = ([*products, f"p{product}"], now)
        index.seen(f"v{who}", f"p{product}", now)
    session = [f"p{one}" for one in asked]
    expected, found = brute(sessions, session, now + 60), index.scores(session, now + 60)
    assert found.keys() == expected.keys()
    assert all(isclose(found[one], expected[one], rel_tol=1e-9) for one in found)


def test_a_session_is_what_was_seen_without_a_pause() -> None:
    index = SessionIndex()
    for n, product in enumerate("abc"):
        index.seen("v", product, 60.0 * n)
    assert index.session_of("v") == ("a", "b", "c")
    assert index.session_of("v", 120.0 + session_index.GAP_SECONDS) == ("a", "b", "c")
    assert index.session_of("v", 121.0 + session_index.GAP_SECONDS) == ()
    index.seen("v", "d", 10_000.0)
    assert index.session_of("v") == ("d",)
    index.seen("v", "e", 9_000.0)  # late
    assert index.session_of("v", 10_000.0) == ("d", "e")
    assert index.session_of("nobody") == ()


def test_the_next_question_knows_of_the_last_click() -> None:
    index = SessionIndex()
    index.seen("v", "a", 0.0)
    assert index.scores(["a"], 1.0) == {}
    index.seen("w", "a", 1.0)
    index.seen("w", "b", 2.0)
    assert max(index.scores(["a"], 3.0).items(), key=lambda one: one[1])[0] == "a"
    assert "b" in index.scores(["a"], 3.0)


def test_it_is_bounded_and_goes_on_from_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_index, "MOST_SESSIONS", 50)
    monkeypatch.setattr(session_index, "MOST_PRODUCTS", 30)
    random, index, sizes = Random(4), SessionIndex(), []
    for n in range(3_000):
        index.seen(f"v{random.randrange(200)}", f"p{random.randrange(n // 100 + 90)}", 100.0 * n)
        if n % 1_000 == 999:
            rows = msgspec.json.encode(list(index.state()))
            sizes.append(len(msgspec.json.decode(rows)))
            again = SessionIndex()
            again.restore(msgspec.json.decode(rows))
            assert msgspec.json.encode(list(again.state())) == rows
            index = again
    assert sizes == [1 + 50 + 30] * 3


def test_of_a_long_session_the_latest_is_kept() -> None:
    index = SessionIndex()
    for n in range(200):
        index.seen("v", f"p{n}", float(n))
        index.seen("w", f"p{n % 3}", float(n))
    assert index.session_of("v") == tuple(f"p{n}" for n in range(150, 200))
    assert index.scores(["p0", "p10"], 300.0).keys() == {"p0", "p1", "p2"}
