"""`/v1/products`: what the shop offers. Anyone may read it, staff change it."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import access
from app.api.access import Actor, Role
from app.api.amounts import Amount
from app.api.commands import Change, New, carried_out
from app.api.paging import Cursor, Limit, page, parse_cursor
from app.api.problems import Problem, known_parameters
from app.api.reading import reading, versioned
from app.commands import catalogue
from app.commands.catalogue import product_shown
from app.commands.categories import NewCategory
from app.queries import products
from app.queries.products import Found, Stars, Wanted
from streams.events import ProductListed, Variant

router = APIRouter(tags=["catalogue"])

Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00/]+$")]
Name = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00]*$")]
Text = Annotated[str, Field(max_length=20_000, pattern=r"^[^\x00]*$")]
Units = Annotated[int, Field(ge=0, le=10_000_000)]
Options = Annotated[dict[Name, Name], Field(max_length=20)]
Filter = Annotated[str | None, Query(max_length=512, pattern=r"^[^\x00]*$")]

Word = Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[^\x00/]+$")]

STAFFS = frozenset({Role.STAFF, Role.ADMIN})


class NewVariant(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: Id = Field(description="the SKU, unique in the shop")
    price: Amount
    options: Options = {}
    stock: Units = 0


class ProductCategory(BaseModel):
    """A category, and what it is to be where it is new."""

    model_config = ConfigDict(extra="forbid")

    category_id: Id
    name: Name | None = Field(None, description="unset: its id")
    parent: Id | None = None

    def new(self) -> NewCategory:
        return NewCategory(self.category_id, self.name or self.category_id, self.parent)


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
    description: Text | None = None
    category: Id | ProductCategory | None = Field(None, description="made where it is new")
    brand: Name | None = None
    variants: Annotated[list[NewVariant], Field(min_length=1, max_length=200)]

    def listed(self) -> ProductListed:
        variants = [Variant(id=v.id, price=v.price, options=v.options) for v in self.variants]
        fields = self.model_dump(exclude={"variants", "category"})
        category = self.new_category()
        named = category.category_id if category else None
        return ProductListed(**fields, category=named, variants=variants)

    def new_category(self) -> NewCategory | None:
        if isinstance(self.category, str):
            return NewCategory(self.category, self.category)
        return self.category.new() if self.category else None


class ProductChanges(BaseModel):
    """What is not named stays as it is; null takes it away."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "Large mug", "brand": "Potter"}}
    )

    name: Name = ""
    description: Text | None = None
    category: Id | None = Field(None, description="one that is there")
    brand: Name | None = None


class VariantAs(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"price": "11.50", "options": {"colour": "red"}, "stock": 9}},
    )

    price: Amount
    options: Options = {}
    stock: Units = Field(0, description="opening stock, where the variant is new")


@router.post("/v1/products", operation_id="products_create", status_code=201)
async def products_create(
    request: Request,
    actor: Annotated[Actor, Depends(access.STAFF)],
    product: NewProduct,
    sent: New,
) -> Response:
    """A product with its category, variants and opening stock, wholly or not at all."""
    opening = {variant.id: variant.stock for variant in product.variants}
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, _: catalogue.create_product(
            work, product.listed(), opening, product.new_category()
        ),
    )


@router.get(
    "/v1/products",
    operation_id="products_list",
    dependencies=[Depends(known_parameters)],
)
async def products_list(
    request: Request,
    actor: Annotated[Actor, Depends(access.ANYONE)],
    q: Annotated[Filter, Query(description="words, also their beginnings, best first")] = None,
    category: Annotated[Filter, Query(description="and all below it")] = None,
    brand: Filter = None,
    currency: Annotated[str | None, Query(pattern="^[A-Z]{3}$")] = None,
    min_price: Annotated[Amount | None, Query(description="of one variant at least")] = None,
    max_price: Annotated[Amount | None, Query()] = None,
    in_stock: bool | None = None,
    delisted: Annotated[bool, Query(description="what is not offered any more; for staff")] = False,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> dict[str, Any]:
    """What is offered, with how it is rated."""
    if delisted and actor.role not in STAFFS:
        raise Problem(403, "role", "what is not offered any more is for staff to see")
    wanted = Wanted(
        words=q,
        category=category,
        brand=brand,
        currency=currency,
        min_price=min_price,
        max_price=max_price,
        in_stock=in_stock,
        delisted=delisted,
    )
    after = parse_cursor(cursor, tuple[float, str])
    async with reading(request, actor) as states:
        found = await products.listed(states.connection, actor.shop, wanted, after, limit)
        ids = [one.product.product_id for one in found]
        stars = await products.stars_of(states.connection, actor.shop, ids)
    return page(
        found,
        limit,
        lambda one: _shown(one, stars[one.product.product_id]),
        lambda one: (one.rank, one.product.product_id),
        "products",
    )


@router.get("/v1/products/{product_id}", operation_id="products_get")
async def products_get(
    request: Request, actor: Annotated[Actor, Depends(access.ANYONE)], product_id: Word
) -> Response:
    """One product. What is not offered any more staff alone may see."""
    async with reading(request, actor) as states:
        found = await products.find(states.connection, actor.shop, product_id)
        stars = await products.stars_of(states.connection, actor.shop, [product_id])
    if found is None or (found.product.delisted and actor.role not in STAFFS):
        raise unknown(f"product {product_id!r}")
    return versioned(_shown(found, stars[product_id]), found.version)


def unknown(what: str) -> Problem:
    return Problem(404, "unknown", f"there is no {what}")


def _shown(found: Found, stars: Stars) -> dict[str, Any]:
    told = product_shown(found.product)
    for variant in told["variants"]:
        variant["in_stock"] = found.available.get(variant["id"], 0) > 0
    told["rating"] = rating_shown(stars)
    return told


def rating_shown(stars: Stars) -> dict[str, Any]:
    histogram = {str(number): count for number, count in enumerate(stars.counts, 1)}
    return {"average": stars.average, "count": stars.total, "histogram": histogram}


@router.patch("/v1/products/{product_id}", operation_id="products_change")
async def products_change(
    request: Request,
    actor: Annotated[Actor, Depends(access.STAFF)],
    product_id: Word,
    changes: ProductChanges,
    sent: Change,
) -> Response:
    """Other values of the fields that are named."""
    fields = changes.model_dump(exclude_unset=True)
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: catalogue.change_product(work, call, product_id, fields),
    )


@router.delete("/v1/products/{product_id}", operation_id="products_delist")
async def products_delist(
    request: Request,
    actor: Annotated[Actor, Depends(access.STAFF)],
    product_id: Word,
    sent: Change,
    reason: Filter = None,
) -> Response:
    """It is not offered any more; its orders keep it, and it can be relisted."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: catalogue.delist_product(work, call, product_id, reason),
    )


@router.post("/v1/products/{product_id}/relist", operation_id="products_relist")
async def products_relist(
    request: Request,
    actor: Annotated[Actor, Depends(access.STAFF)],
    product_id: Word,
    sent: Change,
) -> Response:
    """It is offered again, as it was."""
    return await carried_out(
        request, actor, sent, lambda work, call: catalogue.relist_product(work, call, product_id)
    )


@router.put("/v1/products/{product_id}/variants/{variant}", operation_id="variants_put")
async def variants_put(
    request: Request,
    actor: Annotated[Actor, Depends(access.STAFF)],
    product_id: Word,
    variant: Word,
    body: VariantAs,
    sent: Change,
) -> Response:
    """One more variant with its opening stock, or one as it is from now on."""
    told = Variant(id=variant, price=body.price, options=body.options)
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: catalogue.put_variant(work, call, product_id, told, body.stock),
    )


@router.delete("/v1/products/{product_id}/variants/{variant}", operation_id="variants_remove")
async def variants_remove(
    request: Request,
    actor: Annotated[Actor, Depends(access.STAFF)],
    product_id: Word,
    variant: Word,
    sent: Change,
) -> Response:
    """It is not sold any more; what there is of it stays in stock."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: catalogue.remove_variant(work, call, product_id, variant),
    )
