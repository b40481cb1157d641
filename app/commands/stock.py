"""The commands about a variant's stock. Orders reserve, release and ship in their own."""

from collections.abc import Callable

from app.commands.execute import Answer, Call, check_version
from app.commands.work import Work
from app.domain.stock import STOCK, Stock
from streams.events import Data


async def change_stock(
    work: Work, call: Call, variant: str, decide: Callable[[Stock], list[Data]]
) -> Answer:
    """Whatever is decided about the stock of one variant."""
    known = await work.get(STOCK, variant)
    check_version(call, work.version(STOCK, variant))
    work.tell(*decide(known))
    return Answer(stock_shown(work.state(STOCK, variant)), 200, work.version(STOCK, variant))


def stock_shown(stock: Stock) -> dict[str, object]:
    """With what is available; which orders have the rest is nobody's business here."""
    found = {
        "on_hand": stock.on_hand,
        "reserved_units": stock.reserved_units,
        "available": stock.available,
        "threshold": stock.threshold,
        "low": stock.low,
    }
    return {"variant": stock.variant, "product_id": stock.product_id, **found}
