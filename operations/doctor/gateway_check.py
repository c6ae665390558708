"""The gateway: whether it can do its work, as it says itself, and is of this version."""

import httpx

from operations.core.findings import Finding, note, ok, problem
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
        return [problem(CHECK, what, "nobody can ask for a video, or see one", "openv gateway")]
    if answer.is_success:
        return [ok(CHECK, f"{url} is ready")]
    missing = _missing(answer)
    what = f"{url} is not ready: {missing or f'it answers {answer.status_code}'}"
    return [problem(CHECK, what, "it takes no requests until it is", "openv doctor --only kafka")]


def _missing(answer: httpx.Response) -> str:
    try:
        named = answer.json().get("missing")
    except (ValueError, AttributeError):
        return ""
    return f"it misses {', '.join(map(str, named))}" if isinstance(named, list) and named else ""
