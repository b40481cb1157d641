"""What a person sees in the terminal: ticks while things start, then the shop, live."""

import asyncio
import time
from collections import deque
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import httpx2
from aiokafka.errors import KafkaError
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from app.settings import Settings
from app.stack.up import Progress
from app.status import GroupStatus, reading_status
from projections.clock import ShopClock

_REFRESH_SECONDS = 0.5
_RATE_SECONDS = 5.0
_AWAY = (httpx2.HTTPError, KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


def ticks(console: Console) -> Progress:
    """Each server as it answers, and whatever is worth a line."""

    def step(name: str, address: str, seconds: float) -> None:
        console.print(f"[green]✓[/] {name:<9} {address:<48} {seconds:5.1f} s")

    return Progress(step=step, note=lambda text: console.print(f"[dim]· {text}[/]"))


def next_steps(api: str) -> RenderableType:
    """What to try, ready to be pasted."""
    lines = (
        ("your shop, live", f"{api}/"),
        ("the API, to try out", f"{api}/docs"),
        ("sales by the hour", f"curl '{api}/v1/sales/revenue?grain=hour'"),
        ("sell something", ".venv/bin/tillstream trigger order.completed --country DE"),
        ("who is there now", f"curl '{api}/v1/reports/live_view'"),
        ("how far they come", f"curl '{api}/v1/reports/funnel?by=source'"),
        ("the live feed", f"curl -N '{api}/v1/live/revenue?day=today&dimension=total'"),
        ("is all well?", ".venv/bin/tillstream doctor"),
    )
    grid = Table.grid(padding=(0, 2))
    for what, how in lines:
        grid.add_row(Text(what, "dim"), Text(how, overflow="fold"))
    return grid


def banner(console: Console, api: str) -> None:
    """Everything is up: what to try next."""
    console.print()
    console.print(next_steps(api))
    console.print("\n[dim]Ctrl-C stops it all; what it knows is kept.[/]")


async def show(settings: Settings, api: str, console: Console) -> None:
    """Events a second, lag and today's revenue, until cancelled."""
    banner(console, api)
    clock = ShopClock(settings.timezone)
    # Of use where figures are for staff alone.
    key = next((key for key, shop in settings.read_keys.items() if shop == "main"), None)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        reading_status(settings) as status,
        httpx2.AsyncClient(base_url=api, timeout=2, headers=headers) as client,
    ):
        counts: deque[tuple[float, int]] = deque()
        with Live(console=console, refresh_per_second=4, transient=True) as view:
            while True:
                try:
                    groups = await status.groups()
                    counts.append((time.monotonic(), await status.appended()))
                    today = clock.day(clock.hour(datetime.now(UTC))).isoformat()
                    sales, best, now = await _today(client, today)
                except _AWAY as error:
                    view.update(Text(f"waiting for the servers: {error!r}", "yellow"))
                else:
                    while len(counts) > 2 and counts[-1][0] - counts[0][0] > _RATE_SECONDS:
                        counts.popleft()
                    view.update(_view(groups, _rate(counts), sales, best, now))
                await asyncio.sleep(_REFRESH_SECONDS)


async def _today(client: httpx2.AsyncClient, day: str) -> list[list[dict[str, Any]]]:
    """The day's revenue, its best sellers, and who is there now: a list of rows each."""
    days = {"from": day, "to": day}
    answers = await asyncio.gather(
        client.get("/v1/sales/revenue", params=days),
        client.get("/v1/sales/top-products", params={**days, "limit": 5}),
        client.get("/v1/reports/live_view"),
    )
    return [answer.raise_for_status().json()["rows"] for answer in answers]


def _rate(counts: deque[tuple[float, int]]) -> float:
    seconds = counts[-1][0] - counts[0][0]
    return (counts[-1][1] - counts[0][1]) / seconds if seconds > 0 else 0.0


def _view(
    groups: list[GroupStatus],
    rate: float,
    sales: list[dict[str, Any]],
    best: list[dict[str, Any]],
    now: list[dict[str, Any]],
) -> RenderableType:
    figures = Table.grid(padding=(0, 3))
    behind = sum(group.lag for group in groups)
    figures.add_row("events/s", f"[bold]{rate:,.1f}[/]", "lag", f"[bold]{behind:,}[/]")
    for row in sales:
        net = f"[bold green]{_amount(row)}[/]"
        figures.add_row("net today", net, "orders", f"[bold]{row['orders']:,}[/]")
    for row in now:
        figures.add_row(
            *("visitors now", f"[bold]{row['visitors']:,}[/]"),
            *("active carts", f"[bold]{row['active_carts']:,}[/]"),
        )
    top = Table("best sellers today", "units", "net", box=None, header_style="dim")
    for row in best:
        top.add_row(row["name"] or row["product"], str(row["units"]), _amount(row))
    return Panel(Group(figures, Text(), top), title="Tillstream", width=72)


def _amount(row: dict[str, Any]) -> str:
    return f"{Decimal(row['net']):,.2f} {row['currency']}"
