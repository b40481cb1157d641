"""Fetching from an address that somebody else has named: from public hosts alone.

A name is looked up once, and the connection goes to the very address that was looked at, for each
redirect anew: so neither a redirect nor a name that changes its mind leads into a network of ours.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpcore2
from httpcore2 import AsyncNetworkBackend, AsyncNetworkStream

from app.domain.refusal import Invalid

MOST_REDIRECTS = 3
MOST_SECONDS = 8.0
_REDIRECTS = {301, 302, 303, 307, 308}
_HEADERS = [("Accept", "image/*"), ("Accept-Encoding", "identity"), ("User-Agent", "tillstream")]
_SAFE = "/%:@!$&'()*+,;=?~-._"
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SPECIAL = [  # by IANA's registries, which older Pythons do not know whole
    ipaddress.ip_network(network)
    for network in (
        *("192.0.0.0/24", "192.88.99.0/24"),
        *("64:ff9b:1::/48", "100:0:0:1::/64", "2001:2::/48", "3fff::/20", "5f00::/16"),
    )
]

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class NotPublic(Exception):
    """The name leads to an address that is not everybody's."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet at large, also where it hides another in it."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.is_site_local:
            return False
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if inner is None and found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not (
        any(found in network for network in _SPECIAL)
        or found.is_multicast
        or found.is_reserved
        or found.is_unspecified
        or found.is_loopback
    )


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, as the system knows them. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )
    return [str(address[4][0]) for address in found]


class _Public(AsyncNetworkBackend):
    """Connects to addresses that are public, all of them that the name has."""

    def __init__(self, resolve: Resolve, public: Callable[[str], bool]) -> None:
        self._resolve = resolve
        self._public = public
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        addresses = await self._resolve(host, port)
        if not addresses or not all(map(self._public, addresses)):
            raise NotPublic(host)
        return await self._network.connect_tcp(
            addresses[0], port, timeout, local_address, socket_options
        )


class Outside:
    """Fetches what others point at. `resolve` and `public` are for tests to say otherwise."""

    def __init__(
        self, resolve: Resolve = resolve, public: Callable[[str], bool] = is_public
    ) -> None:
        self._resolve = resolve
        self._public = public

    async def fetch(self, url: str, most_bytes: int, seconds: float = MOST_SECONDS) -> bytes:
        """What is there, of at most so many bytes, within so many seconds in all. Raises
        Invalid."""
        backend = _Public(self._resolve, self._public)
        try:
            async with asyncio.timeout(seconds):
                async with httpcore2.AsyncConnectionPool(network_backend=backend) as pool:
                    return await _follow(pool, url, most_bytes)
        except NotPublic:
            raise _invalid("its host is not public") from None
        except UnicodeError:
            raise _invalid("its host is no name") from None
        except TimeoutError:
            raise _invalid(f"it did not come within {seconds:g} s") from None
        except (OSError, httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise _invalid("it cannot be fetched") from error
        except httpcore2.TimeoutException as error:
            raise _invalid("it did not come in time") from error


async def _follow(pool: httpcore2.AsyncConnectionPool, url: str, most_bytes: int) -> bytes:
    for _ in range(MOST_REDIRECTS + 1):
        async with pool.stream("GET", target(url), headers=_HEADERS) as response:
            headers = {name.lower(): told.decode("latin-1") for name, told in response.headers}
            if response.status in _REDIRECTS and (place := headers.get(b"location")):
                url = urljoin(url, place)
                continue
            if response.status != 200:
                raise _invalid(f"its host answers {response.status}")
            if headers.get(b"content-encoding", "identity") != "identity":
                raise _invalid("its host sends it compressed")
            return await _read(response, most_bytes)
    raise _invalid(f"more than {MOST_REDIRECTS} redirects")


async def _read(response: httpcore2.Response, most_bytes: int) -> bytes:
    body = bytearray()
    async for part in response.aiter_stream():
        body += part
        if len(body) > most_bytes:
            raise _invalid(f"more than {most_bytes // 1024 // 1024} MB")
    return bytes(body)


def target(url: str) -> httpcore2.URL:
    """The parts of a URL, read once, so that nobody reads it otherwise later. Raises Invalid."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _invalid("no address of the web") from None
    if parts.scheme not in ("http", "https") or not host:
        raise _invalid("expected http:// or https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise _invalid("without a user's name or password")
    try:
        name = host.encode("ascii" if host.isascii() else "idna")
    except UnicodeError:
        raise _invalid("its host is no name") from None
    path = quote(parts.path or "/", safe=_SAFE) + (
        f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""
    )
    return httpcore2.URL(scheme=parts.scheme, host=name, port=port, target=path)


def _invalid(reason: str) -> Invalid:
    return Invalid("url", reason, "url")
