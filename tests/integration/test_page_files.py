"""The page's files: what is fetched, what is unpacked, and what is said where that fails."""

import asyncio
import base64
import hashlib
import io
import json
import re
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from app.api import page, problems
from app.page import modules
from app.page.modules import Package
from app.settings import Settings
from app.stack import downloads
from app.stack.errors import StackError


def tarball(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


BODY = tarball(
    {
        "package/dist/a.mjs": b"export default 1",
        "package/src/more.mjs": b"not wanted",
        "../../outside": b"never",
    }
)
A = Package(hashlib.sha256(BODY).hexdigest(), len(BODY), "@some/a", "1.2.3", ("dist/a.mjs",))


@pytest.fixture
async def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """A registry that has one package, and the paths it was asked for."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split()[1].decode())
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(BODY) + BODY)
        await writer.drain()
        writer.close()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setattr(modules, "NPM", f"http://127.0.0.1:{port}")
        yield asked


async def test_only_the_locked_files_are_unpacked_and_only_once(
    tmp_path: Path, registry: list[str]
) -> None:
    notes: list[str] = []
    for _ in range(2):
        folder = await modules.fetch_packages(tmp_path, [A], notes.append)
    assert registry == ["/@some/a/-/a-1.2.3.tgz"]
    assert len(notes) == 1
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert found == [folder / "some-a-1.2.3" / "dist" / "a.mjs"]
    assert found[0].read_bytes() == b"export default 1"


async def test_a_package_with_another_sum_is_refused(tmp_path: Path, registry: list[str]) -> None:
    other = Package("0" * 64, A.size, A.name, A.version, A.files)
    with pytest.raises(StackError, match="checksum"):
        await modules.fetch_packages(tmp_path, [other], lambda _: None)
    assert registry
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("seconds", [5.0, 0.0])
async def test_what_cannot_be_had_at_the_start_is_a_note(
    tmp_path: Path, registry: list[str], monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(modules, "PREFETCH_SECONDS", seconds)
    notes: list[str] = []
    await modules.prefetch_modules(tmp_path, notes.append)
    assert len(notes) == 2
    assert "when it is opened" in notes[-1]
    assert ("checksum" if seconds else "too long") in notes[-1]


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """The page's routes alone: they need no server."""
    app = FastAPI()
    app.state.page = page.Page(Settings(home=tmp_path, kafka="", postgres="", redis=""))
    app.include_router(page.router)
    problems.install(app)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as found:
        yield found
    await app.state.page.close()


async def test_without_its_packages_the_page_says_what_to_do_and_looks_again(
    client: httpx2.AsyncClient, registry: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await client.get("/")  # the registry's answer has the sum of no locked package
    assert answer.status_code == 503
    assert "checksum is not the one expected" in answer.text
    assert "npm registry" in answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    asked = len(registry)
    assert (await client.get("/")).status_code == 503
    assert len(registry) == asked  # not with every request
    monkeypatch.setattr(page, "_RETRY_SECONDS", 0)
    monkeypatch.setattr(page, "locked_packages", lambda: [A])
    monkeypatch.setattr(modules, "locked_packages", lambda: [A])
    assert (await client.get("/page/modules/some-a-1.2.3/dist/a.mjs")).text == "export default 1"


async def test_every_path_in_the_page_is_served(client: httpx2.AsyncClient) -> None:
    index = await client.get("/")
    assert index.status_code == 200
    style = re.search(r'"(/page/\w+/page.css)"', index.text)
    assert style
    css = (await client.get(style[1])).text
    paths = set(re.findall(r'"(/page/[^"]+)"', index.text + css))
    assert len(paths) > 15
    for path in paths:
        answer = await client.get(path)
        assert answer.status_code == 200, path
        assert "immutable" in answer.headers["cache-control"]
    imports = set(json.loads(_import_map(index.text))["imports"].values())
    assert imports <= paths


async def test_the_import_map_is_the_only_inline_script_and_allowed_by_its_hash(
    client: httpx2.AsyncClient,
) -> None:
    index = await client.get("/")
    assert len(re.findall(r"<script(?![^>]* src=)", index.text)) == 1
    digest = hashlib.sha256(_import_map(index.text).encode()).digest()
    assert (
        f"'sha256-{base64.b64encode(digest).decode()}'"
        in (index.headers["content-security-policy"])
    )
    assert not re.search(r"\s(style|on\w+)=", index.text)


async def test_the_page_is_sent_again_only_when_it_has_changed(client: httpx2.AsyncClient) -> None:
    first = await client.get("/")
    again = await client.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert (await client.get("/", headers={"If-None-Match": '"other"'})).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/page/000000000000/main.js",
        "/page/modules/preact-11.2.0/package.json",
        "/page/modules/../modules.py",
        "/page/modules/%2e%2e/%2e%2e/etc/passwd",
    ],
)
async def test_nothing_else_is_served(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def _import_map(html: str) -> str:
    found = re.search(r'<script type="importmap">(.*?)</script>', html)
    assert found
    return found[1]
