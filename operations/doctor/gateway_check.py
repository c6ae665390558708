"""The gateway: whether it can do its work, as it says itself, and is of this version."""

import httpx

from operations.core.findings import Finding, note, ok, problem
from operations.doctor.away import about_part, about_server
from operations.doctor.surroundings import Surroundings

CHECK = "gateway"
_WITHIN_S = 5.0


async def check(around: Surroundings) -> list[Finding]:
    """Asks ``/readyz`` of the address that is known."""
    url = around.gateway
    if url is None:
        return [note(CHECK, "no address is known", "OPENV_URL or OPENV_PUBLIC_URL would name it")]
    try:
        async with httpx.AsyncClient(timeout=_WITHIN_S, trust_env=False) as client:
            answer = await client.get(f"{url.rstrip('/')}/readyz")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        what = f"{url} does not answer: {type(error).__name__}"
        why = "nobody can ask for a video, or see one"
        return [problem(CHECK, what, why, "openv gateway", about="gateway", after=["process gateway"])]
    if answer.is_success:
        return [ok(CHECK, f"{url} is ready")]
    missing = _missing(answer)
    said = f"it misses {', '.join(missing)}" if missing else f"it answers {answer.status_code}"
    why = "it takes no requests until it is (docs/runbooks/ServerAway.md, FeedBehind.md)"
    after = [*map(about_server, missing), *map(about_part, missing), "process gateway"]
    after += ["database"] if "mongodb" in missing else []  # it answers, and is another one
    mend = around.restart("gateway")
    return [problem(CHECK, f"{url} is not ready: {said}", why, mend, about="gateway", after=after)]


def _missing(answer: httpx.Response) -> list[str]:
    try:
        named = answer.json().get("missing")
    except (ValueError, AttributeError):
        return []
    return [str(one) for one in named] if isinstance(named, list) else []
