"""Payments by card: Stripe is asked outside of any transaction, and believed when it tells."""

WEBHOOK = "/v1/webhooks/stripe"
"""Where Stripe tells us what became of them."""
