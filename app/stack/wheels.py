"""Servers that come by pip: found without importing the packages around them."""

from importlib.util import find_spec
from pathlib import Path


def wheel_directory(package: str) -> Path | None:
    """Where an installed package lies, None where it is not installed.

    Only looked up: on import, some of them warn, or make files of their own.
    """
    spec = find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None
