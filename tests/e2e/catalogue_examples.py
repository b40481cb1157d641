"""What the examples of the catalogue's commands need before they can be carried out."""

import io
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from PIL import Image

from app.api.access import Role
from app.domain.review import review_id
from app.images.render import render
from tests.e2e.service import Service
from tests.e2e.test_commands import bearer


@dataclass
class Stage:
    """A shop of its own, and a client for everybody who has something to do there."""

    service: Service
    client: httpx2.AsyncClient
    shop: str

    async def send(
        self, method: str, path: str, role: Role = Role.STAFF, **sent: Any
    ) -> httpx2.Response:
        """What is answered, which is no refusal."""
        headers = bearer(self.service, role, BUYER, self.shop)
        answer = await self.client.request(
            method, path, params={"shop": self.shop}, headers=headers, **sent
        )
        assert answer.is_success, (method, path, answer.text)
        return answer


Prepare = Callable[[Stage], Awaitable[None]]

BUYER = "s-1"
ONE = {"product_id": "mug"}
RED = {**ONE, "variant": "mug-red"}
BLUE = {"variant": "mug-blue"}
REVIEW = {**ONE, "review_id": review_id("mug", BUYER)}

_MUG = {
    "product_id": "mug",
    "name": "Mug",
    "currency": "EUR",
    "variants": [{"id": "mug-blue", "price": "9.90", "stock": 50}, {"id": "mug-red", "price": "9"}],
}


def _picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(out, "PNG")
    return out.getvalue()


async def nothing(_: Stage) -> None: ...


async def mug(stage: Stage) -> None:
    await stage.send("POST", "/v1/products", json=_MUG)


async def home(stage: Stage) -> None:
    await stage.send("POST", "/v1/categories", json={"category_id": "home", "name": "Home"})


async def reviewed(stage: Stage) -> None:
    await mug(stage)
    await stage.send("POST", "/v1/products/mug/reviews", Role.CUSTOMER, json={"rating": 1})


async def pictured(stage: Stage) -> None:
    await mug(stage)
    await stage.send("POST", "/v1/products/mug/images", files={"file": _picture()})


async def delisted(stage: Stage) -> None:
    await mug(stage)
    await stage.send("DELETE", "/v1/products/mug")


CATALOGUE: Mapping[str, tuple[Prepare, Mapping[str, str]]] = {
    "products_create": (nothing, {}),
    "products_change": (mug, ONE),
    "products_delist": (mug, ONE),
    "products_relist": (delisted, ONE),
    "variants_put": (mug, RED),
    "variants_remove": (mug, RED),
    "images_remove": (pictured, {**ONE, "image": render(_picture()).name}),
    "categories_create": (nothing, {}),
    "categories_change": (home, {"category_id": "home"}),
    "categories_remove": (home, {"category_id": "home"}),
    "stock_receive": (mug, BLUE),
    "stock_adjust": (mug, BLUE),
    "stock_threshold": (mug, BLUE),
    "reviews_create": (mug, ONE),
    "reviews_edit": (reviewed, REVIEW),
    "reviews_retract": (reviewed, REVIEW),
    "reviews_moderate": (reviewed, REVIEW),
}

BUYERS = {"reviews_create", "reviews_edit", "reviews_retract"}
