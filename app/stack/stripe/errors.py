"""Stripe's errors: which status, and what stands in the body."""

from typing import Any


class StripeError(Exception):
    """A request that failed. `kept` says whether its Idempotency-Key keeps the answer: one that
    failed before anything was tried is free to be mended and sent again."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",  # noqa: A002
        code: str | None = None,
        param: str | None = None,
        kept: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kept = kept
        self._fields = {"code": code, "message": message, "param": param, "type": type, **more}

    @property
    def body(self) -> dict[str, Any]:
        """`{"error": …}`, without what is not told."""
        error = {name: value for name, value in self._fields.items() if value is not None}
        if "code" in error:
            error["doc_url"] = (
                f"https://stripe.com/docs/error-codes/{error['code'].replace('_', '-')}"
            )
        return {"error": error}


def no_such(what: str, id: str, param: str, status: int = 400) -> StripeError:  # noqa: A002
    """What is looked for is not there: 404 where the path names it."""
    return StripeError(status, f"No such {what}: '{id}'", code="resource_missing", param=param)
