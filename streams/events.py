"""What can happen in a shop: the envelope and the vocabulary.

Names are those of Segment's e-commerce spec (v2) where it has one, our own past tense otherwise.
The envelope is shaped like a CloudEvent. Personal fields and free text never stand in `data` on
the log: intake moves those named in `PERSONAL` into `sealed`, encrypted with that person's key.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from streams.money import Money, SignedMoney

LONGEST_ID = 128
Id = Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]
Name = Annotated[str, Meta(max_length=512)]
Category = Annotated[str, Meta(max_length=128)]
Text = Annotated[str, Meta(max_length=20_000)]
Time = Annotated[datetime, Meta(tz=True)]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217")]
Country = Annotated[str, Meta(min_length=1, max_length=64, description="ISO 3166, or a name")]
Quantity = Annotated[int, Meta(ge=1, le=10_000_000)]
Position = Annotated[int, Meta(ge=0, le=1_000_000)]
Stars = Annotated[int, Meta(ge=1, le=5)]


class Context(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Where an event came from, reduced to what figures ask: no address, no browser.

    `source` is the channel or campaign that brought the visitor, `country` where they were as far
    as anybody said so, `visitor` who it was where the event's subject is a cart or an order.
    """

    source: Annotated[str, Meta(max_length=128)] | None = None
    country: Country | None = None
    visitor: Annotated[str, Meta(min_length=1, max_length=128, pattern="^[^@]*$")] | None = None
    bot: bool = False


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One fact on the log. `data` is the JSON of the type's own struct, decoded on demand."""

    id: Id
    type: str
    shop: Id
    subject: Id
    time: Time
    received_at: Time
    data: Raw
    source: Id = "api"
    version: Annotated[int, Meta(ge=1)] = 1
    person: Id | None = None
    correlation_id: Id | None = None
    causation_id: Id | None = None
    sealed: str | None = None
    context: Context | None = None


class Data(
    Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """The ground of every event's own fields. Unknown fields are refused, never dropped."""


class Product(Data, frozen=True, kw_only=True):
    product_id: Id
    sku: Name | None = None
    category: Category | None = None
    name: Name | None = None
    brand: Name | None = None
    variant: Name | None = None
    price: Money | None = None
    quantity: Quantity = 1
    coupon: Name | None = None
    position: Position | None = None
    url: Name | None = None
    image_url: Name | None = None
    recommendation_id: Id | None = None  # the answer that led to it


class Line(Product, frozen=True, kw_only=True):
    """A product as sold: its price of one unit is needed; discount and tax are the whole line's."""

    price: Money
    discount: Money | None = None
    tax: Money | None = None
    tax_rate: Name | None = None


class Address(Data, frozen=True, kw_only=True):
    """Where something is sent, as it is written on the parcel. Personal, all but its country."""

    name: Name | None = None
    lines: Annotated[list[Name], Meta(min_length=1, max_length=5)]
    postal_code: Annotated[str, Meta(max_length=32)] | None = None
    city: Name
    region: Name | None = None
    country: Country
    phone: Annotated[str, Meta(max_length=64)] | None = None


class OrderFields(Data, frozen=True, kw_only=True):
    """Segment's order: `revenue` excludes shipping and tax, `total` includes everything."""

    order_id: Id
    checkout_id: Id | None = None
    affiliation: Name | None = None
    subtotal: Money | None = None
    total: Money | None = None
    revenue: Money | None = None
    shipping: Money | None = None
    tax: Money | None = None
    discount: Money | None = None
    coupon: Name | None = None
    currency: Currency | None = None
    country: Country | None = None
    channel: Name | None = None


# Browsing: keyed by visitor.


class ProductsSearched(Data, frozen=True, kw_only=True):
    query: Text | None = None


class ProductListViewed(Data, frozen=True, kw_only=True):
    list_id: Name | None = None
    category: Category | None = None
    products: list[Product] = []


class Criterion(Data, frozen=True, kw_only=True):
    type: Name
    value: Name


class ProductListFiltered(ProductListViewed, frozen=True, kw_only=True):
    filters: list[Criterion] = []
    sorts: list[Criterion] = []


class PromotionViewed(Data, frozen=True, kw_only=True):
    promotion_id: Id
    creative: Name | None = None
    name: Name | None = None
    position: Name | None = None


class PromotionClicked(PromotionViewed, frozen=True, kw_only=True):
    pass


class ProductClicked(Product, frozen=True, kw_only=True):
    currency: Currency | None = None


class ProductViewed(Product, frozen=True, kw_only=True):
    currency: Currency | None = None
    value: Money | None = None


class ProductAddedToWishlist(Product, frozen=True, kw_only=True):
    wishlist_id: Id | None = None
    wishlist_name: Name | None = None


class ProductRemovedFromWishlist(ProductAddedToWishlist, frozen=True, kw_only=True):
    pass


class WishlistProductAddedToCart(ProductAddedToWishlist, frozen=True, kw_only=True):
    cart_id: Id | None = None


class ProductShared(Product, frozen=True, kw_only=True):
    share_via: Name | None = None
    share_message: Text | None = None
    recipient: Text | None = None


class CartShared(Data, frozen=True, kw_only=True):
    cart_id: Id
    products: list[Product] = []
    share_via: Name | None = None
    share_message: Text | None = None
    recipient: Text | None = None


# Recommendations: keyed by visitor, or by person. `answer_id` is that of the API's answer, which
# names its placement and policy: `home.mixed.0198f1c2…`.


class ExploredSlot(Data, frozen=True, kw_only=True):
    """A place of an answer that was drawn by lot: what each arm had put there, with the chance that
    it had to be drawn. `features` are what the bandit knew of whom the answer was for."""

    position: Position
    arm: Name
    products: Annotated[dict[Name, Id], Meta(max_length=16)]
    propensities: Annotated[dict[Name, float], Meta(max_length=16)]
    features: Annotated[dict[Name, float], Meta(max_length=32)] = {}


class RecommendationsServed(Data, frozen=True, kw_only=True):
    """An answer that explored, or that was drawn as a sample. `arms` are those of experiments."""

    answer_id: Id
    placement: Name
    policy: Name
    products: Annotated[list[Id], Meta(max_length=100)]
    explored: Annotated[list[ExploredSlot], Meta(max_length=10)] = []
    arms: Annotated[dict[Name, Name], Meta(max_length=16)] = {}


class RecommendationsViewed(Data, frozen=True, kw_only=True):
    """These products of an answer were seen."""

    answer_id: Id
    products: Annotated[list[Id], Meta(min_length=1, max_length=100)]


class RecommendationClicked(Data, frozen=True, kw_only=True):
    answer_id: Id
    product_id: Id
    position: Position | None = None


# Carts: keyed by cart.


class ProductAdded(Product, frozen=True, kw_only=True):
    cart_id: Id
    currency: Currency | None = None


class ProductRemoved(ProductAdded, frozen=True, kw_only=True):
    pass


class CartViewed(Data, frozen=True, kw_only=True):
    cart_id: Id
    products: list[Product] = []
    currency: Currency | None = None


class CouponEntered(Data, frozen=True, kw_only=True):
    cart_id: Id | None = None
    order_id: Id | None = None
    coupon_id: Id
    coupon_name: Name | None = None


class CouponApplied(CouponEntered, frozen=True, kw_only=True):
    discount: Money | None = None


class CouponRemoved(CouponApplied, frozen=True, kw_only=True):
    pass


class CouponDenied(CouponEntered, frozen=True, kw_only=True):
    reason: Name | None = None


class CartOpened(Data, frozen=True, kw_only=True):
    """An empty cart, of the event's person where there is one."""

    cart_id: Id


class CartRepriced(Data, frozen=True, kw_only=True):
    """The shopper has seen these prices, which have changed since the products were added."""

    cart_id: Id
    products: Annotated[list[Line], Meta(min_length=1)]


class CartAbandoned(Data, frozen=True, kw_only=True):
    """Nothing has happened to a cart for long; `value` is that of its lines, as they were shown."""

    cart_id: Id
    products: list[Line] = []
    value: Money | None = None
    currency: Currency | None = None


class CartRevived(Data, frozen=True, kw_only=True):
    """The shopper has come back to an abandoned cart."""

    cart_id: Id


class CartMerged(Data, frozen=True, kw_only=True):
    """What was in this cart is in the shopper's other one from now on."""

    cart_id: Id
    into_cart_id: Id


class CartCheckedOut(Data, frozen=True, kw_only=True):
    cart_id: Id
    order_id: Id


# Checkout and orders: keyed by order.


class CheckoutStarted(OrderFields, frozen=True, kw_only=True):
    value: Money | None = None
    products: list[Product] = []
    cart_id: Id | None = None


class CheckoutStepViewed(Data, frozen=True, kw_only=True):
    checkout_id: Id
    order_id: Id | None = None
    step: Position | None = None
    shipping_method: Name | None = None
    payment_method: Name | None = None


class CheckoutStepCompleted(CheckoutStepViewed, frozen=True, kw_only=True):
    pass


class PaymentInfoEntered(CheckoutStepViewed, frozen=True, kw_only=True):
    pass


class OrderPlaced(OrderFields, frozen=True, kw_only=True):
    """The shopper has ordered; it is no sale before OrderCompleted."""

    products: Annotated[list[Line], Meta(min_length=1)]
    shipping_tax: Money | None = None
    cart_id: Id | None = None
    payment_method: Name | None = None
    shipping_method: Name | None = None
    email: Annotated[str, Meta(max_length=254)] | None = None
    shipping_address: Address | None = None


class OrderCompleted(OrderFields, frozen=True, kw_only=True):
    """A sale: paid, or cash on delivery accepted."""

    products: Annotated[list[Line], Meta(min_length=1)]
    cart_id: Id | None = None


class OrderUpdated(OrderFields, frozen=True, kw_only=True):
    """The whole order as it is now; its lines replace the earlier ones."""

    products: list[Line] = []


class OrderPaid(Data, frozen=True, kw_only=True):
    order_id: Id
    payment_id: Id | None = None
    amount: Money | None = None
    currency: Currency | None = None
    method: Name | None = None


class PaymentRequested(Data, frozen=True, kw_only=True):
    """The payment provider was asked for the order's total; `payment_id` is its own."""

    order_id: Id
    payment_id: Id
    amount: Money
    currency: Currency


class PaymentFailed(Data, frozen=True, kw_only=True):
    """The payment did not come about. The shopper may try again, under the same id too."""

    order_id: Id
    payment_id: Id
    reason: Name | None = None


class RefundRequested(Data, frozen=True, kw_only=True):
    """Of this payment so much is to be given back; the provider knows it by `refund_id`."""

    order_id: Id
    refund_id: Id
    payment_id: Id
    amount: Money
    currency: Currency


class PaymentRefunded(Data, frozen=True, kw_only=True):
    """The money was given back; without `payment_id` by hand."""

    order_id: Id
    refund_id: Id
    payment_id: Id | None = None
    amount: Money
    currency: Currency


class RefundFailed(Data, frozen=True, kw_only=True):
    """The provider could not give the money back: it is to be requested again, or done by hand."""

    order_id: Id
    refund_id: Id
    reason: Name | None = None


class OrderShipped(Data, frozen=True, kw_only=True):
    order_id: Id
    shipment_id: Id | None = None


class OrderDelivered(OrderShipped, frozen=True, kw_only=True):
    pass


class OrderCancelled(OrderFields, frozen=True, kw_only=True):
    products: list[Product] = []
    reason: Name | None = None


class RefundShare(Data, frozen=True, kw_only=True):
    """What of a refund falls to one line: units, if they are not kept, an amount and its tax."""

    variant: Name
    quantity: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    amount: Money
    tax: Money


class OrderRefunded(OrderFields, frozen=True, kw_only=True):
    """Money back: the lines', else `revenue`, else `total`, else all that is left.

    `shares` say the same exactly, by line; `tax` includes `shipping_tax`.
    """

    refund_id: Id | None = None
    products: list[Line] = []
    reason: Name | None = None
    shipping_tax: Money | None = None
    shares: list[RefundShare] = []


class OrderReturned(Data, frozen=True, kw_only=True):
    """Units came back to the shop; whether money goes the other way is told by OrderRefunded."""

    order_id: Id
    return_id: Id
    products: Annotated[list[Product], Meta(min_length=1)]
    restocked: bool = False
    reason: Name | None = None


class SalesAdjusted(Data, frozen=True, kw_only=True):
    """A correction of the books that is neither sale nor refund, such as a bad debt."""

    order_id: Id
    amount: SignedMoney
    currency: Currency | None = None
    country: Country | None = None
    reason: Name | None = None


# Catalogue and stock: keyed by product.


class Variant(Data, frozen=True, kw_only=True):
    """A form in which a product is sold. Its id is unique in the shop: the SKU."""

    id: Id
    options: dict[Name, Name] = {}
    price: Money
    barcode: Name | None = None


class ProductListed(Data, frozen=True, kw_only=True):
    """A product is for sale, as described; said again, it replaces what was said before."""

    product_id: Id
    name: Name | None = None
    category: Category | None = None
    brand: Name | None = None
    variant: Name | None = None
    sku: Name | None = None
    price: Money | None = None
    currency: Currency | None = None
    url: Name | None = None
    image_url: Name | None = None
    description: Text | None = None
    variants: Annotated[list[Variant], Meta(max_length=200)] = []
    images: Annotated[list[Name], Meta(max_length=50)] = []


class ProductDelisted(Data, frozen=True, kw_only=True):
    product_id: Id
    reason: Name | None = None


class PriceChanged(Data, frozen=True, kw_only=True):
    product_id: Id
    variant: Name | None = None
    price: Money
    currency: Currency | None = None


class StockReceived(Data, frozen=True, kw_only=True):
    product_id: Id
    variant: Name | None = None
    quantity: Quantity
    reason: Name | None = None


class StockAdjusted(Data, frozen=True, kw_only=True):
    """A count, a write-off, a gift: stock changes by `quantity`, which may be negative."""

    product_id: Id
    variant: Name | None = None
    quantity: Annotated[int, Meta(ge=-10_000_000, le=10_000_000)]
    reason: Name | None = None


class StockReserved(StockReceived, frozen=True, kw_only=True):
    order_id: Id


class StockReleased(StockReserved, frozen=True, kw_only=True):
    pass


class StockShipped(StockReserved, frozen=True, kw_only=True):
    pass


class StockThresholdChanged(Data, frozen=True, kw_only=True):
    """Stock is low at so many available units, or never where there is none."""

    product_id: Id
    variant: Name
    threshold: Annotated[int, Meta(ge=0, le=10_000_000)] | None = None


class LowStockReached(Data, frozen=True, kw_only=True):
    """What is available has fallen to the threshold; said once per crossing."""

    product_id: Id
    variant: Name
    available: int
    threshold: int


# What is added to prices and taken off: keyed by coupon, and by country.


class CouponTerms(Data, frozen=True, kw_only=True):
    """What a coupon takes off, `percent` or `amount`, when, and of what. Times are half-open."""

    coupon_id: Id
    name: Name | None = None
    percent: Annotated[str, Meta(pattern=r"^\d{1,3}(\.\d{1,4})?$")] | None = None
    amount: Money | None = None
    currency: Currency | None = None
    valid_from: Time | None = None
    valid_until: Time | None = None
    minimum: Money | None = None
    limit: Quantity | None = None
    limit_per_customer: Quantity | None = None
    categories: Annotated[list[Category], Meta(max_length=200)] = []
    product_ids: Annotated[list[Id], Meta(max_length=200)] = []


class CouponIssued(CouponTerms, frozen=True, kw_only=True):
    pass


class CouponChanged(CouponTerms, frozen=True, kw_only=True):
    """All its terms, as they are from now on."""


class CouponDisabled(Data, frozen=True, kw_only=True):
    coupon_id: Id
    reason: Name | None = None


class CouponRedeemed(Data, frozen=True, kw_only=True):
    """An order was placed with it, by the event's person."""

    coupon_id: Id
    order_id: Id
    discount: Money | None = None
    currency: Currency | None = None


class CouponReleased(CouponRedeemed, frozen=True, kw_only=True):
    """That order was cancelled: it counts no more."""


class TaxRate(Data, frozen=True, kw_only=True):
    """A share of the price (`"0.19"`) of a category's products, or of all others'."""

    category: Category | None = None
    rate: Annotated[str, Meta(pattern=r"^\d(\.\d{1,6})?$")]
    valid_from: Time | None = None
    valid_until: Time | None = None


class TaxRatesChanged(Data, frozen=True, kw_only=True):
    """All rates of a country, as they are from now on."""

    country: Country
    rates: Annotated[list[TaxRate], Meta(max_length=500)]


class ShippingRate(Data, frozen=True, kw_only=True):
    """What a way of shipping costs; nothing from goods of `free_from` on."""

    method: Name
    amount: Money
    currency: Currency
    free_from: Money | None = None


class ShippingRatesChanged(Data, frozen=True, kw_only=True):
    """All rates of a country, or of those without any (`*`), as they are from now on."""

    country: Country
    rates: Annotated[list[ShippingRate], Meta(max_length=500)]


class ProductReviewed(Data, frozen=True, kw_only=True):
    product_id: Id
    review_id: Id | None = None
    review_body: Text | None = None
    rating: Stars
    verified: bool | None = None  # whether an order of theirs has the product


class ReviewEdited(Data, frozen=True, kw_only=True):
    """The whole review as it is from now on."""

    product_id: Id
    review_id: Id
    review_body: Text | None = None
    rating: Stars
    verified: bool | None = None


class ReviewRetracted(Data, frozen=True, kw_only=True):
    product_id: Id
    review_id: Id


class ReviewModerated(Data, frozen=True, kw_only=True):
    """The shop hides a review, or shows it again; `reason` is for its author, too."""

    product_id: Id
    review_id: Id
    hidden: bool
    reason: Name | None = None


# Categories: keyed by category. What `category` says in other events is this id, so that a new
# name or place leaves the figures of a category together.


class CategoryAdded(Data, frozen=True, kw_only=True):
    category_id: Category
    name: Name
    parent: Category | None = None


class CategoryRenamed(Data, frozen=True, kw_only=True):
    category_id: Category
    name: Name


class CategoryMoved(Data, frozen=True, kw_only=True):
    """It stands below another one from now on, or at the top."""

    category_id: Category
    parent: Category | None = None


class CategoryRemoved(Data, frozen=True, kw_only=True):
    category_id: Category


# Accounts: keyed by person. A password, and what is made of one, is in none of them.

Role = Literal["customer", "staff", "admin"]


class AccountRegistered(Data, frozen=True, kw_only=True):
    """Somebody has an account: they are the person `user_id` from now on."""

    user_id: Id
    role: Role = "customer"
    country: Country | None = None
    email: Annotated[str, Meta(max_length=254)] | None = None
    name: Name | None = None
    phone: Annotated[str, Meta(max_length=64)] | None = None


class ProfileChanged(Data, frozen=True, kw_only=True):
    """The whole profile as it is now."""

    user_id: Id
    country: Country | None = None
    name: Name | None = None
    phone: Annotated[str, Meta(max_length=64)] | None = None


class AddressAdded(Data, frozen=True, kw_only=True):
    user_id: Id
    address_id: Id
    address: Address | None = None


class AddressChanged(AddressAdded, frozen=True, kw_only=True):
    pass


class AddressRemoved(Data, frozen=True, kw_only=True):
    user_id: Id
    address_id: Id


class DefaultAddressChanged(Data, frozen=True, kw_only=True):
    """Which address is taken where none is named; none where there is no address left."""

    user_id: Id
    address_id: Id | None = None


class RoleChanged(Data, frozen=True, kw_only=True):
    user_id: Id
    role: Role


class PasswordChanged(Data, frozen=True, kw_only=True):
    """That it was changed, and nothing of it."""

    user_id: Id


class AccountClosed(Data, frozen=True, kw_only=True):
    user_id: Id


class PersonErased(Data, frozen=True, kw_only=True):
    """Nothing that is kept says any more who this person was; their key is destroyed. `visitors`
    are the names that they went by in a browser, erased with them."""

    user_id: Id
    visitors: list[Id] = []


# The shop's days and months, as Tillstream itself closes them: keyed by the day, by the month.


class DayFigure(Data, frozen=True, kw_only=True):
    """One series' value on one day. `key` is empty where the level is `total`. `parent` is what it
    lies in, as was known by then: a variant's product, a product's category."""

    level: Name
    key: Name = ""
    currency: Currency
    gross: Money
    discounts: Money
    refunds: Money
    net: SignedMoney
    orders: int
    units: int
    parent: Name = ""


class DayClosed(Data, frozen=True, kw_only=True):
    """A day of the shop is over: the value of every series that it has had, zeros included.

    `positions` are the offsets (`orders:3` → the next one) up to which these values are complete.
    `revision` counts the day's corrections. What is too much for one event comes in `parts`.
    By the shop's clock it `begins` and `ends` at these instants.
    `country` is where the shop was: whose holidays its days have.
    """

    date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    positions: dict[str, int]
    figures: list[DayFigure]
    revision: int = 0
    part: int = 1
    parts: int = 1
    begins: Time | None = None
    ends: Time | None = None
    country: Name | None = None


class DayCorrected(DayClosed, frozen=True, kw_only=True):
    """What came late changed a closed day: the new absolute values of the series that changed."""


class MonthClosed(Data, frozen=True, kw_only=True):
    """All days of a month of the shop are closed: the sum of every series over them, zeros too.

    `days` says which days these are, each as it was told at that revision. `revision` counts the
    month's corrections. What is too much for one event comes in `parts`.
    """

    month: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}$")]
    days: dict[str, int]
    figures: list[DayFigure]
    revision: int = 0
    part: int = 1
    parts: int = 1


class MonthCorrected(MonthClosed, frozen=True, kw_only=True):
    """Days of a closed month were corrected: the new absolute sums of the series that changed."""


# What amounts of one currency are worth in another: dated, and said by the staff.


class CurrencyRate(Data, frozen=True, kw_only=True):
    """From this day of the shop on, until the next day of which something is said. Without a rate,
    what was said of the day is withdrawn."""

    day: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    rate: Annotated[str, Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,12})?$")] | None = None


class CurrencyRatesChanged(Data, frozen=True, kw_only=True):
    """1 unit of `currency` is so much `into` another. Of days that are not named, what was said
    before holds on; the days are of one year."""

    currency: Currency
    into: Currency
    rates: Annotated[list[CurrencyRate], Meta(min_length=1, max_length=366)]


# What is known ahead of the shop's days: planned by the staff.

_CalendarDay = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
CalendarKind = Literal["closed", "promotion", "price"]
SalesLevel = Literal["total", "country", "category", "product", "variant"]


class CalendarEntryPlanned(Data, frozen=True, kw_only=True):
    """What is known of the days from `first` to `last`, both included; said again under its id, it
    replaces what was said before.

    It holds for all that `key` has at this `level`: by default for the whole shop. `value` is of a
    price its ratio to the usual one (`"0.8"`), of a promotion its strength, where 1 is usual.
    """

    entry_id: Id
    kind: CalendarKind
    first: _CalendarDay
    last: _CalendarDay
    level: SalesLevel = "total"
    key: Name = ""
    value: Annotated[str, Meta(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6})?$")] = "1"
    name: Name | None = None


class CalendarEntryWithdrawn(Data, frozen=True, kw_only=True):
    """It is not going to be so."""

    entry_id: Id


# Experiments: what falls to whom, decided by the staff, and who came to see it.

ExperimentUnit = Literal["visitor", "person"]
# Orders and what they come to, for each unit; or the share of units of whom an event tells.
ExperimentMetric = Literal[
    "conversion",
    "orders",
    "revenue",
    "refunds",
    "ProductClicked",
    "ProductAddedToWishlist",
    "ProductAdded",
    "CheckoutStarted",
]
_ArmName = Annotated[str, Meta(min_length=1, max_length=64)]


class ExperimentArm(Data, frozen=True, kw_only=True):
    """One of the ways that an experiment compares: the flag's `value` for those to whom it falls,
    who are so many in proportion as its `weight`."""

    name: _ArmName
    weight: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    value: Name | None = None


class ExperimentSpan(Data, frozen=True, kw_only=True):
    """An arm has all places of units from where the span before ends up to `until`, excluded."""

    arm: _ArmName
    until: Annotated[int, Meta(ge=1, le=1_000_000)]


class GuardRail(Data, frozen=True, kw_only=True):
    """What no arm may harm: fall (of refunds: rise) by more than `margin` of the control's."""

    metric: ExperimentMetric
    margin: Annotated[str, Meta(pattern=r"^0(\.[0-9]{1,6})?$")] = "0"


class ExperimentTerms(Data, frozen=True, kw_only=True):
    """All of an experiment, as it is from now on. The first arm is the control.

    `spans` say where among a million places each arm lies: whoever has them needs no history to
    tell a unit's arm. `traffic` is the share of units that take part, `alpha` how likely at most
    it is ever to see a difference where there is none.
    """

    experiment_id: Id
    flag: Annotated[str, Meta(min_length=1, max_length=128)]
    arms: Annotated[list[ExperimentArm], Meta(min_length=2, max_length=20)]
    spans: Annotated[list[ExperimentSpan], Meta(min_length=1, max_length=2000)]
    name: Name | None = None
    unit: ExperimentUnit = "visitor"
    traffic: Annotated[str, Meta(pattern=r"^(0(\.[0-9]{1,6})?|1)$")] = "1"
    salt: Annotated[str, Meta(max_length=128)] = ""
    goal: ExperimentMetric = "conversion"
    guard_rails: Annotated[list[GuardRail], Meta(max_length=20)] = []
    alpha: Annotated[str, Meta(pattern=r"^0\.[0-9]{1,6}$")] = "0.05"
    currency: Currency


class ExperimentStarted(ExperimentTerms, frozen=True, kw_only=True):
    pass


class ExperimentChanged(ExperimentTerms, frozen=True, kw_only=True):
    """Other weights, more or less traffic, another name. What is compared, and how, stays."""


class ExperimentStopped(Data, frozen=True, kw_only=True):
    """It is over. From now on everyone has `arm`, where one is named."""

    experiment_id: Id
    arm: _ArmName | None = None
    reason: Name | None = None


class ExperimentExposed(Data, frozen=True, kw_only=True):
    """A unit has come to see its arm: the visitor, or, where that is the `unit`, the person."""

    experiment_id: Id
    arm: _ArmName
    unit: ExperimentUnit = "visitor"


# What learners have noticed.


class DriftNoticed(Data, frozen=True, kw_only=True):
    """Demand has shifted: the errors of forecasts are no longer what they were. They are those of
    the day ahead, in multiples of what the seasonal naive errs by; positive where more was sold
    than foretold. At the levels of products and variants `key` is their category."""

    date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    measure: Literal["net", "units"]
    currency: Currency
    level: SalesLevel
    key: Name = ""
    error_before: Annotated[str, Meta(pattern=r"^-?[0-9]{1,3}\.[0-9]{1,4}$")]
    error_since: Annotated[str, Meta(pattern=r"^-?[0-9]{1,3}\.[0-9]{1,4}$")]


class StockOutForeseen(Data, frozen=True, kw_only=True):
    """When the day `date` was closed, a variant became more likely than not to run out of stock
    within so many days; said once until it is less likely again."""

    date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    product_id: Id
    variant: Name
    available: int
    days: Quantity
    probability: Annotated[str, Meta(pattern=r"^[01]\.[0-9]{4}$")]


_Decimal = Annotated[str, Meta(pattern=r"^[0-9]{1,18}\.[0-9]{2}$")]


class AnomalyPart(Data, frozen=True, kw_only=True):
    """What of an anomaly falls to one key of a dimension, such as a country."""

    dimension: Name
    key: Name
    expected: _Decimal
    came: _Decimal


class AnomalyNoticed(Data, frozen=True, kw_only=True):
    """From `since` to `until` something came otherwise than it does at that hour of the week, where
    it is between `low` and `high` 98 times out of a hundred; said once until it is as usual.
    `parts` are those that it mostly comes from."""

    metric: Name
    since: Time
    until: Time
    came: _Decimal
    expected: _Decimal
    low: _Decimal
    high: _Decimal
    parts: list[AnomalyPart] = []


class Kind(Struct, frozen=True):
    """How one type of event is carried: its fields, its topic, what names its subject."""

    data: type[Data]
    topic: str
    subject: tuple[str, ...] = ()
    version: int = 1
    ours: bool = False  # said by Tillstream alone: no client may


def _kinds(
    topic: str, subject: tuple[str, ...], *types: type[Data], ours: bool = False
) -> dict[str, Kind]:
    return {data.__name__: Kind(data, topic, subject, ours=ours) for data in types}


VOCABULARY: Mapping[str, Kind] = {
    **_kinds(
        "interactions",
        (),  # the visitor, whom the sender names
        *(ProductsSearched, ProductListViewed, ProductListFiltered),
        *(PromotionViewed, PromotionClicked, ProductClicked, ProductViewed),
        *(ProductAddedToWishlist, ProductRemovedFromWishlist, WishlistProductAddedToCart),
        *(ProductShared, CartShared),
        *(RecommendationsViewed, RecommendationClicked),
    ),
    **_kinds("interactions", (), ExperimentExposed),
    **_kinds("interactions", (), RecommendationsServed, ours=True),
    **_kinds("carts", ("cart_id",), ProductAdded, ProductRemoved, CartViewed),
    **_kinds(
        "carts",
        ("cart_id", "order_id"),
        *(CouponEntered, CouponApplied, CouponDenied, CouponRemoved),
    ),
    **_kinds(
        "carts",
        ("cart_id",),
        *(CartOpened, CartRepriced, CartAbandoned, CartRevived, CartMerged, CartCheckedOut),
        ours=True,
    ),
    **_kinds(
        "orders",
        ("order_id", "checkout_id"),
        *(CheckoutStarted, CheckoutStepViewed, CheckoutStepCompleted, PaymentInfoEntered),
    ),
    **_kinds(
        "orders",
        ("order_id",),
        *(OrderPlaced, OrderCompleted, OrderUpdated, OrderPaid, OrderShipped, OrderDelivered),
        *(OrderCancelled, OrderRefunded, SalesAdjusted),
    ),
    **_kinds(
        "orders",
        ("order_id",),
        *(PaymentRequested, PaymentFailed, RefundRequested, PaymentRefunded, RefundFailed),
        OrderReturned,
        ours=True,
    ),
    **_kinds(
        "catalog",
        ("product_id",),
        *(ProductListed, ProductDelisted, PriceChanged, ProductReviewed),
        *(StockReceived, StockAdjusted, StockReserved, StockReleased, StockShipped),
    ),
    **_kinds("catalog", ("product_id",), StockThresholdChanged, LowStockReached, ours=True),
    **_kinds(
        "catalog",
        ("product_id",),
        *(ReviewEdited, ReviewRetracted, ReviewModerated),
        ours=True,
    ),
    **_kinds(
        "catalog",
        ("category_id",),
        *(CategoryAdded, CategoryRenamed, CategoryMoved, CategoryRemoved),
        ours=True,
    ),
    **_kinds(
        "customers",
        ("user_id",),
        *(AccountRegistered, ProfileChanged, RoleChanged, PasswordChanged, AccountClosed),
        *(AddressAdded, AddressChanged, AddressRemoved, DefaultAddressChanged),
        PersonErased,
        ours=True,
    ),
    **_kinds(
        "catalog",
        ("coupon_id",),
        *(CouponIssued, CouponChanged, CouponDisabled, CouponRedeemed, CouponReleased),
        ours=True,
    ),
    **_kinds("catalog", ("country",), TaxRatesChanged, ShippingRatesChanged, ours=True),
    **_kinds("days", ("date",), DayClosed, DayCorrected, ours=True),
    **_kinds("days", ("month",), MonthClosed, MonthCorrected, ours=True),
    **_kinds("days", ("currency",), CurrencyRatesChanged, ours=True),
    **_kinds("days", ("entry_id",), CalendarEntryPlanned, CalendarEntryWithdrawn, ours=True),
    **_kinds(
        "days",
        ("experiment_id",),
        *(ExperimentStarted, ExperimentChanged, ExperimentStopped),
        ours=True,
    ),
    **_kinds("days", ("date",), DriftNoticed, ours=True),
    **_kinds("catalog", ("product_id",), StockOutForeseen, ours=True),
    **_kinds("days", ("metric",), AnomalyNoticed, ours=True),
}

SHOP = "shop"
"""The source of what commands decide. No client may name it: states are made of these alone."""

PERSONAL: Mapping[str, tuple[str, ...]] = {
    "ProductsSearched": ("query",),
    "ProductShared": ("share_message", "recipient"),
    "CartShared": ("share_message", "recipient"),
    "ProductReviewed": ("review_body",),
    "ReviewEdited": ("review_body",),
    "AccountRegistered": ("email", "name", "phone"),
    "ProfileChanged": ("name", "phone"),
    "AddressAdded": ("address",),
    "AddressChanged": ("address",),
    "OrderPlaced": ("email", "shipping_address"),
}

# Segment's first spec said these the other way round.
_FORMER_NAMES = {
    "ViewedProduct": "ProductViewed",
    "ViewedProductCategory": "ProductListViewed",
    "ClickedProduct": "ProductClicked",
    "AddedProduct": "ProductAdded",
    "RemovedProduct": "ProductRemoved",
    "SearchedProducts": "ProductsSearched",
    "StartedOrder": "CheckoutStarted",
    "StartedCheckout": "CheckoutStarted",
    "CompletedOrder": "OrderCompleted",
    "UpdatedOrder": "OrderUpdated",
    "CancelledOrder": "OrderCancelled",
    "RefundedOrder": "OrderRefunded",
    "ViewedPromotion": "PromotionViewed",
    "ClickedPromotion": "PromotionClicked",
    "ViewedCart": "CartViewed",
}


def _squeeze(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


_SPELLINGS = {_squeeze(name): name for name in VOCABULARY} | {
    _squeeze(former): name for former, name in _FORMER_NAMES.items()
}


def canonical(name: str) -> str | None:
    """`Order Completed`, `order.completed`, `Completed Order` → `OrderCompleted`, or None."""
    return name if name in VOCABULARY else _SPELLINGS.get(_squeeze(name))


def subject_of(kind: Kind, data: Data) -> str | None:
    """The id that an event of this kind is about, from its own fields."""
    for name in kind.subject:
        if subject := getattr(data, name, None):
            return str(subject)
    return None


def schemas() -> dict[str, Any]:
    """The JSON Schema of every type's `data`, by type, with personal fields marked."""
    return {name: _schema(name, kind) for name, kind in VOCABULARY.items()}


def _schema(name: str, kind: Kind) -> dict[str, Any]:
    _, parts = msgspec.json.schema_components([kind.data], schema_hook=_money_schema)
    own = dict(parts.pop(name))
    for field in PERSONAL.get(name, ()):
        own["properties"][field] |= {"x-personal": True}
    own |= {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name}
    own |= {"x-topic": kind.topic, "x-version": kind.version}
    own |= {"x-ours": True} if kind.ours else {}
    return own | ({"$defs": parts} if parts else {})


def _money_schema(kind: type) -> dict[str, Any]:
    amount = {"type": ["string", "number"], "description": "exact, at most 4 decimal places"}
    return amount if kind is SignedMoney else amount | {"minimum": 0}
