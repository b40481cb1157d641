"""Money at the API's edge: a decimal string or a JSON number in, a decimal string out."""

from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from streams import money
from streams.money import Money


def _amount(value: Any) -> Money:
    amount = money.parse(value)
    if amount < 0:
        raise ValueError("expected an amount of zero or more")
    return Money(amount)


Amount = Annotated[
    Money,
    PlainValidator(_amount),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,12}(\.\d{1,4})?$", "examples": ["9.90"]}),
]
"""Exact, in the currency's unit, with at most four decimal places."""
