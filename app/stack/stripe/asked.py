"""What may be asked for: the parameters of each request, held as strictly as Stripe holds them."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.stack.stripe.errors import StripeError

Text = Annotated[str, Field(max_length=5000)]
Metadata = dict[Annotated[str, Field(max_length=40)], Annotated[str, Field(max_length=500)]]


class Asked(BaseModel):
    """The ground of all: what is not known is refused. `expand` is taken, and nothing expanded."""

    model_config = ConfigDict(extra="forbid")

    expand: list[str] = []


class AutomaticMethods(BaseModel):
    model_config = ConfigDict(extra="forbid")

    enabled: bool
    allow_redirects: Annotated[str, Field(pattern="^(always|never)$")] = "always"


class Confirm(Asked):
    payment_method: Text | None = None
    return_url: Text | None = None
    client_secret: Text | None = None
    off_session: bool = False


class NewIntent(Asked):
    amount: int
    currency: Annotated[str, Field(max_length=3)]
    automatic_payment_methods: AutomaticMethods | None = None
    payment_method_types: list[Text] | None = None
    payment_method: Text | None = None
    confirm: bool = False
    return_url: Text | None = None
    description: Text | None = None
    metadata: Metadata = {}
    off_session: bool = False


class ChangedIntent(Asked):
    description: Text | None = None
    metadata: Metadata = {}


class RetrievedIntent(Asked):
    client_secret: Text | None = None


class Cancel(Asked):
    cancellation_reason: (
        Annotated[str, Field(pattern="^(abandoned|duplicate|fraudulent|requested_by_customer)$")]
        | None
    ) = None


class NewRefund(Asked):
    payment_intent: Text | None = None
    charge: Text | None = None
    amount: int | None = None
    reason: (
        Annotated[str, Field(pattern="^(duplicate|fraudulent|requested_by_customer)$")] | None
    ) = None
    metadata: Metadata = {}


class NewEndpoint(Asked):
    url: Annotated[str, Field(max_length=2048, pattern="^https?://")]
    enabled_events: Annotated[list[Text], Field(min_length=1)]
    description: Text | None = None
    metadata: Metadata = {}


class Since(BaseModel):
    model_config = ConfigDict(extra="forbid")

    gt: int | None = None
    gte: int | None = None
    lt: int | None = None
    lte: int | None = None


class Listed(Asked):
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    starting_after: Text | None = None
    created: Since | None = None


class ListedRefunds(Listed):
    payment_intent: Text | None = None
    charge: Text | None = None


class ListedEvents(Listed):
    type: Text | None = None


A = TypeVar("A", bound=BaseModel)


def read(kind: type[A], given: Mapping[str, Any]) -> A:
    """The parameters of a request. Raises StripeError, in Stripe's words."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise _error(error.errors()[0]) from None


def _error(wrong: Any) -> StripeError:
    first, *inner = map(str, wrong["loc"])
    param = first + "".join(f"[{part}]" for part in inner)
    told = wrong["input"]
    match wrong["type"]:
        case "missing":
            return StripeError(
                400, f"Missing required param: {param}.", code="parameter_missing", param=param
            )
        case "extra_forbidden":
            return StripeError(
                400,
                f"Received unknown parameter: {param}",
                code="parameter_unknown",
                param=param,
            )
        case "int_parsing" | "int_type":
            return StripeError(
                400, f"Invalid integer: {told}", code="parameter_invalid_integer", param=param
            )
        case "bool_parsing":
            return StripeError(
                400,
                f"Invalid boolean: {told}",
                param=param,
            )
    return StripeError(400, f"Invalid {param}: {told}", param=param)
