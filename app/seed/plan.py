"""What a seed says of a shop: every product, user and order by its number, whatever was made of it
already. A pure function, so that whoever goes on later goes on with the same shop.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import product as combinations
from random import Random
from typing import NamedTuple, TypeVar

from mimesis import Generic, Locale

from app.commands.placing import NewOrder
from app.domain.payment import CARD, CASH_ON_DELIVERY
from app.seed.words import (
    ADJECTIVES,
    BRANDS,
    COUNTRIES,
    RANGES,
    REASONS,
    SAID,
    STARS,
    Range,
)
from streams.events import (
    AccountRegistered,
    Address,
    CouponIssued,
    ProductListed,
    ShippingRate,
    TaxRate,
    Variant,
)
from streams.money import UNIT, Money

T = TypeVar("T")

SHIPPING = ("standard", "express")
_REDUCED = ("coffee", "sweets", "pantry")
_MOST_LINES = 4


class Sizes(NamedTuple):
    """How large the shop is to be."""

    users: int
    products: int
    orders: int


class PlannedProduct(NamedTuple):
    """A product, its stock by variant, and from how few units on that is low."""

    listed: ProductListed
    opening: Mapping[str, int]
    threshold: int
    at: datetime


class PlannedUser(NamedTuple):
    registered: AccountRegistered
    address: Address
    at: datetime


class Step(NamedTuple):
    """What becomes of an order, and when: complete, ship, deliver, cancel, refund, review."""

    at: datetime
    what: str
    text: str = ""
    rating: int = 0


class PlannedOrder(NamedTuple):
    user: PlannedUser
    new: NewOrder
    at: datetime
    steps: Sequence[Step]


class Plan:
    """One seed's shop, as large as it is asked for, from its opening until now."""

    def __init__(
        self, seed: str, sizes: Sizes, opened: datetime, until: datetime, currency: str
    ) -> None:
        self.seed, self.sizes, self.currency = seed, sizes, currency
        self.opened, self.until = opened, until

    def _random(self, kind: str, number: int) -> Random:
        return Random(f"{self.seed}/{kind}/{number}")  # noqa: S311  (no secret)

    def tax_rates(self) -> Iterator[tuple[str, Sequence[TaxRate]]]:
        """The rates of each country, what is eaten apart."""
        for country in COUNTRIES:
            rates = [TaxRate(rate=country.rate), TaxRate(category="shipping", rate=country.rate)]
            if country.reduced:
                rates += [TaxRate(category=one, rate=country.reduced) for one in _REDUCED]
            yield country.code, rates

    def shipping_rates(self) -> Iterator[tuple[str, Sequence[ShippingRate]]]:
        """Two ways of shipping, dearer to the rest of the world."""
        for where, cost, free_from in (("DE", 4, 60), ("*", 9, 120)):
            yield (
                where,
                [
                    ShippingRate(
                        method="standard",
                        amount=_money(cost - 0.1),
                        currency=self.currency,
                        free_from=_money(free_from),
                    ),
                    ShippingRate(
                        method="express", amount=_money(cost * 2.5), currency=self.currency
                    ),
                ],
            )

    def coupons(self) -> Sequence[CouponIssued]:
        name = self.seed.upper()
        return [
            CouponIssued(coupon_id=f"WELCOME-{name}", percent="10", limit_per_customer=1),
            CouponIssued(
                coupon_id=f"FIVER-{name}",
                amount=_money(5),
                currency=self.currency,
                minimum=_money(40),
            ),
            CouponIssued(coupon_id=f"PANTRY-{name}", percent="15", categories=["pantry"]),
        ]

    def product(self, number: int) -> PlannedProduct:
        random = self._random("product", number)
        range_ = RANGES[number % len(RANGES)]
        name = f"{random.choice(ADJECTIVES)} {random.choice(range_.nouns)}"
        product_id = f"{_slug(name)}-{self.seed}-{number}"
        variants = list(_variants(product_id, range_, random))
        listed = ProductListed(
            product_id=product_id,
            name=name,
            currency=self.currency,
            category=range_.category,
            brand=random.choice(BRANDS),
            description=f"{name} by hand, made to be used every day and to be mended.",
            variants=variants,
        )
        # What sells often is stocked high.
        units = 20 + int(400 / (1 + number**0.5))
        opening = {variant.id: random.randint(units, 2 * units) for variant in variants}
        return PlannedProduct(listed, opening, max(2, units // 10), self.opened)

    def user(self, number: int) -> PlannedUser:
        random = self._random("user", number)
        country = random.choices(COUNTRIES, [one.weight for one in COUNTRIES])[0]
        said = _generic(country.locale)
        said.reseed(f"{self.seed}/user/{number}")
        name = said.person.full_name()
        user_id = f"u-{self.seed}-{number}"
        address = Address(
            name=name,
            lines=[said.address.address()],
            postal_code=said.address.postal_code()[:32],
            city=said.address.city(),
            country=country.code,
        )
        registered = AccountRegistered(
            user_id=user_id,
            country=country.code,
            email=f"{_slug(name) or 'user'}.{number}.{self.seed}@example.com",
            name=name,
            phone=said.person.phone_number()[:64],
        )
        span = (self.until - self.opened) * random.random() * 0.2
        return PlannedUser(registered, address, self.opened + span)

    def order(self, number: int) -> PlannedOrder:
        """An order, and what has become of it by now."""
        random = self._random("order", number)
        user = self.user(int(self.sizes.users * random.random() ** 1.6))
        at = max(self._when(number, random), user.at)
        lines = self._lines(random)
        method = random.choices((CARD, CASH_ON_DELIVERY), (65, 35))[0]
        new = NewOrder(
            f"{self.seed}-{number:07}",
            method,
            lines=lines,
            user_id=user.registered.user_id,
            currency=self.currency,
            country=user.address.country,
            coupon=f"FIVER-{self.seed.upper()}" if random.random() < 0.1 else None,
            shipping_method=random.choices(SHIPPING, (85, 15))[0],
            shipping_address=user.address,
            email=user.registered.email,
        )
        steps = [step for step in _life(at, method, random) if step.at <= self.until]
        return PlannedOrder(user, new, at, steps)

    def _lines(self, random: Random) -> Sequence[tuple[str, int]]:
        found: dict[str, int] = {}
        for _ in range(random.choices(range(1, _MOST_LINES + 1), (60, 25, 10, 5))[0]):
            listed = self.product(int(self.sizes.products * random.random() ** 2.5)).listed
            variant = random.choice(listed.variants).id
            found[variant] = random.choices((1, 2, 3), (80, 15, 5))[0]
        return list(found.items())

    def _when(self, number: int, random: Random) -> datetime:
        """When an order is placed: more of them as the shop grows, and in the evening."""
        span = self.until - self.opened
        at = self.opened + span * ((number + random.random()) / self.sizes.orders) ** 0.7
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
        share = (at - midnight) / timedelta(days=1)
        moved: datetime = midnight + timedelta(days=1) * _evening(share)
        return min(moved, self.until)


def _evening(share: float) -> float:
    """A share of the day, moved from the night to where people shop: around seven."""
    turn, phase = 2 * math.pi, -0.6 * math.pi
    return share + 0.7 * (math.sin(turn * share + phase) - math.sin(phase)) / turn


def _life(at: datetime, method: str, random: Random) -> Iterator[Step]:
    """All that becomes of an order in time."""
    luck = random.random()
    if method == CARD:
        if luck < 0.04:  # never paid
            yield Step(at + timedelta(days=3), "cancel", "not paid")
            return
        yield Step(at + timedelta(minutes=random.uniform(1, 30)), "complete")
    if luck > 0.97:
        yield Step(at + timedelta(hours=random.uniform(1, 12)), "cancel", random.choice(REASONS))
        return
    shipped = at + timedelta(hours=random.uniform(14, 60))
    yield Step(shipped, "ship")
    delivered = shipped + timedelta(hours=random.uniform(20, 130))
    yield Step(delivered, "deliver")
    if random.random() < 0.05:
        after = timedelta(days=random.uniform(1, 12))
        yield Step(delivered + after, "refund", random.choice(REASONS))
    if random.random() < 0.3:
        rating = random.choices(list(STARS), list(STARS.values()))[0]
        after = timedelta(days=random.uniform(0.5, 9))
        yield Step(delivered + after, "review", random.choice(SAID[rating]), rating)


def _variants(product_id: str, range_: Range, random: Random) -> Iterator[Variant]:
    price = random.randint(range_.cheapest, range_.dearest) - random.choice((0, 0.1, 0.05, 0.5))
    for values in combinations(*range_.options.values()):
        options = dict(zip(range_.options, values, strict=True))
        parts = [product_id, *map(_slug, values)]
        yield Variant(id="-".join(parts), price=_money(price), options=options)


@cache
def _generic(locale: str) -> Generic:
    return Generic(Locale[locale])


def _money(amount: float) -> Money:
    return Money(round(amount * 100) * (UNIT // 100))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
