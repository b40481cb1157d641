"""Fetching from where somebody points at: whatever they say, nothing of ours is asked."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from app.domain.refusal import Invalid
from app.images import outside
from app.images.outside import Outside, is_public, target

MOST = 1000


@asynccontextmanager
async def serving(answer: Callable[[str], bytes]) -> AsyncIterator[tuple[int, list[str]]]:
    """A web server that answers to paths: its port, and the paths that it was asked for."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            asked.append(head.split()[1].decode())
            writer.write(answer(asked[-1]))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body


def moved(place: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {place}\r\n\r\n".encode()


async def here(host: str, port: int) -> Sequence[str]:
    """A name service for which the public names are this machine's."""
    if host.endswith(".example"):
        return ["127.0.0.1"]
    return await outside.resolve(host, port)


class Names:
    """Which of this machine's addresses count as public: those that a test's names lead to."""

    def __init__(self) -> None:
        self.resolved: list[str] = []
        self._trusted = False

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.resolved.append(host)
        self._trusted = host.endswith(".example")
        return await here(host, port)

    def public(self, address: str) -> bool:
        return self._trusted or is_public(address)

    def outside(self) -> Outside:
        return Outside(self.resolve, self.public)


async def test_what_is_public_is_fetched_also_where_it_has_moved_to() -> None:
    def answer(path: str) -> bytes:
        return moved("/b?c=d") if path == "/a" else ok(path.encode())

    async with serving(answer) as (port, asked):
        found = await Names().outside().fetch(f"http://shop.example:{port}/a", MOST)
    assert found == b"/b?c=d"
    assert asked == ["/a", "/b?c=d"]


LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "017700000001",
    "0177.0.0.1",
    "0",
    "0.0.0.0",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:1::]",
    "１２７.０.０.１",
    "127。0。0。1",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
]
PRIVATE = [
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[2002:c0a8:1::]",
    "100.64.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "192.88.99.1",
    "[64:ff9b:1::1]",
    "[5f00::1]",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fec0::1]",
    "[ff02::1]",
    "[2001:db8::1]",
    "[2001:0:7f00:1::]",
    "[fe80::1%25lo]",
]
ODD = ["localhost.", "[fe80::1%25lo]"]
SPELLINGS = [
    "http://user@{host}/",
    "http://user:word@{host}/",
    "http://shop.example@{host}/",
    "http://{host}#@shop.example/",
    "http://{host}?@shop.example/",
    "http://{host}\\@shop.example/",
    "HTTP://{host}/",
    " http://{host}/",
    "http:\t//{host}/",
    "https://{host}/",
]


@pytest.mark.parametrize("host", LOOPBACK + PRIVATE)
async def test_no_address_of_ours_is_asked_however_it_is_written(host: str) -> None:
    async with serving(lambda _: ok(b"secret")) as (port, asked):
        # A few of them lead nowhere at all on some systems.
        with pytest.raises(Invalid, match="not public" if host not in ODD else "url: "):
            await Outside().fetch(f"http://{host}:{port}/", MOST, 5)
        assert asked == []


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_no_spelling_leads_to_an_address_of_ours(spelling: str) -> None:
    async with serving(lambda _: ok(b"secret")) as (port, asked):
        with pytest.raises(Invalid):
            await Outside().fetch(spelling.format(host=f"127.0.0.1:{port}"), MOST, 5)
        assert asked == []


@pytest.mark.parametrize("host", [*LOOPBACK[:5], *LOOPBACK[15:20], *PRIVATE[5:9]])
async def test_no_redirect_leads_to_an_address_of_ours(host: str) -> None:
    async with serving(lambda _: ok(b"secret")) as (port, asked):
        async with serving(lambda _: moved(f"http://{host}:{port}/")) as (outer, first):
            with pytest.raises(Invalid, match="not public"):
                await Names().outside().fetch(f"http://shop.example:{outer}/", MOST, 5)
        assert (first, asked) == (["/"], [])


async def test_a_name_that_changes_its_mind_is_asked_once() -> None:
    """The address that was looked at is the one that is connected to."""
    answers = iter([["192.0.2.7"], ["127.0.0.1"]])
    asked_names = []

    async def rebound(host: str, _: int) -> Sequence[str]:
        asked_names.append(host)
        return next(answers)

    async with serving(lambda _: ok(b"secret")) as (port, asked):
        with pytest.raises(Invalid):
            await Outside(rebound, lambda address: address == "192.0.2.7").fetch(
                f"http://shop.example:{port}/", MOST, 1
            )
        assert (asked_names, asked) == (["shop.example"], [])


async def test_a_name_with_an_address_of_ours_among_others_is_refused() -> None:
    async def both(_: str, __: int) -> Sequence[str]:
        return ["1.1.1.1", "127.0.0.1"]

    async with serving(lambda _: ok(b"secret")) as (port, asked):
        with pytest.raises(Invalid, match="not public"):
            await Outside(both).fetch(f"http://shop.example:{port}/", MOST, 5)
        assert asked == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example/a.png",
        "//shop.example/a.png",
        "file:///etc/passwd",
        "ftp://shop.example/a.png",
        "gopher://shop.example:6379/_FLUSHALL",
        "data:image/png;base64,AAAA",
        "unix:/run/redis.sock",
        "http://",
        "http:///a",
        "http://[::1",
        "http://shop.example:99999/",
        "http://shop.example:x/",
        f"http://{'a' * 64}.example.é/",
    ],
)
def test_only_addresses_of_the_web_are_taken(url: str) -> None:
    with pytest.raises(Invalid):
        target(url)


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 64}.example"])
async def test_a_host_that_can_be_no_name_is_refused(host: str) -> None:
    with pytest.raises(Invalid, match="no name"):
        await Outside().fetch(f"http://{host}/a.png", MOST)


def test_a_path_cannot_say_more_than_a_path() -> None:
    found = target("http://shop.example/a b\u00e9?c=d e\x0b#f")
    assert found.target == b"/a%20b%C3%A9?c=d%20e%0B"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (ok(b"x" * (MOST + 1)), "more than"),
        (moved("/again"), "redirects"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answers 404"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nx", "compressed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", "cannot be fetched"),
        (b"220 smtp ready\r\n", "cannot be fetched"),
        (b"", "cannot be fetched"),
    ],
)
async def test_what_is_no_good_answer_is_refused(answer: bytes, why: str) -> None:
    async with serving(lambda _: answer) as (port, _):
        with pytest.raises(Invalid, match=why):
            await Names().outside().fetch(f"http://shop.example:{port}/", MOST)


async def test_who_never_ends_is_left() -> None:
    over = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ok(b"x"))
        await over.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Invalid, match="did not come"):
            await Names().outside().fetch(f"http://shop.example:{port}/", MOST, 0.5)
        over.set()


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"]
)
def test_what_is_everybodys_is_public(address: str) -> None:
    assert is_public(address)
