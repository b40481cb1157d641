"""Bodies as Stripe's clients send them: `a[b]=1&c[0]=2`, nested to any depth."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from app.stack.stripe.errors import StripeError

_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_DEEPEST = 8


def nested(body: str) -> dict[str, Any]:
    """What a form says, its lists as lists. Raises StripeError."""
    try:
        pairs = parse_qsl(body, keep_blank_values=True, strict_parsing=bool(body))
    except ValueError as error:
        raise StripeError(400, "Invalid request body") from error
    return _of(pairs)


def _of(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        matched = _KEY.fullmatch(name)
        inner = re.findall(r"\[([^\[\]]*)\]", matched[2]) if matched else []
        if matched is None or len(inner) > _DEEPEST:
            raise StripeError(400, f"Invalid parameter name: {name}", param=name)
        _put(found, [matched[1], *inner], value, name)
    return {name: _lists(value) for name, value in found.items()}


def _put(into: dict[str, Any], path: list[str], value: str, name: str) -> None:
    for part in path[:-1]:
        into = into.setdefault(part or str(len(into)), {})
        if not isinstance(into, dict):
            raise StripeError(400, "Invalid object", param=name)
    into[path[-1] or str(len(into))] = value


def _lists(value: Any) -> Any:
    """Objects whose keys are all numbers, as lists in the order of these."""
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(one) for key, one in value.items()}
    if inner and all(key.isdecimal() for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner
