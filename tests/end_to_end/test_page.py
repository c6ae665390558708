"""The page at ``/`` in a real Chromium: a video from the prompt to the player, and whatever comes between."""

from collections.abc import AsyncIterator
from itertools import groupby, pairwise
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Response, expect

from repo.clock import now_ms
from schemas.accounts import Overrides
from schemas.commands import SetOverrides
from tests.end_to_end import browser as module
from tests.end_to_end.browser import AWAY, REFUSED, chromium, executable, link, override, record, visitor
from tests.end_to_end.stack import LONG, Stack, until

pytestmark = [pytest.mark.servers, pytest.mark.model, pytest.mark.timeout(600)]
CARD = "#videos > .card"
PLAYS = """async (video) => {
  await video.play();
  const from = video.currentTime;
  await new Promise((resolve) => {
    const plays = () => video.currentTime !== from && video.readyState >= video.HAVE_CURRENT_DATA;
    const look = () => (plays() ? resolve() : requestAnimationFrame(look));
    look();
  });
  return { width: video.videoWidth, height: video.videoHeight, ready: video.readyState, duration: video.duration };
}"""
DECODED = "(sources) => Promise.all(sources.map((source) => pictures.get(source)))"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


async def ids(page: Page) -> list[str]:
    """The job ids of the cards, from top to bottom."""
    found: list[str] = await page.locator(f"{CARD} a[href*='/video']").evaluate_all(
        "links => links.map(link => link.getAttribute('href').split('/')[3])"
    )
    return found


async def listed(http: httpx.AsyncClient) -> list[str]:
    return [row["jobId"] for row in (await http.get("/api/videos?limit=100")).json()]


async def small(page: Page) -> None:
    """Choose the smallest size, by keyboard where that is how it is done."""
    await page.get_by_label("Shape").select_option("another size")
    await page.get_by_label("Width").fill("384")
    await page.get_by_label("Height").fill("384")
    await page.get_by_label("Length").press("Home")


def test_without_a_browser_the_test_fails_and_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        executable()


async def test_whoever_watches_the_pages_sees_what_they_may_not_do(browser: Browser, stack: Stack) -> None:
    """The tests below end with "nothing was seen": here is what would be."""
    async with visitor(browser, stack, None, expected=".") as nobody:
        page = await nobody.tab(live=False)
        await page.evaluate("document.body.append(Object.assign(new Image(), { src: 'http://elsewhere.test/' }))")
        await page.evaluate("console.error('an error'); setTimeout(() => { throw new Error('thrown') })")
        await page.evaluate("try { document.body.innerHTML = '<b>' } catch {}")
        wanted = [
            "policy: img-src http://elsewhere.test/",
            "error: an error",
            "page error: thrown",
            "policy: require-tr",
        ]

        async def all_there() -> bool:
            return all(any(line.startswith(one) for line in nobody.seen) for one in wanted)

        await until(all_there, f"{wanted} in {nobody.seen}", 60)


async def test_a_link_opens_the_page_once_and_leaves_nothing_in_the_address(browser: Browser, stack: Stack) -> None:
    once = await link(stack, "vera")
    async with visitor(browser, stack, None, expected=REFUSED) as first:
        page = await first.tab(once.removeprefix(stack.url))
        assert page.url == f"{stack.url}/"
        assert await page.evaluate("document.cookie") == ""
        await expect(page.get_by_text("Nothing here yet")).to_be_visible()
        await page.reload()
        await expect(page.locator("#connection")).to_have_text("live")
        await first.context.clear_cookies()
        # Not a click: the page may be reading its list or its quota yet, and whatever asks first locks the door.
        await page.locator("#ask").evaluate("form => form.requestSubmit()")
        await expect(page.get_by_role("heading", name="You need a key to come in")).to_be_visible()
        await expect(page.get_by_text("That link was used already")).to_be_hidden()
    async with visitor(browser, stack, None, expected=REFUSED) as second:
        page = await second.tab(once.removeprefix(stack.url), live=False)
        await expect(page.get_by_role("heading", name="You need a key to come in")).to_be_visible()
        await expect(page.get_by_text("That link was used already")).to_be_visible()
        await expect(page.locator("#studio")).to_be_hidden()


async def test_a_video_from_the_prompt_to_the_player_seen_in_two_tabs(browser: Browser, stack: Stack) -> None:
    async with visitor(browser, stack, "pia") as her:
        page, other = await her.tab(), await her.tab()
        stories = [await record(page), await record(other)]
        parts: list[Response] = []
        page.on("response", lambda answer: parts.append(answer) if answer.status == 206 else None)
        await page.get_by_label("Length").press("Home")
        await page.get_by_label("Length").press("ArrowRight")
        await expect(page.locator("#cost")).to_have_text("0.54 s of the 600.00 s left this month.")
        await page.get_by_text("More options").click()
        await page.get_by_label("Steps").fill("65")
        await page.get_by_label("What it should not show").fill("cats")
        await page.get_by_label("What should the video show?").fill("a lighthouse in a storm")
        await page.keyboard.press("Control+Enter")
        for tab in (page, other):
            await expect(tab.locator(f"{CARD} video")).to_be_visible()
            await expect(tab.locator(CARD)).to_have_count(1)
            await expect(tab.locator("#cost")).to_contain_text("of the 599.46 s left")
        for tab, story in zip((page, other), stories, strict=True):
            await tells_the_whole_story(tab, await story())

        plays = await page.locator(f"{CARD} video").evaluate(PLAYS)
        assert (plays["width"], plays["height"]) == (848, 480)
        assert plays["ready"] >= 2
        assert plays["duration"] == pytest.approx(13 / 24, abs=0.05)
        await expect(page.locator("#spoken")).to_contain_text("a lighthouse in a storm: Ready, made in")

        shown = await page.locator(f"{CARD} video").evaluate("video => [video.src, video.poster]")
        assert shown == [f"{stack.url}/api/videos/{(await ids(page))[0]}/{kind}" for kind in ("video", "poster")]
        assert parts, "the player asked for no part of the file"
        for answer in parts:
            assert (await answer.request.all_headers())["range"].startswith("bytes=")
            assert answer.request.redirected_from is not None
            assert answer.request.redirected_from.url == shown[0]
        await other.get_by_role("button", name="Delete").click()
        await other.get_by_role("button", name="Delete for good").click()
        await expect(page.locator(CARD)).to_have_count(0)
        await expect(page.get_by_text("Nothing here yet")).to_be_visible()


async def tells_the_whole_story(page: Page, story: list[dict[str, Any]]) -> None:
    """States in their order, the bar never back, a step with its time left, and previews that are pictures."""
    assert [state for state, _ in groupby(line["state"] for line in story)] == ["queued", "processing", "completed"]
    bars = [line["bar"] for line in story if line["bar"] is not None]
    assert bars
    assert all(a <= b for a, b in pairwise(bars))
    making = [line for line in story if line["now"].startswith("Making the frames, step ")]
    assert any(" of 65, about " in line["now"] and line["now"].endswith(" left") for line in making)
    assert {line["phase"] for line in making} == {"Frames"}
    previews = [line["preview"] for line in story if line["preview"]]
    assert previews
    assert all(width > 0 for width in await page.evaluate(DECODED, previews))
    assert all(preview.startswith("blob:") for preview in previews)


async def test_cancel_midway_then_delete_with_a_second_thought(browser: Browser, stack: Stack) -> None:
    http = await stack.new_user("cleo")
    async with visitor(browser, stack, "cleo") as her:
        page = await her.tab()
        await stack.submit(http, **LONG)
        await expect(page.locator(f"{CARD} .now")).to_contain_text("Making the frames")
        await expect(page.locator("#cost")).to_contain_text("of the 598.71 s left")
        await page.get_by_role("button", name="Cancel").click()
        await expect(page.locator(f"{CARD} .now")).to_have_text("Cancelled. Its seconds were given back.")
        await expect(page.locator(CARD)).to_be_focused()
        await expect(page.locator("#cost")).to_contain_text("of the 600.00 s left")
        await page.get_by_role("button", name="Try again").click()
        await expect(page.locator("#cost")).to_contain_text("of the 598.71 s left")
        await page.get_by_role("button", name="Cancel").click()
        await expect(page.locator("#cost")).to_contain_text("of the 600.00 s left")

        await page.get_by_role("button", name="Delete").click()
        dialog = page.get_by_role("dialog", name="Delete this video?")
        await expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        await expect(page.get_by_role("button", name="Delete")).to_be_focused()
        assert len(await listed(http)) == 1
        await page.keyboard.press("Enter")
        await dialog.get_by_role("button", name="Delete for good").click()
        await expect(page.locator(CARD)).to_have_count(0)
        await expect(page.get_by_role("heading", name="Videos")).to_be_focused()
        await expect(page.get_by_text("Nothing here yet")).to_be_visible()
        assert await listed(http) == []


async def test_more_than_what_is_left_is_said_before_and_after_with_what_fits(browser: Browser, stack: Stack) -> None:
    exception = Overrides(monthly_limit_seconds=13 / 24)
    await override(
        stack, "otto", SetOverrides(command_id="otto", user_id="otto", overrides=exception, issued_at=now_ms())
    )
    http = await stack.new_user("otto")
    async with visitor(browser, stack, "otto", expected=REFUSED) as his:
        page = await his.tab()
        await expect(page.locator("#advice")).to_have_text("31 frames are more than what is left.")
        fits = page.get_by_role("button", name="Make it 13 frames, 0.54 s")
        await expect(fits).to_be_visible()
        await page.get_by_label("What should the video show?").fill("too long")
        await page.get_by_role("button", name="Make the video").click()
        await expect(page.get_by_role("alert").first).to_contain_text("Monthly limit exceeded. You have 0.54 seconds")
        await expect(page.locator(CARD)).to_have_count(0)
        await fits.click()
        await expect(page.locator("#advice")).to_be_hidden()
        await expect(page.locator("#answer")).to_be_hidden()
        await expect(page.get_by_role("button", name="Make the video")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator(CARD)).to_have_count(1)
        await expect(page.locator(f"{CARD} .facts")).to_contain_text("13 frames (0.54 s)")
        await expect(page.locator("#advice")).to_have_text("Nothing is left this month.")
        await page.get_by_role("button", name="Cancel").click()
        await expect(page.locator(f"{CARD} .now")).to_contain_text("Cancelled.")
    assert len(await listed(http)) == 1


async def test_what_is_wrong_with_a_field_stands_beside_it(browser: Browser, stack: Stack) -> None:
    http = await stack.new_user("fay")
    async with visitor(browser, stack, "fay", expected=REFUSED) as her:
        page = await her.tab()
        await page.get_by_label("Shape").select_option("another size")
        await page.get_by_label("Width").fill("100")
        await page.get_by_label("What should the video show?").fill("   ")
        await page.get_by_text("More options").click()
        await page.get_by_label("Seed").fill("-1")
        await page.get_by_text("More options").click()
        await page.get_by_role("button", name="Make the video").click()
        wrong = {"prompt": "must not be empty", "width": "must be a whole number from 384 to 848", "seed": "from 0 to"}
        for name, words in wrong.items():
            await expect(page.locator(f"#{name}-wrong")).to_contain_text(words)
            await expect(page.locator(f"#{name}")).to_have_attribute("aria-invalid", "true")
            assert f"{name}-wrong" in (await page.locator(f"#{name}").get_attribute("aria-describedby") or "")
        await expect(page.locator("#prompt")).to_be_focused()
        await expect(page.get_by_label("Seed")).to_be_visible()
        await page.keyboard.type("a corgi")
        await expect(page.locator("#prompt-wrong")).to_be_hidden()
        await page.get_by_label("Seed").fill("")
        await page.get_by_label("Seed").press("e")
        await page.get_by_role("button", name="Make the video").click()
        await expect(page.locator("#seed-wrong")).to_have_text("must be a number")
        await expect(page.locator("#width-hint")).to_have_text("384 to 848, in steps of 16")
    assert await listed(http) == []


async def test_the_gateway_dies_and_the_page_comes_back_with_every_card_once(browser: Browser, stack: Stack) -> None:
    http = await stack.new_user("gwen")
    async with visitor(browser, stack, "gwen", expected=f"{AWAY}|{REFUSED}") as her:
        page, other = await her.tab(), await her.tab()
        await stack.submit(http, num_frames=13, steps=65)
        await expect(page.locator(f"{CARD} .now")).to_contain_text("Making the frames")
        await page.get_by_label("What should the video show?").fill("asked while nobody listens")
        await small(page)
        pid = await stack.kill("gateway")
        await expect(page.locator("#connection")).to_have_text("connecting")
        await page.get_by_role("button", name="Make the video").click()
        await stack.back("gateway", pid)
        for tab in (page, other):
            await expect(tab.locator("#connection")).to_have_text("live")
            await expect(tab.locator(f"{CARD} video")).to_have_count(2)
            assert await ids(tab) == await listed(http)
        await expect(page.locator("#answer")).to_be_hidden()
        await expect(page.locator("#cost")).to_contain_text("of the 599.17 s left")


async def test_while_nobody_decides_it_is_recorded_and_shown_once_decided(browser: Browser, stack: Stack) -> None:
    async with visitor(browser, stack, "rob", expected=REFUSED) as his:
        page = await his.tab()
        await page.get_by_label("What should the video show?").fill("patience")
        await small(page)
        async with stack.suspended("streams"):
            await page.get_by_role("button", name="Make the video").click()
            await expect(page.locator("#answer")).to_contain_text("Recorded.")
            await expect(page.locator("#cost")).to_contain_text("can’t be told")
            await expect(page.locator(CARD)).to_have_count(0)
        await expect(page.locator(CARD)).to_have_count(1)
        await expect(page.locator("#answer")).to_be_hidden()
        await expect(page.locator("#cost")).to_contain_text("of the 599.71 s left")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_hostile_prompt_is_text_and_fits_the_narrowest_screen(
    browser: Browser, stack: Stack, scheme: Any
) -> None:
    user = f"mallory-{scheme}"
    http = await stack.new_user(user)
    prompts = ['<img src=x onerror="alert(1)"><script>alert(2)</script> & 😀 \u202etxt\u202c שלום مرحبا', "W" * 400]
    rows = [await stack.submit(http, prompt=prompt) for prompt in prompts]
    small_screen = {"width": 320, "height": 640}
    async with visitor(browser, stack, user, viewport=small_screen, color_scheme=scheme, reduced_motion="reduce") as it:
        page = await it.tab()
        page.on("dialog", lambda dialog: it.seen.append(f"dialog: {dialog.message}"))
        await expect(page.locator(f"{CARD} .prompt")).to_have_text(list(reversed(prompts)))
        assert await page.locator(f"{CARD} .prompt *").count() == 0
        await page.get_by_text("More options").click()
        await expect(page.locator(f"{CARD} video")).to_have_count(len(rows))
        assert await page.evaluate("document.documentElement.scrollWidth") == 320
        await page.get_by_role("button", name="Delete").last.click()
        await expect(page.locator("#sure-prompt")).to_have_text(prompts[0])
        assert await page.evaluate("document.documentElement.scrollWidth") == 320
        await page.get_by_role("button", name="Keep it").click()


async def test_earlier_videos_come_a_page_at_a_time_and_go_where_they_are_deleted(
    browser: Browser, stack: Stack
) -> None:
    exception = Overrides(monthly_limit_seconds=500.0, rate_limit=100, max_active=100)
    await override(
        stack, "lena", SetOverrides(command_id="lena", user_id="lena", overrides=exception, issued_at=now_ms())
    )
    http = await stack.new_user("lena")
    rows = [await stack.submit(http, prompt=f"number {number}", **LONG) for number in range(15)]
    for row in rows:
        assert (await http.post(f"/api/runpod/{row['jobId']}/cancel")).status_code in (200, 202)
    for row in rows:
        await stack.state(http, row["jobId"], "cancelled")
    newest_first = await listed(http)
    async with visitor(browser, stack, "lena") as her:
        page = await her.tab()
        await expect(page.locator(CARD)).to_have_count(12)
        assert await ids(page) == newest_first[:12]
        await page.get_by_role("button", name="Show earlier videos").click()
        await expect(page.locator(CARD)).to_have_count(15)
        assert await ids(page) == newest_first
        await expect(page.get_by_role("button", name="Show earlier videos")).to_be_hidden()
        await expect(page.locator(CARD).nth(12)).to_be_focused()
        gone = newest_first[13]
        await http.request("DELETE", "/api/videos", json={"jobIds": [gone]})
        await expect(page.locator(CARD)).to_have_count(14)
        assert gone not in await ids(page)

        async def agreed() -> bool:
            return await ids(page) == await listed(http)

        await until(agreed, "the page and the list agree")
