"""The page at `/`, in a real browser."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from app.page.modules import Package, fetch_modules, fetch_packages
from app.settings import Settings
from tests.e2e.browser import chromium, looking, needs_chromium
from tests.e2e.service import Service, answers, end, run_cli, running
from tests.e2e.test_ingest import order
from tests.e2e.test_sales import send

pytestmark = needs_chromium
expect.set_options(timeout=20_000)

AXE = Package(
    "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745",
    708405,
    "axe-core",
    "4.14.1",
    ("axe.min.js",),
)


@pytest.fixture(scope="session")
async def browser(service: Service) -> AsyncIterator[Browser]:
    """A browser, once what the page is made of is in the cache."""
    await fetch_modules(service.settings.home, lambda _: None)
    async with chromium() as found:
        yield found


_CURRENCIES = (f"X{a}{b}" for a in ascii_uppercase for b in ascii_uppercase)


@pytest.fixture
def currency() -> str:
    """A currency in which nobody else sells."""
    return next(_CURRENCIES)


def sold(tag: str, number: int, currency: str, price: str = "1234.50") -> dict[str, Any]:
    line = {"product_id": f"mug-{tag}", "name": f"Mug {tag}", "price": price}
    return order(f"{tag}-{number}", currency=currency, products=[line])


async def revenue(page: Page) -> Decimal | None:
    """The exact figure behind the big one; none before there is any."""
    shown = await page.query_selector("[data-exact]")
    return Decimal(await shown.get_attribute("data-exact") or "") if shown else None


async def becomes(page: Page, wanted: Decimal, seconds: float = 20) -> None:
    """Until the page shows that revenue."""
    async with asyncio.timeout(seconds):
        while await revenue(page) != wanted:
            await asyncio.sleep(0.01)


async def test_every_figure_moves_with_a_sale(
    service: Service, browser: Browser, tag: str, currency: str
) -> None:
    async with looking(browser, f"{service.api}/?currency={currency}") as (page, seen):
        await becomes(page, Decimal(0))
        await expect(page.get_by_text("Nothing was sold today yet.")).to_be_visible()
        await send(service, sold(tag, 1, currency))
        await becomes(page, Decimal("1234.50"))
        await expect(page.get_by_role("listitem")).to_contain_text([f"Mug {tag}"])
        await expect(page.locator(".stat", has_text="Orders today")).to_contain_text("1")
        await send(service, sold(tag, 2, currency, "0.001"))
        await becomes(page, Decimal("1234.501"))
        await expect(page.locator("[data-phase]")).to_have_text("Live")
        await expect(page.locator("footer")).to_contain_text("Complete to")
    assert seen.errors == []
    assert seen.hosts == {service.api.removeprefix("http://")}


async def test_it_is_light_and_kept_for_ever(service: Service, browser: Browser) -> None:
    async with looking(browser, service.api) as (page, seen):
        await page.wait_for_selector("[data-exact]")
        found = {answer.url: await answer.all_headers() for answer in seen.responses}
        scripts = [h for h in found.values() if h["content-type"].startswith("text/javascript")]
        assert len(scripts) > 10
        assert {h["content-encoding"] for h in scripts} == {"gzip"}
        assert sum(int(headers["content-length"]) for headers in scripts) < 100_000
        lasting = [headers for url, headers in found.items() if "/page/" in url]
        assert all("immutable" in headers["cache-control"] for headers in lasting)
        policy = found[f"{service.api}/"]["content-security-policy"]
        assert "unsafe" not in policy
        assert "http" not in policy


async def test_it_begins_in_the_systems_theme_and_keeps_the_chosen_one(
    service: Service, browser: Browser
) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        async with looking(browser, service.api, color_scheme=scheme) as (page, _):
            ground = "getComputedStyle(document.body).backgroundColor"
            await page.wait_for_selector("[data-exact]")
            grounds[scheme] = await page.evaluate(ground)
            other = "light" if scheme == "dark" else "dark"
            await page.get_by_role("button", name=f"Use the {other} theme").click()
            switched = await page.evaluate(ground)
            await page.reload()
            await page.wait_for_selector("[data-exact]")
            assert await page.evaluate(ground) == switched != grounds[scheme]
    assert grounds["light"] != grounds["dark"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_is_wrong_for_people_who_do_not_see_or_point(
    service: Service, browser: Browser, tag: str, currency: str, scheme: Any
) -> None:
    folder = await fetch_packages(service.settings.home, [AXE], lambda _: None)
    axe = folder / AXE.folder / "axe.min.js"
    await send(service, sold(tag, 1, currency))
    address = f"{service.api}/?currency={currency}"
    options = {"color_scheme": scheme, "reduced_motion": "reduce", "bypass_csp": True}
    async with looking(browser, address, **options) as (page, _):
        await becomes(page, Decimal("1234.50"))
        await page.get_by_text("As a table").first.click()
        await page.add_script_tag(path=axe)
        report = await page.evaluate("axe.run()")
        live = await page.locator("[aria-live], [role=status], [role=alert]").count()
    assert report["passes"]
    assert [(found["id"], found["help"]) for found in report["violations"]] == []
    assert live == 1


@pytest.mark.parametrize("width", [360, 768, 1280])
async def test_it_fits_without_scrolling_sideways(
    service: Service, browser: Browser, width: int
) -> None:
    viewport = {"width": width, "height": 800}
    async with looking(browser, service.api, viewport=viewport) as (page, _):
        await page.wait_for_selector("[data-exact]")
        assert await page.evaluate("document.documentElement.scrollWidth") == width


async def test_another_currency_can_be_chosen_and_stays_in_the_address(
    service: Service, browser: Browser, tag: str, currency: str
) -> None:
    await send(service, sold(tag, 1, currency, "7.25"))
    async with looking(browser, service.api) as (page, _):
        await page.wait_for_selector("[data-exact]")
        choice = page.get_by_label("Currency")
        await expect(choice).to_have_value("EUR")
        await expect(choice.locator("option").first).to_have_text("EUR")
        await choice.select_option(currency)
        await becomes(page, Decimal("7.25"))
        await expect(page.get_by_role("listitem")).to_contain_text([f"Mug {tag}"])
        assert page.url.endswith(f"?currency={currency}")
        await choice.select_option("EUR")
        assert "currency" not in page.url


TOMORROW = [
    {"date": f"2099-01-{day:02}", "value": "100.25", "horizon": day} for day in range(1, 29)
]
PAST = [{**day, "date": "2001-02-04"} for day in TOMORROW]
NEXT = ("The next 28 days",)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, {"forecasts": TOMORROW}, (*NEXT, "2,807 expected")),
        (200, {"forecasts": []}, (*NEXT, "Learning: 0 days closed yet")),
        (200, {"forecasts": PAST, "trained_through": "2001-02-03"}, (*NEXT, "Sat 3 Feb, too long")),
        (404, {"code": "too_few_days"}, (*NEXT, "Learning: 0 days closed yet")),
        (404, {"code": "http"}, (*NEXT, "No forecast is available")),
        (503, {"detail": "the learner is away"}, (*NEXT, "the learner is away")),
    ],
)
async def test_the_forecast_is_shown_or_why_there_is_none(
    service: Service,
    browser: Browser,
    currency: str,
    status: int,
    body: dict[str, Any],
    said: tuple[str, str],
) -> None:
    answers = {"**/v1/forecasts/sales?**": (status, body)}
    async with looking(browser, f"{service.api}/?currency={currency}", answers) as (page, seen):
        panel = page.get_by_role("region", name=said[0])
        await expect(panel).to_contain_text(said[1])
        assert await panel.locator("canvas").count() == (body.get("forecasts") == TOMORROW)
    assert seen.errors == []


async def test_beside_the_forecast_stands_how_far_off_it_was(
    service: Service, browser: Browser, currency: str
) -> None:
    ours, naive = {"pairs": 300, "mae": "12.50"}, {"pairs": 300, "mae": "2045.70"}
    overall = {"tillstream": ours, "seasonal_naive": naive}
    answers = {
        "**/v1/forecasts/sales?**": (200, {"forecasts": TOMORROW}),
        "**/v1/forecasts/scores?**": (200, {"levels": [{"overall": overall}]}),
    }
    async with looking(browser, f"{service.api}/?currency={currency}", answers) as (page, seen):
        panel = page.get_by_role("region", name="The next 28 days")
        await expect(panel).to_contain_text("12.50 a day; the last week repeated, by")
        await expect(panel).to_contain_text("2,046.")
    assert seen.errors == []


async def test_the_forecast_says_between_which_amounts_most_days_should_be(
    service: Service, browser: Browser, currency: str
) -> None:
    days = [{**day, "intervals": {"80": ["80.50", "130.75"]}} for day in TOMORROW]
    answers = {"**/v1/forecasts/sales?**": (200, {"forecasts": days})}
    async with looking(browser, f"{service.api}/?currency={currency}", answers) as (page, seen):
        panel = page.get_by_role("region", name="The next 28 days")
        await expect(panel.locator(".reading")).to_contain_text("expected, 80 % between")
        await expect(panel.locator(".reading")).to_contain_text("130.75")
    assert seen.errors == []


async def test_the_pace_of_orders_is_the_hours_mean_until_the_page_has_seen_some(
    service: Service, browser: Browser, tag: str, currency: str
) -> None:
    await send(service, *(sold(tag, number, currency) for number in range(3)))
    async with looking(browser, f"{service.api}/?currency={currency}") as (page, _):
        pace = page.locator(".stat", has_text="Orders a minute")
        await expect(pace).to_contain_text("the mean of this hour")
        assert await pace.locator("rect.none").count() > 30
        module = await page.get_attribute("script[type=module]", "src")
        assert module
        told = await page.evaluate(
            f"async () => {{ const {{ Pulse }} = await import({sibling(module, 'pulse.js')});"
            "const pulse = new Pulse();"
            "const take = (at, orders) => pulse.take([{day: 'd', currency: 'X', orders}], 'd', at);"
            "const early = pulse.read(1_000_000, 'X', 6);"
            "take(1_000_000, 40); take(1_020_000, 50);"
            "const late = pulse.read(1_020_000, 'X', 6);"
            "const bars = (pace, seen) => pace.bars.filter((bar) => bar.seen === seen)"
            ".map((bar) => bar.orders);"
            "return [early.perMinute, early.seconds, late.perMinute, late.seconds,"
            "bars(late, false), bars(late, true)]; }"
        )
    assert told[:4] == [6, None, 30, 20]
    assert told[4] == [0.25] * 52
    assert told[5] == [0] * 7 + [10]


async def test_an_address_with_nonsense_in_it_shows_the_shops_own(
    service: Service, browser: Browser
) -> None:
    async with looking(browser, f"{service.api}/?currency=%3Cb%3E") as (page, seen):
        await expect(page.get_by_label("Currency")).to_have_value("EUR")
        await page.wait_for_selector("[data-exact]")
    assert seen.errors == []


async def test_it_resumes_after_the_api_was_killed(
    settings: Settings, browser: Browser, tag: str
) -> None:
    async with running(settings) as service:
        await send(service, sold(tag, 1, "EUR", "10"))
        async with looking(browser, service.api) as (page, seen):
            await becomes(page, Decimal(10))
            end(service.server, signal.SIGKILL)
            begun = len(seen.sent)
            await expect(page.locator("[data-phase]")).to_contain_text("Reconnecting")
            port = service.api.rpartition(":")[2]
            service.server = run_cli("api", "--port", port, environment=service.environment)
            await answers(service.api)
            await expect(page.locator("[data-phase]")).to_have_text("Live")
            await send(service, sold(tag, 2, "EUR", "5"))
            await becomes(page, Decimal(15))
    asked = [json.loads(frame) for frame in seen.sent[begun:]]
    assert {frame["id"] for frame in asked} == {"sales", "products"}
    assert all(frame["since"] for frame in asked)


def sibling(module: str, name: str) -> str:
    """Another module of the page, as JavaScript writes its address."""
    return repr(str(Path(module).with_name(name)))


async def test_amounts_are_summed_exactly(service: Service, browser: Browser) -> None:
    texts = ["0.0001", "-0.0001", "12345678901234.5678", "-7.25", "0", "100", "-0.5", "99.9999"]
    async with looking(browser, service.api) as (page, _):
        module = await page.get_attribute("script[type=module]", "src")
        assert module
        source = f"import({sibling(module, 'money.js')})"
        told = await page.evaluate(
            f"async (texts) => {{ const m = await {source}; "
            "return [texts.map((t) => m.decimal(m.units(t))), "
            "m.decimal(texts.map(m.units).reduce((a, b) => a + b))]; }",
            texts,
        )
    assert [Decimal(text) for text in told[0]] == [Decimal(text) for text in texts]
    assert Decimal(told[1]) == sum(map(Decimal, texts))
