"""Which amounts can be charged, in minor units: each currency has its least and its steps."""

from app.stack.stripe.errors import StripeError

_LARGEST = 99_999_999
_SMALLEST = {  # in minor units, of a charge
    **dict.fromkeys(("usd", "eur", "chf", "aud", "cad", "sgd", "nzd", "brl", "inr", "jpy"), 50),
    **dict.fromkeys(("pln", "ron", "aed", "myr"), 200),
    "gbp": 30,
    "dkk": 250,
    "nok": 300,
    "sek": 300,
    "hkd": 400,
    "mxn": 1000,
    "thb": 1000,
    "czk": 1500,
    "huf": 17_500,
}
_STEPS = {  # amounts of these are multiples
    **dict.fromkeys(("bhd", "jod", "kwd", "omr", "tnd"), 10),
    **dict.fromkeys(("isk", "ugx"), 100),
}


def check_amount(amount: int, currency: str) -> None:
    """Whether such a charge can be. Raises StripeError."""
    if len(currency) != 3 or not currency.isascii() or not currency.islower():
        raise StripeError(400, f"Invalid currency: {currency}", param="currency")
    if amount < 1:
        raise too_small("amount", "This value must be greater than or equal to 1.")
    smallest = _SMALLEST.get(currency, 1)
    if amount < smallest:
        raise StripeError(
            400,
            f"Amount must be at least {smallest} {currency}, in minor units",
            code="amount_too_small",
            param="amount",
        )
    if amount > _LARGEST:
        raise StripeError(
            400,
            f"Amount must be no more than {_LARGEST} {currency}, in minor units",
            code="amount_too_large",
            param="amount",
        )
    if amount % _STEPS.get(currency, 1):
        raise StripeError(
            400,
            f"Invalid integer: amounts in {currency} are multiples of {_STEPS[currency]}",
            code="parameter_invalid_integer",
            param="amount",
        )


def too_small(param: str, message: str) -> StripeError:
    """An amount that is none."""
    return StripeError(400, message, code="parameter_invalid_integer", param=param)
