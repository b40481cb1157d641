"""`/v1/products`: what the shop offers."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import access
from app.api.access import Actor
from app.api.amounts import Amount
from app.api.commands import IdempotencyKey, carried_out
from app.commands import catalogue
from streams.events import ProductListed, Variant

router = APIRouter(tags=["catalogue"])

Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00/]+$")]
Name = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00]*$")]


class NewVariant(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: Id = Field(description="the SKU, unique in the shop")
    price: Amount
    options: dict[Name, Name] = {}
    stock: Annotated[int, Field(ge=0, le=10_000_000)] = 0


class NewProduct(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "product_id": "mug",
                "name": "Mug",
                "category": "kitchen",
                "currency": "EUR",
                "variants": [{"id": "mug-blue", "price": "9.90", "stock": 50}],
            }
        },
    )

    product_id: Id
    name: Name
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    description: Annotated[str, Field(max_length=20_000)] | None = None
    category: Annotated[str, Field(max_length=128)] | None = None
    brand: Name | None = None
    variants: Annotated[list[NewVariant], Field(min_length=1, max_length=200)]

    def listed(self) -> ProductListed:
        variants = [Variant(id=v.id, price=v.price, options=v.options) for v in self.variants]
        fields = self.model_dump(exclude={"variants"})
        return ProductListed(**fields, variants=variants)


@router.post("/v1/products", operation_id="products_create", status_code=201)
async def products_create(
    request: Request,
    actor: Annotated[Actor, Depends(access.STAFF)],
    product: NewProduct,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """A product with its variants and opening stock, wholly or not at all."""
    opening = {variant.id: variant.stock for variant in product.variants}
    return await carried_out(
        request,
        actor,
        idempotency_key,
        None,
        lambda work, _: catalogue.create_product(work, product.listed(), opening),
    )
