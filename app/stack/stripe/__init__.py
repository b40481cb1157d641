"""A stand-in for Stripe: the part of its API that a shop's payments use, over HTTP, with webhooks.

It answers the `stripe` package as Stripe would: the same objects, errors, idempotency and events,
for test cards alone. It is part of the stack that `up` starts where no Stripe key is set, and what
the tests pay with. It shares no code with the side that asks it.
"""
