"""Asking a report by names and text, as a URL or a live query does."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import ValidationError

from app.reports.report import Asked, Report
from streams.codec import Refused


def parameters(report: Report[Any]) -> Sequence[str]:
    """The names of all that a report may be asked with."""
    return list(report.asked.model_json_schema()["properties"])


def asked_of(report: Report[Any], told: Mapping[str, Sequence[str]]) -> Asked:
    """What a report is asked. Raises Refused with the field and the reason."""
    several = _several(report)
    for name, values in told.items():
        if name not in several and len(values) > 1:
            raise Refused(name, "it has one value")
    found = {name: values if name in several else values[0] for name, values in told.items()}
    try:
        asked: Asked = report.asked.model_validate(found)
    except ValidationError as error:
        raise _refused(report, error) from None
    return asked


def _refused(report: Report[Any], error: ValidationError) -> Refused:
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    reason = found["msg"].removeprefix("Value error, ")
    if found["type"] == "extra_forbidden":
        reason = f"unknown; {report.name} is asked with {', '.join(parameters(report))}"
    return Refused(".".join(str(part) for part in found["loc"]), reason)


@cache
def _several(report: Report[Any]) -> Collection[str]:
    """The parameters of a report that take several values, by the names they are asked by."""
    fields = report.asked.model_fields.items()
    return {field.alias or name for name, field in fields if _is_list(field.annotation)}


def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return any(_is_list(one) for one in get_args(annotation))
    found = origin or annotation
    return isinstance(found, type) and issubclass(found, Collection) and found is not str
