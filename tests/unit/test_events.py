"""The vocabulary: its names, its spellings, its schemas."""

import re

import msgspec
import pytest

from streams.events import (
    PERSONAL,
    VOCABULARY,
    CouponEntered,
    Kind,
    OrderCompleted,
    canonical,
    schemas,
    subject_of,
)
from streams.topics import TOPICS

# https://segment.com/docs/connections/spec/ecommerce/v2, in its own order.
SEGMENT = (
    "Products Searched",
    "Product List Viewed",
    "Product List Filtered",
    "Promotion Viewed",
    "Promotion Clicked",
    "Product Clicked",
    "Product Viewed",
    "Product Added",
    "Product Removed",
    "Cart Viewed",
    "Checkout Started",
    "Checkout Step Viewed",
    "Checkout Step Completed",
    "Payment Info Entered",
    "Order Completed",
    "Order Updated",
    "Order Refunded",
    "Order Cancelled",
    "Coupon Entered",
    "Coupon Applied",
    "Coupon Denied",
    "Coupon Removed",
    "Product Added to Wishlist",
    "Product Removed from Wishlist",
    "Wishlist Product Added to Cart",
    "Product Shared",
    "Cart Shared",
    "Product Reviewed",
)

PRODUCT = {"product_id", "sku", "category", "name", "brand", "variant", "price", "quantity"}
PRODUCT |= {"coupon", "position", "url", "image_url"}
ORDER = {"order_id", "affiliation", "total", "revenue", "shipping", "tax", "discount"}
ORDER |= {"coupon", "currency", "products"}
STEP = {"checkout_id", "step", "shipping_method", "payment_method"}
COUPON = {"order_id", "cart_id", "coupon_id", "coupon_name"}

# What the spec gives each of them to say.
FIELDS = {
    "ProductsSearched": {"query"},
    "ProductListViewed": {"list_id", "category", "products"},
    "ProductListFiltered": {"list_id", "category", "filters", "sorts", "products"},
    "PromotionViewed": {"promotion_id", "creative", "name", "position"},
    "PromotionClicked": {"promotion_id", "creative", "name", "position"},
    "ProductClicked": PRODUCT,
    "ProductViewed": PRODUCT | {"currency", "value"},
    "ProductAdded": PRODUCT | {"cart_id"},
    "ProductRemoved": PRODUCT | {"cart_id"},
    "CartViewed": {"cart_id", "products"},
    "CheckoutStarted": ORDER - {"total"} | {"value"},
    "CheckoutStepViewed": STEP,
    "CheckoutStepCompleted": STEP,
    "PaymentInfoEntered": STEP | {"order_id"},
    "OrderCompleted": ORDER | {"checkout_id", "subtotal"},
    "OrderUpdated": ORDER,
    "OrderRefunded": ORDER,
    "OrderCancelled": ORDER,
    "CouponEntered": COUPON,
    "CouponApplied": COUPON | {"discount"},
    "CouponDenied": COUPON | {"reason"},
    "CouponRemoved": COUPON | {"discount"},
    "ProductAddedToWishlist": PRODUCT | {"wishlist_id", "wishlist_name"},
    "ProductRemovedFromWishlist": PRODUCT | {"wishlist_id", "wishlist_name"},
    "WishlistProductAddedToCart": PRODUCT | {"wishlist_id", "wishlist_name", "cart_id"},
    "ProductShared": PRODUCT | {"share_via", "share_message", "recipient"},
    "CartShared": {"cart_id", "products", "share_via", "share_message", "recipient"},
    "ProductReviewed": {"product_id", "review_id", "review_body", "rating"},
}


@pytest.mark.parametrize("name", SEGMENT)
def test_every_event_of_segments_spec_is_known_by_its_name(name: str) -> None:
    assert canonical(name) == "".join(word.capitalize() for word in name.split())
    assert canonical(name) in VOCABULARY


@pytest.mark.parametrize("name", FIELDS)
def test_every_event_of_segments_spec_may_say_what_the_spec_lets_it_say(name: str) -> None:
    assert set(VOCABULARY[name].data.__struct_fields__) >= FIELDS[name]


@pytest.mark.parametrize("name", VOCABULARY)
def test_every_event_has_spellings_and_only_its_own(name: str) -> None:
    words = re.findall("[A-Z][a-z]*", name)
    for spelling in (
        name,
        " ".join(words),
        " ".join(words).lower(),
        ".".join(words).lower(),
        "_".join(words).lower(),
        "-".join(words),
        name.upper(),
        f"  {name} ",
    ):
        assert canonical(spelling) == name


@pytest.mark.parametrize(
    ("former", "name"),
    [
        ("Viewed Product Category", "ProductListViewed"),
        ("Viewed Product", "ProductViewed"),
        ("Added Product", "ProductAdded"),
        ("Removed Product", "ProductRemoved"),
        ("Completed Order", "OrderCompleted"),
        ("completed.order", "OrderCompleted"),
        ("Refunded Order", "OrderRefunded"),
    ],
)
def test_names_of_segments_first_spec_are_understood(former: str, name: str) -> None:
    assert canonical(former) == name


@pytest.mark.parametrize("name", ["", " ", "Order", "Order Eaten", "OrderCompletedd", "…", "null"])
def test_a_name_outside_the_vocabulary_is_no_event(name: str) -> None:
    assert canonical(name) is None


@pytest.mark.parametrize("name", VOCABULARY)
def test_every_event_is_named_in_the_past_tense_and_has_a_topic(name: str) -> None:
    kind = VOCABULARY[name]
    assert kind.data.__name__ == name
    assert re.search("(ed|edOut|Paid|Withdrawn|Foreseen|To(Wishlist|Cart)|FromWishlist)$", name)
    assert kind.topic in TOPICS
    assert kind.version >= 1


@pytest.mark.parametrize("name", VOCABULARY)
def test_every_event_has_a_schema_that_says_what_its_struct_says(name: str) -> None:
    kind, schema = VOCABULARY[name], schemas()[name]
    fields = msgspec.structs.fields(kind.data)
    assert schema["title"] == name
    assert schema["x-topic"] == kind.topic
    assert schema["x-version"] == kind.version
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == {field.name for field in fields}
    assert set(schema["required"]) == {field.name for field in fields if field.required}
    assert {field for field, rule in schema["properties"].items() if rule.get("x-personal")} == set(
        PERSONAL.get(name, ())
    )


def test_every_reference_in_a_schema_leads_to_something_in_it() -> None:
    for name, schema in schemas().items():
        text = msgspec.json.encode(schema).decode()
        for target in re.findall(r'"\$ref":"([^"]*)"', text):
            assert target.removeprefix("#/$defs/") in schema["$defs"], name


def test_personal_fields_are_fields_that_may_be_left_out() -> None:
    for name, fields in PERSONAL.items():
        known = {field.name: field for field in msgspec.structs.fields(VOCABULARY[name].data)}
        assert all(not known[field].required for field in fields)


def test_the_subject_is_the_first_id_that_the_event_has() -> None:
    coupon = VOCABULARY["CouponEntered"]
    assert subject_of(coupon, CouponEntered(coupon_id="c", cart_id="cart", order_id="o")) == "cart"
    assert subject_of(coupon, CouponEntered(coupon_id="c", order_id="o")) == "o"
    assert subject_of(coupon, CouponEntered(coupon_id="c")) is None
    order = msgspec.convert(
        {"order_id": "o", "products": [{"product_id": "p", "price": "1.00"}]},
        OrderCompleted,
        dec_hook=lambda kind, value: kind(1),
    )
    assert subject_of(VOCABULARY["OrderCompleted"], order) == "o"
    assert subject_of(Kind(OrderCompleted, "orders"), order) is None
