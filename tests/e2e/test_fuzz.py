"""Every route, every event and every frame, with what nobody would send: never a 500, and never a
good event lost because of a bad one.

Examples are bounded and the same in every run; `TILLSTREAM_FUZZ` multiplies their number and draws
others each time.
"""

import asyncio
import copy
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from app.api.access import Role
from tests.e2e.service import KEY, Service
from tests.e2e.test_commands import bearer
from tests.e2e.test_ingest import order
from tests.e2e.test_sales import ask

MORE = int(os.environ.get("TILLSTREAM_FUZZ", "0"))
MOST_SECONDS = 30.0  # while other tests make the machine busy
TOO_LARGE = 1009  # a frame, by RFC 6455


def bounded(count: int) -> Callable[[Any], Any]:
    return examples(
        max_examples=count * (MORE or 1),
        derandomize=not MORE,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )


# Routes, as the documentation describes them, and as it does not.


KEYED = ("/v1/events", "/v1/quarantine")
METRICS = "/v1/metrics/"
"""So many routes of one kind: the same code reads the same parameters of each."""
FUZZED = "fuzzed"
"""A shop of its own: what is told of it is nothing that other tests would meet."""


def asked(
    session: requests.Session, api: str, case: Case[Any], staff: Mapping[str, str]
) -> requests.Response:
    """The answer to a case, asked by who may; of an endless one its head."""
    keyed = case.path.startswith(KEYED)
    if not keyed and case.query is not None and "shop" in case.query:
        case.query["shop"] = FUZZED
    wait = (case.query or {}).get("wait")
    if isinstance(wait, int | float) and 0 <= wait <= 30:
        case.query["wait"] = wait / 1000
    asking = case.as_transport_kwargs(base_url=api, headers=dict(KEY if keyed else staff))
    if not keyed:
        asking["params"] = {**(asking.get("params") or {}), "shop": FUZZED}
    with session.request(**asking, stream=True, timeout=MOST_SECONDS) as answer:
        if answer.headers.get("content-type", "").startswith("application/"):
            assert len(answer.content) < 5_000_000
        return answer


def fuzz_routes(api: str, staff: Mapping[str, str], counts: Counter[tuple[str, int]]) -> None:
    schema = schemathesis.openapi.from_dict(requests.get(f"{api}/openapi.json", timeout=10).json())
    with requests.Session() as session:
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            count = 1 if operation.path.startswith(METRICS) else 3
            for mode in GenerationMode:
                ask = partial(asked, session, api, staff=staff)
                fuzz_route(ask, operation.label, operation.as_strategy(mode), count, counts)


def fuzz_route(
    ask: Callable[[Case[Any]], requests.Response],
    label: str,
    cases: st.SearchStrategy[Case[Any]],
    count: int,
    counts: Counter[tuple[str, int]],
) -> None:
    @bounded(count)
    @given(cases)
    def fuzz(case: Case[Any]) -> None:
        answer = ask(case)
        status = answer.status_code
        counts[label, status] += 1
        # Without a learner what it would answer is a 503; 504 is for a position that is to come.
        assert status < 500 or status in (503, 504), (answer.text, case.as_curl_command())
        if status >= 400 and case.method != "HEAD" and not too_long(answer):
            assert answer.headers["content-type"] == "application/problem+json", status

    with suppress(Unsatisfiable):  # where nothing can be wrong, as without parameters
        fuzz()


def too_long(answer: requests.Response) -> bool:
    """Whether what was asked never came to the API: its server reads no longer URLs."""
    return answer.status_code == 400 and len(answer.request.url or "") >= 2**16


async def test_no_route_answers_with_a_500(service: Service) -> None:
    counts: Counter[tuple[str, int]] = Counter()
    staff = bearer(service, Role.ADMIN, "fuzz", FUZZED)
    await asyncio.to_thread(fuzz_routes, service.api, staff, counts)
    for (label, status), count in sorted(counts.items()):
        sys.stdout.write(f"{label:55} {status} {count:6}\n")
    assert counts["POST /v1/events", 422] + counts["POST /v1/events", 400] > 0
    assert counts["GET /v1/sales/revenue", 200] > 0
    assert counts["GET /v1/sales/revenue", 422] > 0
    assert counts["GET /v1/live/{metric}", 200] > 0


# Events.

ODD: tuple[bytes, ...] = (
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"[[[[[[[[]]]]]]]]",
    b"[" * 900 + b"]" * 900,
    b"[" * 5000 + b"]" * 5000,
    b"-0",
    b"-1",
    b"0.00001",
    b"1e4",
    b"1e400",
    b"9" * 30,
    b"9" * 5000,
    b"1.5",
    b'""',
    b'" "',
    b'"\\u0000"',
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\\\u0000"',
    b'"-1"',
    b'"+1"',
    b'"1e5"',
    b'"NaN"',
    b'"Infinity"',
    '"٣٫٥"'.encode(),
    '"\u202e\ufeff\U0001f6d2"'.encode(),
    b'"' + b"x" * 200 + b'"',
    b'"' + b"x" * 30_000 + b'"',
    b'"0001-01-01T00:00:00+23:59"',
    b'"1970-01-01T00:00:00+14:00"',
    b'"9999-12-31T23:59:59-23:59"',
    b'"2026-02-30T00:00:00Z"',
    b'"2026-06-30T23:59:60Z"',
    b'"2026-01-01"',
    b'"2026-01-01T00:00:00"',
    b'"main/../x"',
    b'"a/b"',
    b'"eur"',
)

GOOD: tuple[dict[str, Any], ...] = (
    {**order("o"), "id": "i", "time": "2026-01-02T03:04:05Z", "person": "p"},
    {"type": "OrderRefunded", "data": {"order_id": "o", "refund_id": "r", "total": "1"}},
    {"type": "ProductViewed", "subject": "v", "data": {"product_id": "p", "price": 1.5}},
    {"type": "CartShared", "subject": "v", "data": {"cart_id": "c", "share_message": "m"}},
    {"type": "ProductAdded", "data": {"cart_id": "c", "product_id": "p", "quantity": 2}},
    {"type": "StockAdjusted", "data": {"product_id": "p", "quantity": -2}},
    {
        "type": "ProductReviewed",
        "person": "p",
        "data": {"product_id": "p", "rating": 5, "review_body": "b"},
    },
    {"type": "SalesAdjusted", "data": {"order_id": "o", "amount": "-3.5", "reason": "r"}},
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a JSON value."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


def spoilt(event: Mapping[str, Any], place: tuple[Any, ...], odd: bytes, name: str | None) -> bytes:
    """An event's JSON with something odd in one place, or, under a name, beside it."""
    if not place:
        return odd
    event = copy.deepcopy(dict(event))
    holder: Any = event
    for key in place[:-1]:
        holder = holder[key]
    if name is not None and isinstance(holder, dict):
        holder[name] = "@odd@"
    else:
        holder[place[-1]] = "@odd@"
    return json.dumps(event).encode().replace(b'"@odd@"', odd)


@st.composite
def odd_events(draw: st.DrawFn) -> bytes:
    event = draw(st.sampled_from(GOOD))
    anything = st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ).map(lambda value: json.dumps(value).encode())
    return spoilt(
        event,
        draw(st.sampled_from(places(event))),
        draw(st.sampled_from(ODD) | anything),
        draw(st.none() | st.none() | st.text(max_size=20)),
    )


def fuzz_events(api: str, tag: str, counts: Counter[str]) -> list[str]:
    positions: list[str] = []

    with requests.Session() as session:

        @bounded(60)
        @given(st.lists(odd_events(), min_size=1, max_size=6), st.data())
        def batches(odd: list[bytes], data: st.DataObject) -> None:
            good = json.dumps(order(f"{tag}-{counts['batches']}")).encode()
            counts["batches"] += 1
            at = data.draw(st.integers(0, len(odd)))
            body = b"[" + b",".join([*odd[:at], good, *odd[at:]]) + b"]"
            answer = session.post(f"{api}/v1/events", body, headers=KEY, timeout=MOST_SECONDS)
            if answer.status_code == 400 and body.count(b"[") > 900:
                counts["too deep"] += 1  # no JSON that is read here: nothing of it was taken
                return
            assert answer.status_code == 202, answer.text
            told = answer.json()
            taken = {one["index"]: one["position"] for one in told["accepted"]}
            refused = {one["index"] for one in told["rejected"]}
            assert at in taken, "a good event was lost"
            assert taken.keys() | refused == set(range(len(odd) + 1))
            assert not taken.keys() & refused
            counts["accepted"] += len(taken)
            counts["rejected"] += len(refused)
            positions.extend(taken.values())

        @bounded(60)
        @given(odd_events() | st.binary(max_size=200) | st.sampled_from(ODD))
        def bodies(body: bytes) -> None:
            answer = session.post(f"{api}/v1/events", body, headers=KEY, timeout=MOST_SECONDS)
            counts[f"single {answer.status_code}"] += 1
            assert answer.status_code in (202, 400, 413, 422), answer.text

        batches()
        bodies()
    return positions


async def test_no_good_event_is_lost_among_odd_ones_and_all_that_is_taken_is_applied(
    service: Service, tag: str
) -> None:
    counts: Counter[str] = Counter()
    positions = await asyncio.to_thread(fuzz_events, service.api, tag, counts)
    sys.stdout.write(f"{dict(counts)}\n")
    furthest: dict[str, str] = {}
    for position in positions:
        furthest[position.rsplit(":", 1)[0]] = position
    await ask(
        service,
        "/v1/sales/revenue",
        min_position=",".join(furthest.values()),
        wait=30,
        grain="total",
    )
    async with service.client() as client:
        for number in range(0, counts["batches"], 10):
            found = await client.get(f"/v1/orders/{tag}-{number}")
            # It was not sent where the batch as a whole was too deep.
            assert (
                found.status_code in (200, 404) if counts["too deep"] else found.status_code == 200
            )


# Frames.

SUBSCRIBE: dict[str, Any] = {
    "subscribe": "revenue",
    "id": "x",
    "shop": "main",
    "since": "0123456789abcdef:1-1",
    "filter": {
        "day": "today",
        "dimension": ["total"],
        "currency": "EUR",
        "hour": "2026-01-01T00:00:00Z",
    },
}


@st.composite
def frames(draw: st.DrawFn) -> str | bytes:
    odd = st.sampled_from(
        (*ODD, b'"0123456789abcdef:99999999999999999999-1"', b'":1-18446744073709551615"')
    )
    spoiled = st.builds(
        spoilt,
        st.just(SUBSCRIBE),
        st.sampled_from(places(SUBSCRIBE)),
        odd,
        st.none() | st.text(max_size=20),
    )
    frame = draw(spoiled | st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
    if draw(st.booleans()):
        return frame
    return frame.decode(errors="replace")


def fuzz_frames(api: str, counts: Counter[str]) -> None:
    def opened() -> Any:
        url = api.replace("http", "ws") + "/v1/live"
        return connect(url, max_size=None, open_timeout=10, legacy=True)

    def answered(socket: Any, name: str) -> None:
        """Until the socket has answered to a good subscription."""
        while True:
            told = json.loads(socket.recv(timeout=MOST_SECONDS))
            counts[told["type"]] += 1
            if told["type"] in ("snapshot", "delta") and told["id"] == name:
                return

    sockets = [opened()]

    @bounded(80)
    @given(frames())
    def fuzz(frame: str | bytes) -> None:
        counts["frames"] += 1
        name = f"good-{counts['frames'] % 40}"
        # What is drawn may take all places that a socket has: it gets a new one before that.
        if not counts["frames"] % 8:
            sockets.pop().close()
            sockets.append(opened())
        try:
            sockets[0].send(frame)
            sockets[0].send(json.dumps({"subscribe": "revenue", "id": name, "shop": "nobody"}))
            answered(sockets[0], name)
        except ConnectionClosedError as closed:
            if closed.rcvd is None or closed.rcvd.code != TOO_LARGE:
                raise
            counts["closed: too large"] += 1
            sockets[0] = opened()

    try:
        fuzz()
    finally:
        sockets[0].close()


async def test_a_socket_answers_to_whatever_it_is_told(service: Service) -> None:
    counts: Counter[str] = Counter()
    await asyncio.to_thread(fuzz_frames, service.api, counts)
    sys.stdout.write(f"{dict(counts)}\n")
    assert counts["error"] > 0


@pytest.mark.parametrize(
    "path",
    [
        "/v1/orders/%ff%fe",
        "/v1/orders/%00",
        "/v1/orders/" + "x" * 5000,
        "/v1/sales/revenue?shop=%ed%a0%80",
        "/v1/sales/revenue?from=0000-00-00",
        "/v1/sales/revenue?wait=nan&min_position=orders:0:99",
        "/v1/sales/revenue?min_position=orders:0:" + "9" * 5000,
        "/v1/sales/revenue?min_position=orders:%D9%A3:1",
        "/v1/sales/revenue?" + "&".join("key=x" for _ in range(5000)),
        "/v1/live/revenue?since=" + ":" + "9" * 100,
        "/v1/live/revenue?since=:-1-1",
        "/v1/live/revenue?day=yesterday",
        "/v1/live/revenue?hour=0001-01-01T00:00:00%2B23:59",
        "/v1/live/revenue?currency=eur",
        "/v1/live/revenue?dimension=shop",
        "/v1/live/%00",
        "/v1/products/%2e%2e/bought-together?limit=1e9",
        "/modules/..%2f..%2fsettings.py",
        "//",
        "/?currency=%00",
    ],
)
async def test_odd_addresses_are_answered(service: Service, path: str) -> None:
    def get() -> int:
        with requests.get(service.api + path, stream=True, timeout=MOST_SECONDS) as answer:
            return answer.status_code

    assert await asyncio.to_thread(get) in (200, 400, 404, 414, 422, 431, 503, 504)


@pytest.mark.parametrize(
    "origin", ["null", "http://[", "https://elsewhere.example", "", "x" * 5000]
)
async def test_odd_origins_may_not_listen(service: Service, origin: str) -> None:
    def get() -> int:
        headers = {"Origin": origin}
        url = f"{service.api}/v1/live/revenue"
        with requests.get(url, headers=headers, stream=True, timeout=MOST_SECONDS) as answer:
            return answer.status_code

    assert await asyncio.to_thread(get) == 403
