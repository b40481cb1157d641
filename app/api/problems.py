"""Errors as `application/problem+json` (RFC 9457): what is wrong, where, and what to do."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from projections.conversion import NoRate

logger = structlog.get_logger()

_TITLES = {
    400: "The request cannot be read",
    401: "Who asks is not known",
    403: "Not for whoever asks",
    404: "Not found",
    405: "This method is not allowed here",
    408: "Too slow",
    409: "It is otherwise already",
    412: "It has changed meanwhile",
    413: "Too large",
    415: "Not a form that is read here",
    422: "Something in the request is not valid",
    429: "Too much for now",
    500: "This should not have happened",
    503: "Not available now",
    504: "Not there yet",
}


class Problem(Exception):
    """An answer that is an error. `errors` name an index, a field and a reason each."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})


def answer(problem: Problem) -> Response:
    """A problem as a response."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": _TITLES.get(problem.status, "Error"),
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
    }
    if problem.errors:
        body["errors"] = list(problem.errors)
    return Response(
        orjson.dumps(body),
        problem.status,
        headers=problem.headers,
        media_type="application/problem+json",
    )


def bug(error: Exception) -> Response:
    """What nobody has thought of, as a response."""
    logger.error("a request failed", exc_info=error)
    return answer(Problem(500, "bug", "this is our fault, and was logged"))


async def known_parameters(request: Request) -> None:
    """Refuses a query parameter that a route does not know: a figure with a misspelt filter would
    be another figure. Raises Problem."""
    route = request.scope["route"]
    known = set(_parameters(route.dependant))
    if unknown := [name for name in request.query_params if name not in known]:
        reason = f"unknown; there are {', '.join(sorted(known))}"
        detail = f"{unknown[0]}: {reason}"
        errors = [{"field": name, "reason": reason} for name in unknown]
        raise Problem(422, "invalid", detail, errors)


def _parameters(dependant: Dependant) -> Iterator[str]:
    """What a route may be asked with, and what its rule asks."""
    yield from (field.alias for field in dependant.query_params)
    for one in dependant.dependencies:
        yield from _parameters(one)


_JSON = "application/json"


def _no_json(request: Request, error: RequestValidationError) -> bool:
    """Whether a body was not understood because it does not call itself JSON."""
    told = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    whole = any(tuple(found["loc"]) == ("body",) for found in error.errors())
    return whole and bool(error.body) and told != _JSON and not told.endswith("+json")


def _told(found: Mapping[str, Any]) -> dict[str, str]:
    """One error of pydantic's: its field, or `body` where it is about all of it, and the reason."""
    (where, *within), ctx = found["loc"], found.get("ctx", {})
    if found["type"] == "json_invalid":
        return {"field": where, "reason": f"no JSON, at character {within[0]}: {ctx['error']}"}
    reason = found["msg"].removeprefix("Value error, ")
    if ctx.get("field_type") == "Value":  # a secret, whose characters pydantic calls items
        reason = reason.replace("items after validation", "characters")
    if found["type"] == "extra_forbidden":
        reason = "unknown"
    return {"field": ".".join(map(str, within)) or where, "reason": reason}


def install(app: FastAPI) -> None:
    """Makes every error of an app a problem."""

    async def problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return answer(error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        if _no_json(request, error):
            told = request.headers.get("content-type", "without a name")
            detail = f"Content-Type {told!r} is not read here: send application/json"
            return answer(Problem(415, "content_type", detail, headers={"Accept": _JSON}))
        errors = [_told(found) for found in error.errors()]
        detail = "; ".join(f"{found['field']}: {found['reason']}" for found in errors)
        return answer(Problem(422, "invalid", detail, errors))

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        return answer(Problem(error.status_code, "http", str(error.detail), headers=headers))

    async def no_rate(_: Request, error: Exception) -> Response:
        assert isinstance(error, NoRate)
        errors = [{"field": "into", "reason": str(error)}]
        return answer(Problem(422, "no_rate", str(error), errors))

    async def failed(_: Request, error: Exception) -> Response:
        return bug(error)

    app.add_exception_handler(Exception, failed)
    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(NoRate, no_rate)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
