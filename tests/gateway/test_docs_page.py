"""``/docs`` in a real Chromium: every operation is there, can be reached by keyboard, and nothing breaks the policy."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from playwright.async_api import expect

from gateway.http.page import CONSOLE
from gateway.spec.table import OPERATIONS
from tests.end_to_end.browser import chromium, visitor
from tests.gateway.sockets import serving
from tests.gateway.spec_check import document
from tests.gateway.world import World

pytestmark = pytest.mark.timeout(300)


class Served:
    """What a visitor needs to know of a stack."""

    def __init__(self, address: str) -> None:
        self.url = f"http://{address}"


@pytest.fixture
async def served(world: World) -> AsyncIterator[Any]:
    async with serving(world) as address:
        yield cast("Any", Served(address))


async def test_the_page_shows_every_operation_and_every_shape(served: Any) -> None:
    async with chromium() as browser, visitor(browser, served, None) as anyone:
        page = await anyone.tab("/docs", live=False)
        await expect(page.locator("#operations .one")).to_have_count(len(OPERATIONS))
        await expect(page.locator("#shapes .one")).to_have_count(len(document()["components"]["schemas"]))

        await page.get_by_label("Find an operation").fill("runpod/{job_id}/retry")
        await expect(page.locator("#operations .one:visible")).to_have_count(1)
        summary = page.locator("#retryVideo > summary")
        await expect(page.get_by_text("Asks for a credential")).to_have_count(len(OPERATIONS) - open_ones())
        await summary.focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("#retryVideo")).to_have_attribute("open", "")
        line = page.locator("#retryVideo .line pre")
        await expect(line).to_contain_text("curl -X POST 'http://videos.test/api/runpod/")
        await expect(line).to_contain_text("Authorization: Bearer $OPENV_API_KEY")
        await page.locator("#retryVideo a", has_text="DecidedJob").first.click()
        await expect(page.locator("#shape-DecidedJob")).to_have_attribute("open", "")
        await expect(page.locator("#shape-DecidedJob")).to_contain_text("monthlyQuota")
        await page.get_by_label("Find an operation").fill("no such thing")
        await expect(page.locator("#operations .one:visible")).to_have_count(0)

        linked = await anyone.tab("/docs#makeVideo", live=False)
        await expect(linked.locator("#makeVideo")).to_have_attribute("open", "")
        await expect(linked.locator("#makeVideo > summary")).to_be_focused()
        await linked.set_viewport_size({"width": 320, "height": 640})
        assert await linked.evaluate("document.documentElement.scrollWidth") == 320


def open_ones() -> int:
    return sum(row.access.scope is None for row in OPERATIONS)


async def test_the_page_is_under_a_policy_and_names_nothing_elsewhere(world: World) -> None:
    async with world.client(None) as http:
        page = await http.get("/docs")
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert policy["require-trusted-types-for"] == "'script'"
    for name in ("docs.html", "docs.js", "docs.css"):
        assert "//" not in (CONSOLE / name).read_text().replace("// ", "")
