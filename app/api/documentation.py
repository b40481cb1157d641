"""The documentation that the API serves of itself, without any outside host: what every route may
answer besides, Swagger UI at `/docs` (by fastapi-offline) and ReDoc at `/redoc`."""

import hashlib
from functools import cache
from importlib import resources
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.openapi.docs import get_redoc_html

from app.api import access

router = APIRouter(include_in_schema=False, dependencies=[Depends(access.PUBLIC)])

_FOR_EVER = "public, max-age=31536000, immutable"

# ReDoc's own mark, which it would load from its makers' host.
_OUTSIDE = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
_NOTHING = b"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"

# ReDoc styles itself, searches in a worker, and shows what a schema's examples are in markdown.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; worker-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@cache
def _redoc() -> tuple[str, bytes]:
    """ReDoc's script, without what leads outside, and its version."""
    file = resources.files("fastapi_offline").joinpath("static", "redoc.standalone.js")
    script = file.read_bytes().replace(_OUTSIDE, _NOTHING)
    return hashlib.sha256(script).hexdigest()[:12], script


@router.get("/redoc")
async def redoc(request: Request) -> Response:
    """The documentation, to be read."""
    version, _ = _redoc()
    app: FastAPI = request.app
    page = get_redoc_html(
        openapi_url=str(app.openapi_url),
        title=f"{app.title} - ReDoc",
        redoc_js_url=f"/redoc/{version}.js",
        redoc_favicon_url="/static-offline-docs/favicon.png",
        with_google_fonts=False,
    )
    page.headers["Content-Security-Policy"] = _POLICY
    return page


@router.get("/redoc/{version}.js")
async def redoc_script(version: str) -> Response:
    """What ReDoc is."""
    known, script = _redoc()
    if version != known:
        return Response(status_code=404)
    return Response(script, 200, {"Cache-Control": _FOR_EVER}, "text/javascript")


PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "What is wrong (RFC 9457): `code` is stable, `errors` name each field.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "index": {"type": "integer"},
                    "field": {"type": "string"},
                    "reason": {"type": "string"},
                },
            },
        },
    },
    "example": {
        "type": "about:blank",
        "title": "Something in the request is not valid",
        "status": 422,
        "code": "invalid",
        "detail": "variants: a product is sold in one variant at least",
        "errors": [{"field": "variants", "reason": "a product is sold in one variant at least"}],
    },
}


def describe_problems(app: FastAPI) -> None:
    """Says of every route that what goes wrong is told as a problem."""
    schema = app.openapi()
    schemas = schema["components"].setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for methods in schema["paths"].values():
        for operation in methods.values():
            responses: dict[str, Any] = operation["responses"]
            responses.pop("422", None)
            for status, told in responses.items():
                if status >= "400":
                    told["content"] = content
            responses["4XX"] = {"description": "Refused: nothing was changed", "content": content}
            responses["5XX"] = {"description": "Not now; see `code`", "content": content}
