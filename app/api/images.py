"""`/v1/products/{id}/images` and `/v1/images`: pictures come in as files or by their addresses, and
go out as WebP in some widths."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path as FilePath
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Path, Request, Response
from obstore.exceptions import BaseError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.types import Message

from app.api import access
from app.api.access import Actor
from app.api.commands import Change, carried_out
from app.api.completeness import RETRY
from app.api.problems import Problem
from app.api.products import Word, unknown
from app.commands import catalogue
from app.commands.execute import Answer, Call, Commands
from app.commands.work import Work
from app.images.files import Files
from app.images.outside import Outside
from app.images.render import MOST_BYTES, Rendered, Renderer

logger = structlog.get_logger()
router = APIRouter(tags=["images"])

_FOREVER = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
_FORM_BYTES = 64 * 1024  # of a form around its file
_WAIT_SECONDS = 20.0

Name = Annotated[str, Path(pattern=r"^[0-9a-f]{64}-[0-9]{3,4}\.webp$")]
Image = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


class ImageAddress(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, Field(min_length=1, max_length=2048)]


class Images:
    """What the routes need: the files, who renders them, and the way outside."""

    def __init__(self, url: str | None, home: FilePath) -> None:
        self.files = Files(url, home)
        self.renderer = Renderer()
        self.outside = Outside()


_BODY: dict[str, Any] = {
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
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["url"],
                    "additionalProperties": False,
                    "properties": {"url": {"type": "string", "format": "uri", "maxLength": 2048}},
                },
                "example": {"url": "https://example.com/mug.jpg"},
            },
        },
    }
}


@router.post(
    "/v1/products/{product_id}/images",
    operation_id="images_add",
    status_code=201,
    openapi_extra=_BODY,
)
async def images_add(
    request: Request,
    actor: Annotated[Actor, Depends(access.STAFF)],
    product_id: Word,
    sent: Change,
) -> Response:
    """A picture of a product: a file, as `multipart/form-data`, or a `url` of one, as JSON."""
    images: Images = request.app.state.images
    request = await _whole(request)
    content = await _content(request, images)
    rendered: list[Rendered] = []

    async def handle(work: Work, call: Call) -> Answer:
        if not rendered:  # else this is done again, because another was quicker
            rendered.append(await images.renderer.render(await content()))
        (one,) = rendered
        return await catalogue.add_image(
            work, call, product_id, one.name, lambda held: images.files.keep(held, one)
        )

    try:
        async with asyncio.timeout(_WAIT_SECONDS):
            await images.renderer.turn.acquire()
    except TimeoutError:
        raise Problem(503, "overloaded", "too many images at once", headers=RETRY) from None
    try:
        return await carried_out(request, actor, sent, handle)
    except BaseError as error:
        raise _away() from error
    finally:
        images.renderer.turn.release()


async def _whole(request: Request) -> Request:
    """The request with its body read, within its bounds. Raises Problem."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES + _FORM_BYTES:
            raise Problem(413, "too_large", f"at most {MOST_BYTES // 1024 // 1024} MB")

    async def received() -> Message:
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    found = Request(request.scope, received)
    await found.body()
    return found


async def _content(request: Request, images: Images) -> Callable[[], Awaitable[bytes]]:
    """How to get at the image that was sent or named. Raises Problem."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=1) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise _invalid("file", "expected a file")
            content = await file.read()
        return lambda: _now(content)
    if kind != "application/json":
        raise Problem(415, "content_type", "send multipart/form-data, or JSON with a url")
    try:
        address = ImageAddress.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors()[0]
        raise _invalid(".".join(map(str, first["loc"])) or "url", first["msg"]) from None
    return lambda: images.outside.fetch(address.url, MOST_BYTES)


async def _now(content: bytes) -> bytes:
    return content


@router.delete("/v1/products/{product_id}/images/{image}", operation_id="images_remove")
async def images_remove(
    request: Request,
    actor: Annotated[Actor, Depends(access.STAFF)],
    product_id: Word,
    image: Image,
    sent: Change,
) -> Response:
    """Takes a picture from a product; its files go when no other product has it."""
    response = await carried_out(
        request,
        actor,
        sent,
        lambda work, call: catalogue.remove_image(work, call, product_id, image),
    )
    commands: Commands = request.app.state.commands
    images: Images = request.app.state.images
    try:
        async with commands.pool.acquire(timeout=5) as connection, connection.transaction():
            await images.files.let_go(connection, image)
    except Exception as error:  # the command is done, whatever becomes of the files
        logger.warning("an image's files stay", image=image, error=repr(error))
    return response


@router.get(
    "/v1/images/{name}",
    operation_id="images_get",
    response_class=Response,
    responses={200: {"content": {"image/webp": {}}}},
    dependencies=[Depends(access.PUBLIC)],
)
async def images_get(request: Request, name: Name) -> Response:
    """A picture. What it is called says what is in it: it never changes."""
    images: Images = request.app.state.images
    headers = {**_FOREVER, "ETag": f'"{name}"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    try:
        content = await images.files.read(name)
    except (BaseError, OSError) as error:
        raise _away() from error
    if content is None:
        raise unknown("such image")
    return Response(content, headers=headers, media_type="image/webp")


def _invalid(field: str, reason: str) -> Problem:
    return Problem(422, "invalid", f"{field}: {reason}", [{"field": field, "reason": reason}])


def _away() -> Problem:
    return Problem(503, "images_unavailable", "the images' store does not answer", headers=RETRY)
