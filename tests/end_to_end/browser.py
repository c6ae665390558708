"""A real Chromium, and pages in it that note everything a page should not do: errors, and breaches of its policy."""

import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright, expect

from gateway.identity.keys import new_key
from repo.access import AccessStore
from repo.clock import now_ms
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from schemas.access import KeyKind
from schemas.accounts import Role
from schemas.codec import encode
from schemas.commands import SetOverrides
from tests.end_to_end.stack import Stack, until
from tests.servers import settings_of

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = (
    "The page is tested in a real browser, and there is none: `apt-get install chromium` on Debian brings one "
    f"(looked for {', '.join(NAMES)} on PATH)."
)
PATIENCE_MS = 120_000.0
# What Chromium itself writes where a request was refused, or found nobody: the pages show these in words.
REFUSED = r"Failed to load resource: the server responded with a status of (40[0-9]|422|429|503)"
AWAY = (
    r"net::ERR_CONNECTION_REFUSED|net::ERR_CONNECTION_RESET|net::ERR_EMPTY_RESPONSE|WebSocket connection to .* failed"
)
WATCH = """
addEventListener("securitypolicyviolation", (event) => violated(`${event.effectiveDirective} ${event.blockedURI}`));
"""


def executable() -> str:
    """The browser's path; a failing test, with the package that brings it, where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.fail(MISSING, pytrace=False)
    return found


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A headless Chromium. Without its sandbox, which containers and root do not allow; it opens our own pages only."""
    path = executable()
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = await playwright.chromium.launch(executable_path=path, args=arguments, timeout=PATIENCE_MS)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Visitor:
    """One user's browser. ``expected``: a pattern of console errors that belong to what the test provokes."""

    context: BrowserContext
    stack: Stack
    expected: str
    url: str
    seen: list[str] = field(default_factory=list)

    async def tab(self, path: str = "/", *, live: bool = True) -> Page:
        """Another tab; with ``live``, when the page is inside, connected and knows the quota."""
        page = await self.context.new_page()
        page.on("console", self._noted)
        page.on("pageerror", lambda error: self.seen.append(f"page error: {error}"))
        await page.goto(self.url + path)
        if live:
            await expect(page.locator("#connection")).to_have_text("live")
            await expect(page.locator("#cost")).to_contain_text("left")
        return page

    def _noted(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.seen.append(f"{message.type}: {message.text} {message.location.get('url', '')}")

    def unexpected(self) -> list[str]:
        return [line for line in self.seen if not (self.expected and re.search(self.expected, line))]


@asynccontextmanager
async def visitor(
    browser: Browser,
    stack: Stack,
    user: str | None,
    *,
    expected: str = "",
    role: Role = Role.USER,
    url: str | None = None,
    **context: Any,
) -> AsyncIterator[Visitor]:
    """A browser of its own that came in by a link (``user`` None: it did not). Checks at the end what it saw.

    ``url``: another gateway of the stack's than its own.
    """
    opened = await browser.new_context(**context)
    opened.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    try:
        made = Visitor(opened, stack, expected, url or stack.url)
        await opened.expose_function("violated", lambda what: made.seen.append(f"policy: {what}"))
        await opened.add_init_script(WATCH)
        if user is not None:
            door = await opened.new_page()
            await door.goto((await link(stack, user, role)).replace(stack.url, made.url))
            await door.close()
        yield made
        if unexpected := made.unexpected():
            pytest.fail("the pages saw what they should not have:\n" + "\n".join(unexpected))
    finally:
        await opened.close()


async def link(stack: Stack, user: str, role: Role = Role.USER) -> str:
    """A link that opens the page once, as ``openv up`` prints it, for this user."""
    now = now_ms()
    secret, key = new_key(user, now=now, name="page", kind=KeyKind.PAGE_LINK, role=role, expires_at=now + 600_000)
    async with access_of(stack) as access:
        await access.store_api_key(key)
    return f"{stack.url}/?token={secret}"


@asynccontextmanager
async def access_of(stack: Stack) -> AsyncIterator[AccessStore]:
    """The stack's own keys, vouchers and acceptances."""
    async with MongoDatabase(settings_of(stack.about()["environment"])) as database:
        yield database.access


async def override(stack: Stack, user: str, command: SetOverrides) -> None:
    """An operator's exception for this user, in force when this returns."""
    http = await stack.new_user(user)
    before = (await http.get("/api/usage")).json()
    async with KafkaEventLog(settings_of(stack.about()["environment"]), client_id="tests") as log:
        await log.append(encode(command, source="/tests", at=now_ms()))

    async def other() -> bool:
        answer = await http.get("/api/usage")
        return answer.status_code == 200 and answer.json()["limitSeconds"] != before["limitSeconds"]

    await until(other, f"the limits of {user} changed")


# A preview's address is good until the next one comes: it is decoded when it is seen.
RECORD = """() => {
  window.story = [];
  window.pictures = new Map();
  const list = document.querySelector("#videos");
  new MutationObserver(() => {
    const card = list.firstElementChild;
    if (!card) return;
    const bar = card.querySelector("progress");
    const line = { state: card.dataset.state, now: card.querySelector(".now").textContent,
      phase: card.querySelector(".phases .current")?.textContent ?? null,
      bar: bar.hasAttribute("value") ? bar.value : null, preview: card.querySelector(".stage img")?.src ?? null };
    if (line.preview && !pictures.has(line.preview)) {
      const image = Object.assign(new Image(), { src: line.preview });
      pictures.set(line.preview, image.decode().then(() => image.naturalWidth));
    }
    if (JSON.stringify(line) !== JSON.stringify(window.story.at(-1))) window.story.push(line);
  }).observe(list, { subtree: true, childList: true, attributes: true, characterData: true });
}"""


async def record(page: Page) -> Callable[[], Any]:
    """Note from now on, without a gap, what the topmost card shows; call the result for the notes."""
    await page.evaluate(RECORD)
    return lambda: page.evaluate("window.story")
