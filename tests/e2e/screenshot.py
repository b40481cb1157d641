"""Takes the README's picture of a page that is up: `python -m tests.e2e.screenshot URL FILE`."""

import asyncio
import sys
from pathlib import Path

from tests.e2e.browser import chromium, looking

SECONDS = 160  # until the pulse is full


async def take(address: str, file: Path, seconds: float = SECONDS) -> None:
    """A picture of all of it, at a desk, by day."""
    size = {"width": 1280, "height": 900}
    async with chromium() as browser:
        async with looking(browser, address, viewport=size, device_scale_factor=1.5) as (page, _):
            await page.wait_for_selector("[data-exact]")
            await asyncio.sleep(seconds)
            await page.screenshot(path=file, full_page=True)


if __name__ == "__main__":
    asyncio.run(take(sys.argv[1], Path(sys.argv[2])))
