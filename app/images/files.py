"""Where the images' files are: in the home, or in any store that speaks S3, by setting.

Names say what is in a file, so that it never changes, and the same image is kept once whoever has
it. A file is written before any product names it, and taken away after the last one has let go of
it; of both one happens at a time, by a lock of Postgres on the name.
"""

from pathlib import Path
from typing import Any

import asyncpg
import obstore
from obstore.store import LocalStore, ObjectStore, from_url

from app.commands.work import Connection
from app.images.render import Rendered, file_names

_FOLDER = "images"


class Files:
    """The files of one store. All methods raise OSError and obstore's BaseError."""

    def __init__(self, url: str | None, home: Path) -> None:
        folder = home / _FOLDER
        self._store: ObjectStore = from_url(url) if url else LocalStore(folder, mkdir=True)

    async def keep(self, connection: Connection, rendered: Rendered) -> None:
        """Writes files in the transaction in which a product is given the image."""
        await _lock(connection, rendered.name)
        for name, content in rendered.files.items():
            await obstore.put_async(self._store, name, content)

    async def let_go(self, connection: Connection, image: str) -> bool:
        """Deletes an image's files if no product has it any more, in a transaction of its own."""
        await _lock(connection, image)
        if await connection.fetchval(_NEEDED, image):
            return False
        try:
            await obstore.delete_async(self._store, file_names(image))
        except FileNotFoundError:
            return False  # another one has
        return True

    async def read(self, name: str) -> bytes | None:
        """A file; None where there is none."""
        try:
            found = await obstore.get_async(self._store, name)
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            return None


async def _lock(connection: "Connection | asyncpg.Connection[Any]", image: str) -> None:
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 12))", image)


_NEEDED = "SELECT EXISTS (SELECT FROM products WHERE state -> 'images' ? $1)"
