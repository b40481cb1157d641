"""`/v1/categories`: the tree that products are sorted into."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import access
from app.api.access import Actor
from app.api.commands import Change, New, carried_out
from app.api.paging import Cursor, Limit, page, parse_cursor
from app.api.problems import known_parameters
from app.api.products import Filter, Id, Name, Word, unknown
from app.api.reading import reading, versioned
from app.commands import categories as commands
from app.commands.categories import Changes, NewCategory
from app.commands.execute import shown
from app.queries import categories

router = APIRouter(tags=["catalogue"])


class CategoryBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"category_id": "home", "name": "Home"}}
    )

    category_id: Id = Field(description="what products, orders and figures name it by, for good")
    name: Name
    parent: Id | None = Field(None, description="the category that it stands below")


class CategoryChanges(BaseModel):
    """What is not named stays as it is; a parent of null moves it to the top."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "At home"}})

    name: Name | None = None
    parent: Id | None = None

    def changes(self) -> Changes:
        return Changes(self.name, "parent" in self.model_fields_set, self.parent)


@router.post("/v1/categories", operation_id="categories_create", status_code=201)
async def categories_create(
    request: Request,
    actor: Annotated[Actor, Depends(access.STAFF)],
    category: CategoryBody,
    sent: New,
) -> Response:
    """A category below another one, or at the top."""
    new = NewCategory(category.category_id, category.name, category.parent)
    return await carried_out(
        request, actor, sent, lambda work, _: commands.create_category(work, new)
    )


@router.get(
    "/v1/categories",
    operation_id="categories_list",
    dependencies=[Depends(known_parameters)],
)
async def categories_list(
    request: Request,
    actor: Annotated[Actor, Depends(access.ANYONE)],
    parent: Annotated[Filter, Query(description="those right below it alone")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """All categories, each with the one that it stands below."""
    (after,) = parse_cursor(cursor, tuple[str]) or ("",)
    async with reading(request, actor) as states:
        found = await categories.listed(states.connection, actor.shop, parent, after, limit)
    return page(
        found,
        limit,
        lambda one: shown(one.category),
        lambda one: (one.category.category_id,),
        "categories",
    )


@router.get("/v1/categories/{category_id}", operation_id="categories_get")
async def categories_get(
    request: Request, actor: Annotated[Actor, Depends(access.ANYONE)], category_id: Word
) -> Response:
    """One category."""
    async with reading(request, actor) as states:
        found = await categories.find(states.connection, actor.shop, category_id)
    if found is None:
        raise unknown(f"category {category_id!r}")
    return versioned(shown(found.category), found.version)


@router.patch("/v1/categories/{category_id}", operation_id="categories_change")
async def categories_change(
    request: Request,
    actor: Annotated[Actor, Depends(access.STAFF)],
    category_id: Word,
    changes: CategoryChanges,
    sent: Change,
) -> Response:
    """Another name, or another place, with all that stands below it."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: commands.change_category(work, call, category_id, changes.changes()),
    )


@router.delete("/v1/categories/{category_id}", operation_id="categories_remove")
async def categories_remove(
    request: Request,
    actor: Annotated[Actor, Depends(access.STAFF)],
    category_id: Word,
    sent: Change,
    products_to: Annotated[Filter, Query(description="where to move its products before")] = None,
) -> Response:
    """Removes a category that is empty, or whose products go to another one."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: commands.remove_category(work, call, category_id, products_to),
    )
