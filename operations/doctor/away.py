"""A server that does not answer, as a finding: what it is called, what names it, and how it is brought back."""

from operations.core.findings import Finding, problem
from repo.ports import Unavailable

NAMED_BY = {
    "kafka": "KAFKA_BOOTSTRAP_SERVERS",
    "mongodb": "MONGODB_URI",
    "s3": "S3_ENDPOINT_URL",
    "s3_fallback": "S3_FALLBACK_ENDPOINT_URL",
}
_REFUSED = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", ": 403")  # S3's codes
_PART = {"mongodb": "mongo"}  # what the local stack calls it, where that is another name


def about_server(name: str) -> str:
    """What findings call a server."""
    return f"server {name}"


def about_part(server: str) -> str:
    """What findings call the local stack's process of a server."""
    return f"process {_PART.get(server, server)}"


def away(check: str, absent: Unavailable) -> Finding:
    """It follows from the local stack's process, where that is the server and does not answer."""
    name = absent.server
    if any(code in absent.reason for code in _REFUSED):
        prefix = NAMED_BY[name].removesuffix("_ENDPOINT_URL")
        why = "nothing can be stored or shown: the keys, their rights (docs/operations.md, S3), or a clock are wrong"
        mend = f"export {prefix}_ACCESS_KEY_ID=… {prefix}_SECRET_ACCESS_KEY=…"
        return problem(check, f"{name} answers: {absent.reason}", why, mend, about=about_server(name))
    why = f"nothing that needs it can be done, or looked at; {NAMED_BY[name]} names it (docs/runbooks/ServerAway.md)"
    mend = f"curl -i ${NAMED_BY[name]}" if name == "s3_fallback" else f"docker compose up --detach {name}"
    after = [about_part(name), about_server(name)]  # the second: it was told by another check
    return problem(check, str(absent), why, mend, about=about_server(name), after=after)
