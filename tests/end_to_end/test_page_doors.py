"""What may stand between a person and the page, in a real Chromium: terms, vouchers, a session's end, an origin."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Error, expect

from gateway.core.origins import cookie_name
from gateway.identity.keys import new_key
from repo.clock import now_ms
from schemas.access import Acceptance, KeyKind, Voucher
from schemas.accounts import Role
from schemas.api.live import CLOSE_WORDS, CloseCode
from tests.end_to_end.browser import REFUSED, access_of, chromium, visitor
from tests.end_to_end.stack import Stack, until
from tests.outages.kafka_world import Gateway
from tests.servers import closed_port

pytestmark = [pytest.mark.servers, pytest.mark.model, pytest.mark.timeout(600)]

CARD = "#videos > .card"
TERMS = "2.1"
TERMS_URL = "https://terms.test/today"
# Whether the select's text fits into it: a copy that is as wide as it likes is not wider.
FITS = """(select) => {
  const copy = select.cloneNode(true);
  copy.style.width = "max-content";
  select.after(copy);
  const wanted = copy.getBoundingClientRect().width;
  copy.remove();
  return wanted <= select.getBoundingClientRect().width;
}"""
WATCH = """async ([gateway, token]) => {
  const { connect } = await import(`${gateway}/console/live.js`);
  const url = `${gateway.replace("http", "ws")}/ws`, told = [];
  return await new Promise((resolve, reject) => {
    connect({ url, token: () => token, status: (state, reason) => state === "closed" && reject(new Error(reason)),
      on: ({ type }) => { told.push(type); if (type === "snapshot") resolve(told); } });
  });
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@asynccontextmanager
async def elsewhere(port: int) -> AsyncIterator[str]:
    """An empty page of another origin."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<!doctype html>")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        yield f"http://127.0.0.1:{port}"


@dataclass(frozen=True)
class Strict:
    """A gateway: where it is, and the port of the pages that may use it."""

    url: str
    friend: int


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def strict(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Strict]:
    """Another gateway on the same servers: the terms are required, one origin may use it, keys are looked at often, two
    sockets are many."""
    port = closed_port()
    told = {
        "OPENV_TERMS_REQUIRED": "true",
        "OPENV_TERMS_VERSION": TERMS,
        "OPENV_TERMS_URL": TERMS_URL,
        "OPENV_KEY_CACHE_SECONDS": "0.5",
        "OPENV_SOCKET_HEARTBEAT_SECONDS": "1",
        "OPENV_SOCKETS_PER_USER": "2",
        "OPENV_ALLOWED_ORIGINS": f"http://127.0.0.1:{port}",
    }
    gateway = Gateway(stack.about()["environment"] | told, tmp_path_factory.mktemp("strict") / "gateway.log")
    try:
        await gateway.ready()
        yield Strict(gateway.url, port)
    finally:
        gateway.close()


async def test_the_terms_come_first_and_then_everything_goes_on(browser: Browser, stack: Stack, strict: Strict) -> None:
    async with visitor(browser, stack, "tessa", url=strict.url, expected=REFUSED) as her:
        page = await her.tab(live=False)
        dialog = page.get_by_role("dialog", name="Terms of use")
        await expect(dialog).to_contain_text(f"version {TERMS} of the terms")
        await expect(dialog.get_by_role("link", name="Read them")).to_have_attribute("href", TERMS_URL)
        await expect(dialog.get_by_role("button", name="Not now")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("heading", name="The terms of use come first")).to_be_visible()
        await expect(page.locator("#studio")).to_be_hidden()
        async with access_of(stack) as access:
            assert await access.acceptances("tessa") == []
        await page.get_by_role("button", name="Show them").click()
        await dialog.get_by_role("button", name="I accept").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("#connection")).to_have_text("live")
        await expect(page.locator("#cost")).to_contain_text("left")
        await expect(dialog).to_be_hidden()
        async with access_of(stack) as access:
            assert [one.version for one in await access.acceptances("tessa")] == [TERMS]
        await her.tab()  # another one is not asked


async def test_a_voucher_turns_a_guest_into_a_maker_on_a_small_screen(browser: Browser, stack: Stack) -> None:
    now = now_ms()
    async with access_of(stack) as access:
        voucher = Voucher(
            code="Spring-25", created_by="tests", created_at=now, updated_at=now, expires_at=now + 600_000
        )
        assert await access.create_voucher(voucher)
    size = {"width": 390, "height": 844}
    async with visitor(browser, stack, "gil", role=Role.RESTRICTED, viewport=size, expected=REFUSED) as his:
        page = await his.tab()
        code, redeem = page.get_by_label("Voucher code"), page.get_by_role("button", name="Redeem")
        await expect(code).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") == size["width"]
        for label in await page.get_by_label("Shape").locator("option").all_text_contents():
            await page.get_by_label("Shape").select_option(label)
            assert await page.get_by_label("Shape").evaluate(FITS), label
        await page.get_by_label("Shape").select_option("wide, 848 × 480")
        await page.get_by_label("What should the video show?").fill("a garden")
        await page.keyboard.press("Control+Enter")
        await expect(page.locator("#answer")).to_contain_text("requires user role")
        await expect(code).to_be_focused()
        await page.keyboard.type("spring-25")
        await page.keyboard.press("Enter")
        await expect(page.locator("#redeem-answer")).to_have_text("Invalid voucher code.")
        await expect(code).to_be_focused()
        await expect(page.locator(CARD)).to_have_count(0)
        await code.fill("Spring-25")
        await redeem.click()
        await expect(page.get_by_text("The voucher counts.")).to_be_visible()
        await expect(code).to_be_hidden()
        await expect(page.get_by_label("What should the video show?")).to_be_focused()
        await page.keyboard.press("Control+Enter")
        await expect(page.locator(CARD)).to_have_count(1)
        await page.get_by_role("button", name="Cancel").click()
        await expect(page.locator(f"{CARD} .now")).to_contain_text("Cancelled.")
        await page.reload()
        await expect(page.locator("#connection")).to_have_text("live")
        await expect(code).to_be_hidden()


@pytest.mark.parametrize("revoked", [True, False])
async def test_the_end_of_a_session_is_told_without_a_click(
    browser: Browser, stack: Stack, strict: Strict, revoked: bool
) -> None:
    """It is revoked while the page is open, or ends while that opens or soon after."""
    now, user = now_ms(), f"sam-{revoked}"
    secret, session = new_key(user, now=now, kind=KeyKind.SESSION, expires_at=now + (600_000 if revoked else 3_000))
    async with access_of(stack) as access, visitor(browser, stack, None, url=strict.url, expected=REFUSED) as his:
        await access.store_api_key(session)
        await access.accept_terms(Acceptance(user_id=user, version=TERMS, accepted_at=now))
        cookie: Any = {"name": cookie_name(strict.url), "value": secret, "url": strict.url}
        await his.context.add_cookies([cookie])
        page = await his.tab(live=revoked)
        if revoked:
            await access.revoke_api_key(session.key_hash, now_ms())
        await expect(page.get_by_role("heading", name="You need a key to come in")).to_be_visible()
        await expect(page.locator("#studio")).to_be_hidden()
        if revoked:
            await expect(page.get_by_text("Your session has ended.")).to_be_visible()


async def test_why_a_connection_ended_for_good_is_said_and_a_person_can_try_again(
    browser: Browser, stack: Stack, strict: Strict
) -> None:
    async with visitor(browser, stack, "toni", url=strict.url) as his, access_of(stack) as access:
        await access.accept_terms(Acceptance(user_id="toni", version=TERMS, accepted_at=now_ms()))
        first, _ = await his.tab(), await his.tab()
        third = await his.tab(live=False)
        connection, again = third.locator("#connection"), third.get_by_role("button", name="Connect again")
        await expect(connection).to_have_text(CLOSE_WORDS[CloseCode.TOO_MANY])
        await expect(again).to_be_visible()
        await first.close()

        async def live() -> bool:
            if await again.is_visible():  # the gateway may not have noticed yet that the first one is gone
                await again.click()
            return await connection.inner_text() == "live"

        await until(live, "the third tab live")
        await expect(again).to_be_hidden()


async def test_a_page_of_another_origin_uses_the_live_client_where_the_operator_allows_it(
    browser: Browser, stack: Stack, strict: Strict
) -> None:
    secret, key = new_key("olga", now=now_ms())
    blocked = r"blocked by CORS|Failed to load resource"
    async with visitor(browser, stack, None, expected=blocked) as hers, access_of(stack) as access:
        await access.store_api_key(key)
        page = await hers.context.new_page()
        async with elsewhere(strict.friend) as friend, elsewhere(closed_port()) as stranger:
            await page.goto(friend)
            with pytest.raises(Error, match="The terms of use have to be accepted first"):
                await page.evaluate(WATCH, [strict.url, secret])
            await access.accept_terms(Acceptance(user_id="olga", version=TERMS, accepted_at=now_ms()))
            assert "snapshot" in await page.evaluate(WATCH, [strict.url, secret])
            await page.goto(stranger)
            with pytest.raises(Error, match="Failed to fetch dynamically imported module"):
                await page.evaluate(WATCH, [strict.url, secret])
