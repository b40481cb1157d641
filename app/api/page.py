"""`/`: the page, its own files, and the locked packages from the user's cache.

Every file stands under a path that names its version and never changes; only `/` itself is asked
for again. There is no inline script but the import map, which the policy allows by its hash.
"""

import asyncio
import base64
import gzip
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import structlog
from fastapi import APIRouter, Depends, Request, Response

from app.api import access
from app.api.problems import Problem
from app.page.modules import fetch_modules, locked_packages, missing_packages, modules_folder
from app.settings import Settings
from app.stack.errors import StackError

logger = structlog.get_logger()
router = APIRouter(include_in_schema=False, dependencies=[Depends(access.PUBLIC)])

OURS = Path(__file__).parents[1] / "page"
FETCH_WAIT_SECONDS = 5.0
_RETRY_SECONDS = 20.0
_COMPRESSIBLE = (".js", ".mjs", ".css", ".html", ".svg")
_MEDIA_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_FOR_EVER = "public, max-age=31536000, immutable"

# By the names under which modules import them.
IMPORTS = {
    "preact": "preact/dist/preact.mjs",
    "preact/hooks": "preact/hooks/dist/hooks.mjs",
    "htm": "htm/dist/htm.mjs",
    "@preact/signals-core": "@preact/signals-core/dist/signals-core.mjs",
    "@preact/signals": "@preact/signals/dist/signals.mjs",
}
OTHERS = {
    "uplot": "uplot/dist/uPlot.iife.min.js",
    "uplot_style": "uplot/dist/uPlot.min.css",
    "font": "@fontsource-variable/inter/files/inter-latin-opsz-normal.woff2",
}


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is sent, plain and compressed."""

    media_type: str
    plain: bytes
    gzipped: bytes | None

    @classmethod
    def of(cls, name: str, plain: bytes) -> "File":
        suffix = Path(name).suffix
        gzipped = gzip.compress(plain, 9, mtime=0) if suffix in _COMPRESSIBLE else None
        return cls(_MEDIA_TYPES[suffix], plain, gzipped)

    def response(self, request: Request, headers: Mapping[str, str]) -> Response:
        accepted = request.headers.get("accept-encoding", "")
        sent = {"X-Content-Type-Options": "nosniff", **headers}
        if self.gzipped is None or "gzip" not in accepted:
            return Response(self.plain, headers=sent, media_type=self.media_type)
        sent |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return Response(self.gzipped, headers=sent, media_type=self.media_type)


class Page:
    """The page's files in memory; the packages among them once they are in the cache."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        texts = {
            path.name: path.read_bytes()
            for path in sorted(OURS.iterdir())
            if path.suffix in (".js", ".css", ".svg")
        }
        joined = b"".join(name.encode() + b"\0" + text for name, text in texts.items())
        self.version = hashlib.sha256(joined).hexdigest()[:12]
        self.ours = {name: File.of(name, text) for name, text in texts.items()}
        self.packages: dict[str, File] = {}
        self.trouble = ""
        self._fetching: asyncio.Task[None] | None = None
        self._tried = -_RETRY_SECONDS

    async def ready(self) -> bool:
        """Whether all is there. What is missing is fetched, one fetch at a time."""
        if self.packages:
            return True
        if self._fetching is None and time.monotonic() - self._tried >= _RETRY_SECONDS:
            self._fetching = asyncio.create_task(self._fetch())
        if self._fetching is not None:
            await asyncio.wait([self._fetching], timeout=FETCH_WAIT_SECONDS)
        return bool(self.packages)

    async def _fetch(self) -> None:
        try:
            await fetch_modules(self._settings.home, logger.info)
            self.packages = await asyncio.to_thread(_read_packages, self._settings.home)
            self.trouble = ""
        except (StackError, OSError) as error:
            logger.warning("the page lacks its packages", error=str(error))
            self.trouble = str(error)
        finally:
            self._fetching = None
            self._tried = time.monotonic()

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def index(self) -> tuple[bytes, str]:
        """The page and its content security policy."""
        folders = {package.name: package.folder for package in locked_packages()}

        def at(file: str) -> str:
            name = max((n for n in folders if file.startswith(f"{n}/")), key=len)
            return f"/page/modules/{folders[name]}{file.removeprefix(name)}"

        imports = {name: at(file) for name, file in IMPORTS.items()}
        import_map = json.dumps({"imports": imports}, separators=(",", ":"))
        own = [name for name in self.ours if name.endswith(".js") and name != "theme.js"]
        preloads = [*imports.values(), *(f"/page/{self.version}/{name}" for name in own)]
        text = Template((OURS / "index.html").read_text()).substitute(
            {name: at(file) for name, file in OTHERS.items()},
            ours=f"/page/{self.version}",
            import_map=import_map,
            preloads="\n".join(f'<link rel="modulepreload" href="{path}">' for path in preloads),
            currency=self._settings.currency,
            timezone=escape(self._settings.timezone.key),
        )
        return text.encode(), policy(import_map)

    def unavailable(self) -> bytes:
        """What is said while the packages are missing."""
        sizes = {package.url: package.size for package in missing_packages(self._settings.home)}
        return (
            Template((OURS / "unavailable.html").read_text())
            .substitute(
                count=len(sizes),
                kilobytes=f"{sum(sizes.values()) / 1000:.0f}",
                folder=escape(str(modules_folder(self._settings.home))),
                trouble=escape(self.trouble or "They are being downloaded now."),
            )
            .encode()
        )


def policy(inline_script: str = "") -> str:
    """A content security policy: everything from here, and one inline script by its hash."""
    scripts = "'self'"
    if inline_script:
        digest = base64.b64encode(hashlib.sha256(inline_script.encode()).digest()).decode()
        scripts += f" 'sha256-{digest}'"
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self'; font-src 'self'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _read_packages(home: Path) -> dict[str, File]:
    folder = modules_folder(home)
    return {
        f"{package.folder}/{file}": File.of(file, (folder / package.folder / file).read_bytes())
        for package in locked_packages()
        for file in package.files
    }


@router.get("/")
async def page_index(request: Request) -> Response:
    """The page; while it cannot be shown, what to do about it."""
    page: Page = request.app.state.page
    headers = {"Cache-Control": "no-cache", "Referrer-Policy": "no-referrer"}
    if not await page.ready():
        retry = {"Retry-After": "20", "Content-Security-Policy": policy()}
        file = File.of("unavailable.html", page.unavailable())
        response = file.response(request, headers | retry)
        response.status_code = 503
        return response
    text, csp = page.index()
    tag = f'"{hashlib.sha256(text).hexdigest()[:16]}"'
    headers |= {"ETag": tag, "Content-Security-Policy": csp}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return File.of("index.html", text).response(request, headers)


@router.get("/page/modules/{path:path}")
async def page_module(request: Request, path: str) -> Response:
    """A file of a locked package."""
    page: Page = request.app.state.page
    await page.ready()
    return _found(request, page.packages.get(path))


@router.get("/page/{version}/{name}")
async def page_file(request: Request, version: str, name: str) -> Response:
    """A file of our own; under another version's path there is none."""
    page: Page = request.app.state.page
    return _found(request, page.ours.get(name) if version == page.version else None)


def _found(request: Request, file: File | None) -> Response:
    if file is None:
        raise Problem(404, "unknown_file", "no such file belongs to the page")
    return file.response(request, {"Cache-Control": _FOR_EVER})
