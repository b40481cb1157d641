"""What a believable shop is made of: what it sells, at which prices, to whom, and what they say."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Range(NamedTuple):
    """Products of one kind: below which category, what they are called, and what they cost."""

    category: str
    parent: str
    nouns: Sequence[str]
    cheapest: int
    dearest: int
    options: Mapping[str, Sequence[str]]


CATEGORIES: Mapping[str, str] = {
    "home": "Home",
    "clothing": "Clothing",
    "outdoors": "Outdoors",
    "pantry": "Pantry",
    "desk": "Desk",
}

_COLOURS = ("black", "white", "blue", "green", "terracotta")
_SIZES = ("S", "M", "L", "XL")

RANGES: Sequence[Range] = (
    Range("kitchen", "home", ("Mug", "Teapot", "Bread Board", "Pan"), 9, 89, {"colour": _COLOURS}),
    Range("lamps", "home", ("Desk Lamp", "Lantern", "Floor Lamp"), 29, 249, {"colour": _COLOURS}),
    Range("textiles", "home", ("Blanket", "Towel", "Cushion"), 15, 129, {"colour": _COLOURS}),
    Range("shirts", "clothing", ("Shirt", "T-Shirt", "Overshirt"), 19, 99, {"size": _SIZES}),
    Range("knitwear", "clothing", ("Jumper", "Cardigan", "Beanie"), 25, 159, {"size": _SIZES}),
    Range("shoes", "clothing", ("Sneaker", "Boot", "Sandal"), 49, 199, {"size": ("38", "43")}),
    Range("camping", "outdoors", ("Tent", "Stove", "Sleeping Bag"), 39, 499, {}),
    Range("cycling", "outdoors", ("Pannier", "Helmet", "Bell"), 12, 149, {"colour": _COLOURS[:3]}),
    Range("coffee", "pantry", ("Espresso", "Filter Roast"), 8, 24, {"weight": ("250 g", "1 kg")}),
    Range("sweets", "pantry", ("Honey", "Chocolate", "Jam"), 4, 16, {}),
    Range(
        "paper",
        "desk",
        ("Notebook", "Sketchbook"),
        6,
        39,
        {"pages": ("plain", "dots")},
    ),
    Range("writing", "desk", ("Fountain Pen", "Pencil Set"), 9, 179, {}),
)

ADJECTIVES = (
    *("Quiet", "Nordic", "Everyday", "Harbour", "Linen", "Oak", "Alpine", "Meadow", "Slate"),
    *("Morning", "Copper", "Coastal", "Heritage", "Cloud", "Studio", "Ember", "Willow", "Arctic"),
)
BRANDS = ("Ostra", "Fjellby", "Marle & Sons", "Kinto Works", "Tarn", "Alba Mill", "Holt")


class Country(NamedTuple):
    """Where customers live: their language (mimesis' locale), how many they are, and its taxes."""

    code: str
    locale: str
    weight: int
    rate: str
    reduced: str | None = None


COUNTRIES: Sequence[Country] = (
    Country("DE", "DE", 24, "0.19", "0.07"),
    Country("FR", "FR", 14, "0.2", "0.055"),
    Country("GB", "EN_GB", 12, "0.2"),
    Country("NL", "NL", 8, "0.21", "0.09"),
    Country("IT", "IT", 8, "0.22", "0.1"),
    Country("ES", "ES", 8, "0.21", "0.1"),
    Country("PL", "PL", 6, "0.23", "0.05"),
    Country("AT", "DE_AT", 5, "0.2", "0.1"),
    Country("BE", "NL_BE", 4, "0.21", "0.06"),
    Country("SE", "SV", 4, "0.25", "0.12"),
    Country("DK", "DA", 3, "0.25"),
    Country("CZ", "CS", 3, "0.21", "0.12"),
    Country("PT", "PT", 3, "0.23", "0.06"),
    Country("FI", "FI", 2, "0.255", "0.14"),
    Country("GR", "EL", 2, "0.24", "0.13"),
    Country("NO", "NO", 2, "0.25", "0.15"),
    Country("CH", "DE_CH", 2, "0.081", "0.026"),
    Country("US", "EN", 4, "0"),
    Country("JP", "JA", 2, "0"),
    Country("BR", "PT_BR", 1, "0"),
)

# How often each number of stars is given, and what is said with it.
STARS: Mapping[int, int] = {5: 54, 4: 26, 3: 10, 2: 5, 1: 5}
SAID: Mapping[int, Sequence[str]] = {
    5: (
        "Exactly as described, and better made than I had hoped.",
        "My third one. They make good presents, too.",
        "Came a day early, well packed, no plastic.",
    ),
    4: (
        "Very good. The colour is a little darker than in the picture.",
        "Does what it should; the packaging could be smaller.",
    ),
    3: ("All right for the price.", "Good, but it took a week to arrive."),
    2: ("Smaller than it looks.", "It works, but the finish is rough."),
    1: ("Arrived broken. The refund was quick, though.", "Not for me, sent it back."),
}

REASONS = ("arrived damaged", "does not fit", "changed my mind", "wrong colour")
