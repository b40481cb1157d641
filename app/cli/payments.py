"""Commands about payments: the stand-in for Stripe, and what a shopper does with a card."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, NamedTuple

import httpx2
import typer

from app.cli.terminal import Failed, cli, talk
from app.own_key import own_key
from app.payments import WEBHOOK
from app.settings import Settings, SettingsError, read_addresses

if TYPE_CHECKING:
    from stripe import PaymentIntent, StripeClient

    from app.stack.stripe.server import Keys
    from app.stack.up import AppProcess

PORT = 8790


def keys_of(settings: Settings, forward_to: str | None = None) -> "Keys":
    """The stand-in's keys, made in the home when first needed."""
    from app.stack.stripe.server import Keys

    key = own_key(None, settings.home / "stripe.key").decode()
    return Keys(f"sk_test_{key[:32]}", f"whsec_{key[32:]}", forward_to)


class StandIn(NamedTuple):
    """The stand-in as a process of the stack, and what tells its clients of it."""

    process: "AppProcess"
    clients: Mapping[str, str]


def stand_in(settings: Settings, command: tuple[str, ...], api: str) -> StandIn:
    """What `up` starts where there is no key for Stripe."""
    from app.stack.ports import HOST, claim
    from app.stack.up import AppProcess

    port = claim(settings.home, "stripe", PORT)
    url = f"http://{HOST}:{port}"

    async def answers() -> None:
        async with httpx2.AsyncClient() as client:
            (await client.get(f"{url}/health", timeout=2)).raise_for_status()

    keys = keys_of(settings)
    return StandIn(
        AppProcess(
            "stripe",
            (*command, "stripe", "--port", str(port), "--forward-to", f"{api}{WEBHOOK}"),
            answers,
            address=url,
            alive=answers,
            stuck_seconds=settings.stuck_seconds,
        ),
        {
            "TILLSTREAM_STRIPE_KEY": keys.secret,
            "TILLSTREAM_STRIPE_WEBHOOK_SECRET": keys.webhook,
            "TILLSTREAM_STRIPE_URL": url,
        },
    )


@cli.command()
def stripe(
    port: Annotated[int, typer.Option(help="where to listen, on this machine alone")] = PORT,
    forward_to: Annotated[str | None, typer.Option(help="where webhooks are sent to")] = None,
) -> None:
    """Serve a stand-in for Stripe: test cards, refunds, signed webhooks. For demos and tests.

    What is paid there is kept in the home. `up` starts it where no TILLSTREAM_STRIPE_KEY is set.
    """
    import uvicorn

    from app import logs
    from app.stack.ports import HOST
    from app.stack.stripe.server import StandIn as Served

    settings = Settings()
    logs.configure(settings.log)
    folder = settings.home / "stripe"
    folder.mkdir(parents=True, exist_ok=True)
    app = Served(keys_of(settings, forward_to), folder / "stripe.db").app
    uvicorn.run(app, host=HOST, port=port, log_level="warning", log_config=None)


@cli.command()
def pay(
    order: Annotated[str, typer.Argument(help="its id; its payment was started")],
    card: Annotated[str, typer.Option(help="one of Stripe's test cards")] = "pm_card_visa",
    decline: Annotated[bool, typer.Option("--decline", help="with a card that is refused")] = False,
) -> None:
    """Pay for an order with a test card, as the shopper's browser would."""
    if decline:
        card = "pm_card_chargeDeclined"
    talk.print(asyncio.run(paid(Settings(), order, card)))


async def paid(settings: Settings, order: str, card: str) -> str:
    """Pays for an order with a test card; what to say of it. Raises Failed, SettingsError."""
    from stripe import AIOHTTPClient, CardError, StripeClient, StripeError

    url = settings.stripe_url or read_addresses(settings.home).get("stripe")
    if settings.stripe_key is None and url is None:
        raise SettingsError("no stand-in is up here: start it with `tillstream up`")
    key = settings.stripe_key or keys_of(settings).secret
    if not key.startswith("sk_test_"):
        raise SettingsError("TILLSTREAM_STRIPE_KEY is no test key: only shoppers pay with it")
    http = AIOHTTPClient(timeout=10)
    client = StripeClient(key, base_addresses={"api": url} if url else {}, http_client=http)
    try:
        intent = await _intent_of(client, order)
        if intent is None:
            raise Failed(
                f"no payment of the order {order} waits: start one with "
                f"`POST /v1/orders/{order}/payment`"
            )
        done = await client.v1.payment_intents.confirm_async(intent.id, {"payment_method": card})
    except CardError as declined:
        raise Failed(f"{declined.user_message} ({declined.code})") from declined
    except StripeError as error:
        raise Failed(str(error)) from error
    finally:
        await http.close_async()  # type: ignore[no-untyped-call]
    return f"[green]✓[/] {done.amount} {done.currency} (minor units): {done.status}, {done.id}"


async def _intent_of(client: "StripeClient", order: str) -> "PaymentIntent | None":
    """The latest intent of an order that can be paid."""
    listed = await client.v1.payment_intents.list_async({"limit": 100})
    async for intent in listed.auto_paging_iter():
        told = intent.to_dict()
        if told["metadata"].get("order_id") == order and intent.status.startswith("requires"):
            return intent
    return None
