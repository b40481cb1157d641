"""What commands about orders are told in their requests."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.amounts import Amount
from app.api.coupons import EnteredCode
from app.api.problems import Problem
from app.commands import placing
from streams.events import Address

_NO_NUL = r"^[^\x00]*$"
_MOST_UNITS = 100_000

Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00/]+$")]
Name = Annotated[str, Field(min_length=1, max_length=512, pattern=_NO_NUL)]
Country = Annotated[str, Field(pattern="^[A-Z]{2}$", description="ISO 3166")]
Units = Annotated[int, Field(ge=1, le=_MOST_UNITS, strict=True)]
Reason = Literal["customer", "out_of_stock", "damaged", "wrong_item", "late", "fraud", "other"]
"""Why, in a word: what people write themselves may name people."""


class ShippingAddress(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Name
    lines: Annotated[list[Name], Field(min_length=1, max_length=5)]
    postal_code: Annotated[str, Field(max_length=32, pattern=_NO_NUL)] | None = None
    city: Name
    region: Name | None = None
    country: Country
    phone: Annotated[str, Field(max_length=64, pattern=_NO_NUL)] | None = None


class WantedLine(BaseModel):
    model_config = ConfigDict(extra="forbid")

    variant: Id = Field(description="the SKU")
    quantity: Units


class NewOrder(BaseModel):
    """Either a cart or lines. Where `country` is missing it is the address's."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "lines": [{"variant": "mug-blue", "quantity": 2}],
                "payment_method": "cash_on_delivery",
                "shipping_address": {
                    "name": "Ada Lovelace",
                    "lines": ["1 Example Street"],
                    "postal_code": "10115",
                    "city": "Berlin",
                    "country": "DE",
                },
            }
        },
    )

    cart_id: Id | None = None
    lines: Annotated[list[WantedLine], Field(max_length=100)] = []
    payment_method: Literal["card", "cash_on_delivery"]
    country: Country | None = None
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = Field(
        None, description="refused where the products are sold in another"
    )
    shipping_method: Name | None = None
    shipping_address: ShippingAddress | None = None
    email: Annotated[str, Field(max_length=254, pattern=r"^[^\x00\s@]+@[^\x00\s@]+$")] | None = None
    coupon: EnteredCode | None = None
    user_id: Id | None = Field(None, description="for staff: whose order it is")

    def told(self, order_id: str) -> placing.NewOrder:
        address = self.shipping_address
        return placing.NewOrder(
            order_id=order_id,
            payment_method=self.payment_method,
            cart_id=self.cart_id,
            lines=[(line.variant, line.quantity) for line in self.lines],
            user_id=self.user_id,
            currency=self.currency,
            country=self.country,
            coupon=self.coupon,
            shipping_method=self.shipping_method,
            shipping_address=Address(**address.model_dump()) if address else None,
            email=self.email,
        )


class Cancelled(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"reason": "customer"}})

    reason: Reason = "customer"


class Completed(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"reference": "4711"}})

    reference: Annotated[str, Field(min_length=1, max_length=128, pattern=_NO_NUL)] | None = Field(
        None, description="what it was paid under, such as a transfer's number"
    )


class Shipped(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"shipment_id": "00340434161094021501"}}
    )

    shipment_id: Annotated[str, Field(min_length=1, max_length=128, pattern=_NO_NUL)] | None = None


class Refund(BaseModel):
    """Units of lines, shipping, both; or an amount; or, where nothing is named, all that is left.
    Units that were not shipped yet will not be, and are back in stock."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"lines": [{"variant": "mug-blue", "quantity": 1}]}},
    )

    lines: Annotated[list[WantedLine], Field(max_length=100)] = []
    shipping: bool = False
    amount: Amount | None = None
    reason: Reason = "customer"


class Return(BaseModel):
    """What came back; all, where no lines are named. With `shipping`, that is refunded too."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"lines": [{"variant": "mug-blue", "quantity": 1}]}},
    )

    lines: Annotated[list[WantedLine], Field(max_length=100)] = []
    restock: bool = True
    refund: bool = True
    shipping: bool = False
    reason: Reason = "customer"


CANCELLED = Cancelled()
COMPLETED = Completed()
SHIPPED = Shipped()
ALL_OF_IT = Refund()
ALL_BACK = Return()


def units_of(lines: list[WantedLine]) -> dict[str, int]:
    """Units by variant. Raises Problem where a variant is named twice."""
    found: dict[str, int] = {}
    for place, line in enumerate(lines):
        if line.variant in found:
            errors = [{"field": f"lines.{place}.variant", "reason": "it is asked for twice"}]
            raise Problem(422, "twice", f"{line.variant!r} is asked for twice", errors)
        found[line.variant] = line.quantity
    return found
