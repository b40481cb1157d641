"""Products: what is decided about what is offered, by example."""

from typing import Any

import pytest

from app.domain.product import (
    MOST_IMAGES,
    MOST_VARIANTS,
    PRODUCT,
    add_image,
    change,
    delist,
    list_product,
    put_variant,
    relist,
    remove_image,
    remove_variant,
)
from app.domain.refusal import Conflict, Invalid, Unknown
from app.queries.products import Stars, search_of
from streams.events import PriceChanged, ProductDelisted, ProductListed, Variant
from streams.money import Money
from tests.deciding import given

BLUE = Variant(id="blue", price=Money(99_000))
RED = Variant(id="red", price=Money(80_000), options={"colour": "red"})


def listed(*variants: Variant, **fields: Any) -> ProductListed:
    """As it is decided: with the lowest price."""
    told = {"product_id": "mug", "name": "Mug", "currency": "EUR", **fields}
    price = Money(min((variant.price for variant in variants), default=0))
    return ProductListed(**told, variants=list(variants), price=price)


def dearer(variant: Variant, price: int) -> Variant:
    return Variant(id=variant.id, options=variant.options, price=Money(price))


def changed(variant: Variant, price: int) -> PriceChanged:
    return PriceChanged(product_id="mug", variant=variant.id, price=Money(price), currency="EUR")


def test_a_product_is_listed_with_its_lowest_price() -> None:
    asked = ProductListed(product_id="mug", name="Mug", currency="EUR", variants=[BLUE, RED])
    given(PRODUCT).when(list_product, asked).then(listed(BLUE, RED))
    assert listed(BLUE, RED).price == RED.price


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (listed(BLUE, name=None), "name"),
        (listed(BLUE, name=" "), "name"),
        (listed(), "variants"),
        (listed(BLUE, BLUE), "variants"),
        (listed(*[Variant(id=str(n), price=Money(1)) for n in range(201)]), "variants"),
    ],
)
def test_a_product_has_a_name_and_variants(asked: ProductListed, field: str) -> None:
    given(PRODUCT).when(list_product, asked).refused(Invalid, field)


def test_a_product_keeps_its_currency() -> None:
    asked = listed(BLUE, currency="USD")
    given(PRODUCT, listed(BLUE)).when(list_product, asked).refused(Conflict, "currency")


def test_a_change_tells_all_of_it_and_no_change_tells_nothing() -> None:
    was = given(PRODUCT, listed(BLUE, brand="Potter", images=["i"]))
    was.when(change, {"name": "Cup"}).then(listed(BLUE, name="Cup", brand="Potter", images=["i"]))
    was.when(change, {"brand": None}).then(listed(BLUE, images=["i"]))
    was.when(change, {"name": "Mug"}).then()
    was.when(change, {"name": None}).refused(Invalid, "name")


def test_a_changed_price_is_told_by_itself_as_well() -> None:
    was = given(PRODUCT, listed(BLUE, RED))
    new = dearer(BLUE, 110_000)
    was.when(put_variant, new).then(changed(BLUE, 110_000), listed(new, RED))
    state = given(PRODUCT, listed(BLUE, RED), changed(BLUE, 110_000)).state
    assert state is not None
    assert state.variant("blue") == new


def test_variants_come_and_go() -> None:
    given(PRODUCT, listed(BLUE)).when(put_variant, RED).then(listed(BLUE, RED))
    given(PRODUCT, listed(BLUE)).when(put_variant, BLUE).then()
    given(PRODUCT, listed(BLUE, RED)).when(remove_variant, "red").then(listed(BLUE))
    given(PRODUCT, listed(BLUE)).when(remove_variant, "red").refused(Unknown, "variant")
    given(PRODUCT, listed(BLUE)).when(remove_variant, "blue").refused(Invalid, "variants")
    many = [Variant(id=str(n), price=Money(1)) for n in range(MOST_VARIANTS)]
    given(PRODUCT, listed(*many)).when(put_variant, RED).refused(Invalid, "variants")


def test_images_come_and_go() -> None:
    given(PRODUCT, listed(BLUE)).when(add_image, "i").then(listed(BLUE, images=["i"]))
    was = given(PRODUCT, listed(BLUE, images=["i", "j"]))
    was.when(add_image, "i").then()
    was.when(remove_image, "i").then(listed(BLUE, images=["j"]))
    was.when(remove_image, "k").refused(Unknown, "image")
    many = [str(n) for n in range(MOST_IMAGES)]
    full = given(PRODUCT, listed(BLUE, images=many))
    full.when(add_image, "i").refused(Conflict, "images")


def test_what_is_delisted_stays_as_it_is_until_it_is_relisted() -> None:
    delisted = ProductDelisted(product_id="mug", reason="season")
    given(PRODUCT, listed(BLUE)).when(delist, "season").then(delisted)
    was = given(PRODUCT, listed(BLUE, category="c"), delisted)
    was.when(delist).then()
    was.when(change, {"name": "Cup"}).refused(Conflict)
    was.when(add_image, "i").refused(Conflict)
    was.when(relist, "c").then(listed(BLUE, category="c"))
    was.when(relist, None).then(listed(BLUE))
    given(PRODUCT, listed(BLUE)).when(relist, None).then()


@pytest.mark.parametrize(
    ("told", "search"),
    [
        ("Blue MUG", "'blue':* & 'mug':*"),
        ("mug-42", "'mug':* & '42':*"),
        ("a & !b | (c <-> 'd'):*", "'a':* & 'b':* & 'c':* & 'd':*"),
        ("snake_case", "'snake':* & 'case':*"),
        ("Öl 茶", "'öl':* & '茶':*"),
        ("x" * 200, f"'{'x' * 100}':*"),
        (
            " ".join("abcdefghijklmnopqrstuvwxyz"),
            " & ".join(f"'{c}':*" for c in "abcdefghijklmnop"),
        ),
        ("", ""),
        ("'\\%_-", ""),
    ],
)
def test_a_search_is_words_alone(told: str, search: str) -> None:
    assert search_of(told) == search


def test_stars_have_an_average() -> None:
    assert Stars().average is None
    assert (Stars((1, 0, 0, 0, 2)).total, Stars((1, 0, 0, 0, 2)).average) == (3, 3.67)
