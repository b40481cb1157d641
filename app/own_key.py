"""Keys that this installation signs with: as they are set, else made when first needed."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def own_key(told: str | None, file: Path) -> bytes:
    """The key as told, else what is in a file of the home, which nobody else may read."""
    if told:
        return told.encode()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        # Linked into place whole: another process may be looking for it at this moment.
        new = file.with_name(f".{file.name}.{os.getpid()}")
        new.touch(mode=0o600)
        try:
            new.write_text(secrets.token_hex(32))
            file.hardlink_to(new)
        finally:
            new.unlink()
    return file.read_text().encode()
