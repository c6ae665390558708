"""The page, how a visitor gets in, and what a page elsewhere may not do with the visitor's cookie."""

import re

import httpx
import pytest

from gateway.http.page import CONSOLE
from schemas.access import KeyKind
from tests.gateway.world import ORIGIN, World, settings, started

BODY = {"prompt": "a"}


async def enter(world: World, http: httpx.AsyncClient) -> httpx.Response:
    return await http.get("/", params={"token": await world.key(kind=KeyKind.PAGE_LINK)})


async def test_the_page_is_static_under_a_strict_policy(world: World) -> None:
    async with world.client(None) as http:
        page = await http.get("/")
        assert page.status_code == 200
        policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["connect-src"] == "'self' ws://videos.test"
        assert policy["media-src"] == "'self' memory://objects"
        assert policy["img-src"] == "'self' blob: memory://objects"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert (policy["require-trusted-types-for"], policy["trusted-types"]) == ("'script'", "'none'")
        assert (page.headers["cross-origin-opener-policy"], page.headers["referrer-policy"]) == (
            "same-origin",
            "no-referrer",
        )
        assert "style=" not in page.text
        for name in sorted(path.name for path in CONSOLE.iterdir() if path.name != "index.html"):
            answer = await http.get(f"/console/{name}")
            assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "javascript" in answer.headers["content-type"] or not name.endswith(".js")
        for outside in ("/console/../auth.py", "/console/%2e%2e/auth.py", "/console/nothing.js"):
            assert (await http.get(outside)).status_code == 404


MODULES = {path.name: path.read_text() for path in sorted(CONSOLE.glob("*.js"))}


PAGES = {path.name: path.read_text() for path in sorted(CONSOLE.glob("*.html"))}
SCRIPT = re.compile(r'<script type="module" src="/console/([\w.]+)"></script>')


def reached_from(page: str) -> set[str]:
    """The modules that this page loads."""
    reached, left = set[str](), SCRIPT.findall(PAGES[page])
    while left:
        name = left.pop()
        reached.add(name)
        left += set(re.findall(r'from "/console/([\w.]+)"', MODULES[name])) - reached
    return reached


def test_the_modules_stay_small_and_every_one_is_used() -> None:
    code = [line for line in MODULES["live.js"].splitlines() if line.strip() and not line.lstrip().startswith("//")]
    assert len(code) <= 70
    assert "import" not in "".join(code)  # one file, to be taken as it is
    assert {name: len(text.splitlines()) for name, text in MODULES.items() if len(text.splitlines()) > 150} == {}
    assert set.union(*map(reached_from, PAGES)) == set(MODULES)


@pytest.mark.parametrize("name", PAGES)
def test_nothing_in_a_page_is_code_or_style(name: str) -> None:
    page = PAGES[name]
    assert len(re.findall(r"<script", page)) == len(SCRIPT.findall(page)) == 1
    assert "<style" not in page
    assert not re.search(r"\s(on\w+|style)=", page)


def test_no_module_makes_markup_of_text_or_code_of_either() -> None:
    unsafe = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(|createContextualFragment|DOMParser"
    )
    assert [name for name, text in MODULES.items() if re.search(unsafe, text)] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_label_names_a_field_and_every_element_that_a_module_looks_for_is_there(name: str) -> None:
    page = PAGES[name]
    there = set(re.findall(r'\sid="([\w-]+)"', page))
    assert set(re.findall(r'<label for="([\w-]+)"', page)) == set(
        re.findall(r'<(?:input|select|textarea) id="([\w-]+)"', page)
    )
    modules = [MODULES[module] for module in reached_from(name)]
    wanted = {element for text in modules for element in re.findall(r'\$\("([\w-]+)"\)', text)}
    assert wanted
    assert wanted - there == set()


async def test_the_page_shows_where_the_terms_are_and_makes_no_markup_of_it() -> None:
    async with started(settings(terms_url="https://a.test/?a=1&b='2")) as world, world.client(None) as http:
        assert """<body data-terms-url="https://a.test/?a=1&amp;b=&#x27;2">""" in (await http.get("/")).text


async def test_the_pages_of_allowed_origins_may_import_the_live_client() -> None:
    async with started(settings(allowed_origins="https://app.test")) as world, world.client(None) as http:
        theirs = await http.get("/console/live.js", headers={"Origin": "https://app.test"})
        assert theirs.headers["access-control-allow-origin"] == "https://app.test"
        others = await http.get("/console/live.js", headers={"Origin": "https://evil.test"})
        assert "access-control-allow-origin" not in others.headers
        ours = await http.get("/console/live.js")
        assert all("Origin" in answer.headers["vary"] for answer in (theirs, others, ours))


async def test_a_token_becomes_a_cookie_and_leaves_the_address(world: World) -> None:
    async with world.client(None) as http:
        answer = await enter(world, http)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"].lower()
        assert {"httponly", "samesite=strict", "path=/"} <= set(cookie.split("; "))
        assert "secure" not in cookie
        assert (await http.get("/api/videos")).status_code == 200
        again = await http.get(answer.request.url)
        assert (again.status_code, again.headers["location"]) == (303, "/#token-used")
        assert "set-cookie" not in again.headers


async def test_over_https_the_cookie_is_secure() -> None:
    async with started(settings(public_url="https://videos.test")) as world, world.client(None) as http:
        assert "Secure" in (await enter(world, http)).headers["set-cookie"]


async def test_looking_at_the_headers_uses_no_token_up(world: World) -> None:
    token = await world.key(kind=KeyKind.PAGE_LINK)
    async with world.client(None) as http:
        assert (await http.head("/", params={"token": token})).status_code == 200
        assert (await http.get("/", params={"token": token})).headers["location"] == "/"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [(ORIGIN, True), ("http://evil.test", False), ("https://videos.test", False), ("null", False), (None, False)],
)
async def test_a_cookie_acts_only_for_our_own_pages(world: World, origin: str | None, allowed: bool) -> None:
    headers = {"Origin": origin} if origin else {}
    async with world.client(None) as http:
        await enter(world, http)
        submitted = await http.post("/api/runpod", json=BODY, headers=headers)
        deleted = await http.request("DELETE", "/api/videos", json={"jobIds": ["x"]}, headers=headers)
        assert {submitted.status_code, deleted.status_code} == ({200} if allowed else {403})
        assert (await http.get("/api/videos", headers=headers)).status_code == 200
        del http.cookies[world.parts.auth.cookie]
        assert (await http.post("/api/runpod", json=BODY, headers=headers)).status_code == 401
    assert len(world.ledger.heard) == (1 if allowed else 0)


async def test_a_key_in_a_header_needs_no_origin_and_pages_named_by_the_operator_may_call() -> None:
    named = settings(allowed_origins="https://app.test, https://other.test/")
    async with started(named) as world, world.client() as http:
        answer = await http.post("/api/runpod", json=BODY, headers={"Origin": "https://app.test"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://app.test"
        ask = {"Origin": "https://other.test", "Access-Control-Request-Method": "POST"}
        assert (await http.options("/api/runpod", headers=ask)).status_code == 200
        ask["Origin"] = "https://evil.test"
        assert "access-control-allow-origin" not in (await http.options("/api/runpod", headers=ask)).headers


async def test_tokens_and_keys_are_never_logged(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    token, key = await world.key(kind=KeyKind.PAGE_LINK), await world.key()
    async with world.client(None) as http:
        await http.get("/", params={"token": token})
        await http.get("/api/videos", headers={"Authorization": f"Bearer {key}"})
        await http.get("/api/videos", headers={"Authorization": f"Bearer {key[:-1]}"})
    out = "".join(capfd.readouterr())
    assert "/api/videos" in out
    assert token[3:20] not in out
    assert key[3:20] not in out
