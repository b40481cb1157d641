"""The page's npm packages: fetched once, checked against the lock file, only what is needed of
each unpacked into the user's cache."""

import asyncio
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from app.stack.downloads import Download, cache, download, locked_lines
from app.stack.errors import StackError

PREFETCH_SECONDS = 20.0
NPM = "https://registry.npmjs.org"
LOCK = Path(__file__).with_name("modules.lock")


@dataclass(frozen=True, slots=True)
class Package:
    """One package of the lock file; `files` stand below its `package/`."""

    sha256: str
    size: int
    name: str
    version: str
    files: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Where its files are kept and served: `preact-signals-2.11.4`."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}"

    @property
    def url(self) -> str:
        return f"{NPM}/{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"


def locked_packages() -> list[Package]:
    """The packages that the page is made with."""
    return [
        Package(sha256, int(size), name, version, tuple(files))
        for sha256, size, name, version, *files in locked_lines(LOCK)
    ]


def modules_folder(home: Path) -> Path:
    """Where the packages' folders are, once fetched."""
    return cache(home) / "page"


def missing_packages(home: Path, packages: Sequence[Package] | None = None) -> list[Package]:
    """Those of which a file is not there yet; of the page's where no others are given."""
    folder = modules_folder(home)
    return [
        package
        for package in (locked_packages() if packages is None else packages)
        if not all((folder / package.folder / file).exists() for file in package.files)
    ]


async def fetch_modules(home: Path, note: Callable[[str], None]) -> Path:
    """The folder of the page's packages; what is missing is downloaded first. Raises StackError."""
    return await fetch_packages(home, locked_packages(), note)


async def prefetch_modules(home: Path, note: Callable[[str], None]) -> None:
    """Fetches what is missing where that is soon done; all but the page works without."""
    try:
        async with asyncio.timeout(PREFETCH_SECONDS):
            await fetch_modules(home, note)
    except (StackError, OSError) as failure:  # a TimeoutError among the latter
        note(
            f"the page at / will try again when it is opened: {str(failure) or 'it takes too long'}"
        )


async def fetch_packages(
    home: Path, packages: Sequence[Package], note: Callable[[str], None]
) -> Path:
    """The folder of these packages' folders. Raises StackError where one cannot be had."""
    folder = modules_folder(home)
    missing = {package.url: package for package in missing_packages(home, packages)}
    if not missing:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    kilobytes = sum(package.size for package in missing.values()) / 1e3
    names = ", ".join(f"{package.name} {package.version}" for package in missing.values())
    note(f"downloading for the page, once: {names}; {kilobytes:.0f} kB, from {NPM} to {folder}")
    await download(
        [Download(url, package.sha256, package.size) for url, package in missing.items()],
        folder,
        lambda one, tarball: _unpack(missing[one.url], tarball, folder),
        "It is needed once: open the page again where there is a network",
    )
    return folder


def _unpack(package: Package, tarball: Path, folder: Path) -> None:
    """Takes the locked files, and no others, out of a tarball whose sum was checked."""
    with tarfile.open(tarball) as archive:
        for file in package.files:
            held = archive.extractfile(f"package/{file}")
            assert held is not None, f"{package.url} has no {file}, which its lock names"
            final = folder / package.folder / file
            final.parent.mkdir(parents=True, exist_ok=True)
            part = tarball.with_suffix(".part")
            part.write_bytes(held.read())
            part.replace(final)


if __name__ == "__main__":  # for an image, which is built where there is a network
    from app.settings import Settings

    asyncio.run(fetch_modules(Settings().home, structlog.get_logger().info))
