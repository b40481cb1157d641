"""What the simulated shop sells, and to whom: a pure function of the seed."""

from collections.abc import Mapping
from decimal import Decimal
from random import Random
from typing import NamedTuple

CURRENCY = "EUR"
COUNTRIES: Mapping[str, int] = {
    "DE": 34,
    "AT": 9,
    "CH": 8,
    "FR": 13,
    "NL": 10,
    "BE": 5,
    "IT": 7,
    "ES": 6,
    "PL": 4,
    "DK": 4,
}

_SHOPPERS = 2_000


class Product(NamedTuple):
    product_id: str
    name: str
    category: str
    price: Decimal


class Basket(NamedTuple):
    """A product in a cart, and how many of it."""

    product: Product
    quantity: int


class Shopper(NamedTuple):
    person: str
    country: str


# Each with its usual price, which the seed varies.
_SHELVES: Mapping[str, str] = {
    "kitchen": "mug 9|teapot 38|bread knife 29|cutting board 24|salt mill 19|saucepan 45|whisk 8",
    "lighting": "desk lamp 59|floor lamp 129|pendant light 89|lantern 22|wall light 64|candle 6",
    "textiles": "blanket 69|cushion 25|tea towel 7|bath towel 19|rug 119|curtain 49|apron 18",
    "stationery": "notebook 8|fountain pen 28|pencil set 12|ink 9|letter tray 16|calendar 14",
    "garden": "watering can 27|trowel 11|herb pot 5|bird house 23|secateurs 31|gloves 12|twine 4",
    "toys": "train 26|building blocks 34|kite 17|puzzle 15|spinning top 7|marble run 42|doll 29",
    "bath": "soap 5|soap dish 12|bath brush 10|mirror 39|laundry basket 45|bath mat 22|comb 4",
    "furniture": "stool 79|side table 149|shelf 95|bench 189|coat rack 69|chair 139|ladder 89",
    "travel": "rucksack 75|suitcase 159|umbrella 25|water bottle 16|wash bag 21|luggage tag 6",
}
_COLOURS = ("Blue", "White", "Green", "Grey", "Red", "Black", "Sand", "Yellow")
_ENDINGS = ("0.00", "0.50", "0.90", "0.95")


def catalogue(rng: Random) -> list[Product]:
    """Some sixty products on nine shelves, the most wanted first."""
    products = [
        Product(
            f"{category}-{number}",
            f"{rng.choice(_COLOURS)} {item.rpartition(' ')[0]}",
            category,
            price_near(rng, int(item.rpartition(" ")[2])),
        )
        for category, items in _SHELVES.items()
        for number, item in enumerate(items.split("|"), 1)
    ]
    rng.shuffle(products)
    return products


def price_near(rng: Random, usual: int) -> Decimal:
    """Up to a fifth below or above, and as prices end."""
    return round(usual * rng.uniform(0.8, 1.2)) + Decimal(rng.choice(_ENDINGS))


def population(rng: Random) -> list[Shopper]:
    """Those who visit the shop again and again, known by a pseudonym."""
    countries = rng.choices([*COUNTRIES], [*COUNTRIES.values()], k=_SHOPPERS)
    return [Shopper(f"p-{number:04}", country) for number, country in enumerate(countries, 1)]
