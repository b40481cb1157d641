"""`/v1/imports`: somebody's own table of sales, CSV or Excel, with whatever columns.

It is looked through, and what its columns are is suggested. Where nothing has to be asked it begins
by itself; `preview` waits for a word. Its sales go into a shop of its own unless `shop` is named.
"""

import asyncio
import csv
import io
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path as FilePath
from typing import Annotated, Any

import asyncpg
import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from app.api import access
from app.api.access import Actor
from app.api.completeness import RETRY
from app.api.problems import Problem, known_parameters
from app.api.uploads import Upload
from app.exports.cells import harmless
from app.imports.carry_out import clear_away, folder_of, said_of
from app.imports.mapping import TARGETS, Correction, Invalid, Mapping, corrected, digest
from app.imports.store import WAITING, Import, Store, new_id, shop_named
from app.imports.tables import Unreadable, check_kind
from app.jobs import queue
from app.jobs.imports import IMPORT
from app.jobs.runner import Runner
from app.settings import Settings
from projections.postgres import AWAY

router = APIRouter(tags=["imports"], dependencies=[Depends(known_parameters)])

_NO_NUL = r"^[^\x00]*$"
_LISTED = 100
_POLL_SECONDS = 0.1
_ROWS_AT_ONCE = 5_000
_UPLOADS = 4
_SILENCE = timedelta(minutes=1)
_SECRET = {"Cache-Control": "no-store"}

Importer = Annotated[Actor, Depends(access.IMPORTERS)]
Id = Annotated[str, Path(max_length=64, pattern=_NO_NUL)]
Wait = Annotated[
    float, Query(ge=0, le=30, description="seconds to wait until it is looked through")
]
_Word = Annotated[str | None, Query(min_length=1, max_length=128, pattern=_NO_NUL)]


class Imports:
    """What the routes need."""

    def __init__(
        self, settings: Settings, pool: "asyncpg.Pool[asyncpg.Record]", runner: Runner
    ) -> None:
        self.settings = settings
        self.store = Store(pool)
        self._runner = runner
        self.uploads = asyncio.Semaphore(_UPLOADS)

    async def find(self, import_id: str, actor: Actor) -> Import:
        """Raises Problem."""
        async with _answering():
            found = await self.store.find(import_id, actor.shop)
        if found is None:
            raise Problem(404, "unknown", f"there is no import {import_id!r} of this shop")
        return found

    async def go_on(self, import_id: str, owner: str) -> None:
        """Has a job done of what comes next. Raises Problem."""
        most = self.settings.jobs_waiting
        try:
            await queue.ask(self.store.pool, IMPORT, owner, {"import_id": import_id}, most=most)
        except queue.TooMany as error:
            raise Problem(429, "too_many_jobs", str(error), headers=RETRY) from None
        self._runner.wake()

    async def looked_through(self, import_id: str, actor: Actor, wait: float) -> Import:
        """As soon as it is known what is in it, or as it is after so many seconds."""
        until = time.monotonic() + wait
        while True:
            found = await self.find(import_id, actor)
            if found.state != "received" or time.monotonic() >= until:
                return found
            await asyncio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """Raises Problem where Postgres is away."""
    try:
        yield
    except AWAY as error:
        detail = "imports cannot be reached now"
        raise Problem(503, "postgres_unavailable", detail, headers=RETRY) from error


def shown(one: Import) -> dict[str, Any]:
    """An import as it is answered."""
    return {
        "import_id": one.import_id,
        "name": one.name,
        "shop": one.shop,
        "state": one.state,
        "detail": one.detail,
        "files": [{"name": file["name"], "bytes": file["bytes"]} for file in one.files],
        "mapping": one.mapping,
        "asked": one.asked,
        "preview": one.preview,
        "progress": {name: value for name, value in one.progress.items() if name not in _OUR_OWN},
        "created_at": one.created_at,
        "updated_at": one.updated_at,
    }


_OUR_OWN = frozenset({"next", "counted", "positions"})

_FILES = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "text/csv": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
PATH = "/v1/imports"


@router.post(PATH, operation_id="imports_create", status_code=201, openapi_extra=_FILES)
async def imports_create(
    request: Request,
    response: Response,
    actor: Importer,
    name: Annotated[_Word, Query(description="of a file that is the body itself")] = None,
    new: Annotated[_Word, Query(description="what the import's own shop is called")] = None,
    preview: Annotated[bool, Query(description="do not begin before it is said")] = False,
    currency: Annotated[str | None, Query(pattern="^[A-Z]{3}$")] = None,
    wait: Wait = 5,
) -> dict[str, Any]:
    """Brings a file, or several that belong together, as a form or as the body itself.

    With `shop` the sales go into that shop; without it into one of their own, named after the file,
    whose figures are asked for with `?shop=` and the answer's `shop`. The same rows again add
    nothing to it.
    """
    response.headers.update(_SECRET)
    imports: Imports = request.app.state.imports
    if request.headers.get("content-type", "").startswith("application/json"):
        raise Problem(415, "content_type", "send the file itself, or a form with it as `file`")
    if imports.uploads.locked():
        raise Problem(503, "overloaded", "too many files are coming in already", headers=RETRY)
    import_id = new_id()
    folder = folder_of(imports.settings, import_id)
    async with imports.uploads:
        folder.mkdir(parents=True, mode=0o700)
        try:
            upload = Upload(folder, imports.settings.import_bytes)
            await upload.take(request, name or "import.csv")
            await asyncio.to_thread(_check_kinds, folder, upload)
            called = name or upload.files[0]["name"]
            into = actor.shop
            if new is not None or "shop" not in request.query_params:
                try:
                    into = shop_named(actor.shop, new or called)
                except ValueError as error:
                    raise Problem(422, "invalid", f"shop: {error}") from None
            said: dict[str, Any] = {"preview": preview}
            if currency is not None:
                said["correction"] = {"currency": currency}
            async with _answering():
                await imports.store.create(import_id, actor.shop, into, called, upload.files, said)
                try:
                    await imports.go_on(import_id, actor.shop)
                except Problem:
                    await imports.store.delete(import_id)
                    raise
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    response.headers["Location"] = f"{PATH}/{import_id}"
    return shown(await imports.looked_through(import_id, actor, wait))


def _check_kinds(folder: FilePath, upload: Upload) -> None:
    """Refuses at once what is plainly no table. Raises Problem."""
    for file in upload.files:
        try:
            check_kind(folder / file["stored"])
        except Unreadable as error:
            raise Problem(422, "no_table", f"{file['name']}: {error}") from None


@router.get(PATH, operation_id="imports_list")
async def imports_list(request: Request, response: Response, actor: Importer) -> dict[str, Any]:
    """The shop's imports, the latest first: at most 100."""
    response.headers.update(_SECRET)
    imports: Imports = request.app.state.imports
    async with _answering():
        await clear_away(imports.settings, imports.store)
        found = await imports.store.listed(actor.shop, _LISTED)
    return {"imports": [shown(one) for one in found], "targets": TARGETS}


@router.get(f"{PATH}/{{import_id}}", operation_id="imports_get")
async def imports_get(
    request: Request, response: Response, actor: Importer, import_id: Id, wait: Wait = 0
) -> dict[str, Any]:
    """What an import is, what is asked of you, how far it is."""
    response.headers.update(_SECRET)
    imports: Imports = request.app.state.imports
    if (await imports.find(import_id, actor)).state in WAITING:
        async with _answering():
            await clear_away(imports.settings, imports.store)
    return shown(await imports.looked_through(import_id, actor, wait))


class Corrected(BaseModel):
    """What the columns are, where that is not what was suggested."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"columns": {"Data": "time:d/m/y", "Obs": ""}, "currency": "BRL"}
        },
    )

    columns: dict[str, Annotated[str, Field(max_length=64)]] = Field(
        {}, max_length=1000,
        description="a target by the column's name, with a format after a colon; empty for none",
    )  # fmt: skip
    decimal: Annotated[str, Field(max_length=1)] | None = None
    currency: Annotated[str, Field(max_length=3)] | None = None
    timezone: Annotated[str, Field(max_length=64)] | None = None
    statuses: dict[str, Annotated[str, Field(max_length=16)]] = Field(
        {}, max_length=100, description="what words mean: sale, pending, cancelled, returned, none"
    )
    encoding: Annotated[str, Field(max_length=40)] | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None


@router.put(f"{PATH}/{{import_id}}/mapping", operation_id="imports_map")
async def imports_map(
    request: Request,
    response: Response,
    actor: Importer,
    import_id: Id,
    corrections: Corrected,
    wait: Wait = 5,
) -> dict[str, Any]:
    """Corrects what the columns are. It is kept for the next file with the same header, and the
    answer is what would be read now."""
    response.headers.update(_SECRET)
    imports: Imports = request.app.state.imports
    found = await imports.find(import_id, actor)
    if found.state != "draft":
        raise _not_now(found, "be corrected", "a draft")
    told = corrections.model_dump(exclude_none=True)
    before = said_of(found.said)
    said = _merged(before, Correction(**told))
    mapping = msgspec.convert(found.mapping, Mapping)
    try:
        corrected(mapping, Correction(**told))
    except Invalid as wrong:
        errors = [{"field": wrong.field, "reason": wrong.reason}]
        raise Problem(422, "invalid", str(wrong), errors) from None
    as_told = {**found.said, "preview": True, "correction": msgspec.to_builtins(said)}
    async with _answering():
        await imports.store.remember(
            actor.shop, digest([one.name for one in mapping.columns]), said
        )
        if not await imports.store.said(import_id, as_told, "received"):
            raise _not_now(found, "be corrected", "a draft")
        try:
            await imports.go_on(import_id, actor.shop)
        except Problem:
            await imports.store.turn(import_id, "draft", before=("received",))
            raise
    return shown(await imports.looked_through(import_id, actor, wait))


def _merged(before: Correction, said: Correction) -> Correction:
    """What was said last holds."""
    kept = {
        name: getattr(said, name) if getattr(said, name) is not None else getattr(before, name)
        for name in ("decimal", "currency", "timezone", "encoding", "delimiter")
    }
    taken = {told.partition(":")[0] for told in said.columns.values() if told}
    columns = {
        name: told for name, told in before.columns.items() if told.partition(":")[0] not in taken
    }
    statuses = {**before.statuses, **said.statuses}
    return Correction(columns={**columns, **said.columns}, statuses=statuses, **kept)


@router.post(f"{PATH}/{{import_id}}/start", operation_id="imports_start", status_code=202)
async def imports_start(
    request: Request, response: Response, actor: Importer, import_id: Id
) -> dict[str, Any]:
    """Begins with an import that waits for a word. What has to be said must have been."""
    response.headers.update(_SECRET)
    imports: Imports = request.app.state.imports
    found = await imports.find(import_id, actor)
    if found.state in ("queued", "running", "applying", "done"):
        return shown(found)
    if blocking := [one for one in found.asked if one.get("blocking")]:
        errors = [{"field": one["field"], "reason": one["reason"]} for one in blocking]
        detail = f"{errors[0]['field']}: {errors[0]['reason']}"
        raise Problem(409, "not_ready", detail, errors)
    async with _answering():
        if not await imports.store.turn(import_id, "queued", before=("draft",)):
            raise _not_now(found, "begin", "a draft")
        try:
            await imports.go_on(import_id, actor.shop)
        except Problem:
            await imports.store.turn(import_id, "draft", before=("queued",))
            raise
    return shown(await imports.find(import_id, actor))


@router.post(f"{PATH}/{{import_id}}/cancel", operation_id="imports_cancel", status_code=202)
async def imports_cancel(
    request: Request, response: Response, actor: Importer, import_id: Id
) -> dict[str, Any]:
    """Ends an import. What it has sent stays in the log: `progress` says how much that is."""
    response.headers.update(_SECRET)
    imports: Imports = request.app.state.imports
    found = await imports.find(import_id, actor)
    async with _answering():
        ended = await imports.store.turn(import_id, "cancelled", before=(*WAITING, "draft"))
    if not ended and found.state != "cancelled":
        raise _not_now(found, "be cancelled", "under way")
    silent = datetime.now(UTC) - found.updated_at > _SILENCE
    if found.state == "draft" or silent:  # nobody is at it who would delete its files
        shutil.rmtree(folder_of(imports.settings, import_id), ignore_errors=True)
    return shown(await imports.find(import_id, actor))


@router.get(
    f"{PATH}/{{import_id}}/rejected.csv",
    operation_id="imports_rejected",
    response_class=Response,
    responses={200: {"content": {"text/csv": {}}}},
)
async def imports_rejected(request: Request, actor: Importer, import_id: Id) -> Response:
    """The rows that were not taken: line, column, value and reason. What a spreadsheet would take
    for a formula stays text in it."""
    imports: Imports = request.app.state.imports
    await imports.find(import_id, actor)

    async def lines() -> AsyncIterator[bytes]:
        yield _as_csv([("line", "column", "value", "reason")])
        after = 0
        while found := await imports.store.rejections(import_id, _ROWS_AT_ONCE, after):
            yield _as_csv([(str(line or ""), *map(harmless, rest)) for line, *rest in found])
            after += len(found)

    headers = {
        **_SECRET,
        "Content-Disposition": f'attachment; filename="{import_id}-rejected.csv"',
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(lines(), media_type="text/csv; charset=utf-8", headers=headers)


def _as_csv(rows: list[tuple[str, ...]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode("utf-8", "replace")


def _not_now(found: Import, what: str, when: str) -> Problem:
    return Problem(409, "not_now", f"it can {what} while it is {when}; it is {found.state}")
