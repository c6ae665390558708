"""The page at ``/`` and how a visitor gets in: a one-time token in its address, exchanged for a cookie."""

from html import escape
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from gateway.core.origins import origin_of
from gateway.identity.auth import DAY_MS
from gateway.parts import Parts, parts_of

CONSOLE = Path(__file__).parent.parent / "console"
INDEX = (CONSOLE / "index.html").read_text()
_TERMS = 'data-terms-url=""'
# No page elsewhere gets hold of this one's window, or of its files; but for modules, which the pages of allowed origins
# may import by CORS (``live.js`` is made for that).
ALONE = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin"}


async def page(request: Request) -> Response:
    """The console, or with ``?token=``: the cookie and a redirect to the address without it."""
    parts = parts_of(request)
    token = request.query_params.get("token")
    if token is not None and request.method == "GET":
        return await _exchange(parts, token)
    media = " ".join(sorted({origin_of(await one.signed_url("console")) for _, one in parts.objects.each()}))
    live = parts.settings.origin.replace("http", "ws", 1)
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; "
        f"connect-src 'self' {live}; img-src 'self' blob: {media}; media-src 'self' {media}; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache", **ALONE}
    terms = escape(parts.settings.terms_url or "")
    return HTMLResponse(INDEX.replace(_TERMS, f'data-terms-url="{terms}"'), headers=headers)


async def _exchange(parts: Parts, token: str) -> Response:
    secret = await parts.auth.open_session(token)
    if secret is None:
        return RedirectResponse("/#token-used", status_code=303)
    response = RedirectResponse("/", status_code=303)
    response.set_cookie(
        parts.auth.cookie,
        secret,
        max_age=int(parts.settings.session_days * DAY_MS / 1000),
        path="/",
        httponly=True,
        samesite="strict",
        secure=parts.settings.origin.startswith("https:"),
    )
    return response


class _Fresh(StaticFiles):
    """Files whose freshness a browser asks about every time (a new version of the gateway may be behind the name)."""

    async def get_response(self, path: str, scope: object) -> Response:
        response = await super().get_response(path, scope)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "no-cache"
        response.headers.add_vary_header("Origin")  # a copy that our own page fetched lacks what others need
        response.headers.update(ALONE)
        return response


ROUTES = [
    Route("/", page, methods=["GET"]),
    Mount("/console", _Fresh(directory=CONSOLE)),
]
