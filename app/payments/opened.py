"""Stripe as the settings name it, and payments in a process of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from app.commands.execute import Commands
from app.payments.flow import Flow
from app.payments.provider import Provider
from app.settings import Settings
from app.vault import Vault
from projections.postgres import connect

logger = structlog.get_logger()


def provider_of(settings: Settings) -> Provider | None:
    """None where there is no key: then nobody pays by card."""
    if not settings.stripe_key:
        return None
    if not settings.stripe_webhook_secret:
        logger.warning("no TILLSTREAM_STRIPE_WEBHOOK_SECRET is set: webhooks are refused")
    return Provider(settings.stripe_key, settings.stripe_webhook_secret, settings.stripe_url)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Flow]:
    """Payments with connections of their own, where there is a key; closed at the end."""
    provider = provider_of(settings)
    assert provider is not None
    try:
        pool = await connect(settings.servers.postgres, settings.schema_name)
        try:
            yield Flow(Commands(pool, Vault(pool)), provider)
        finally:
            await pool.close()
    finally:
        await provider.close()
