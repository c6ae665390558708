"""TLS certificates of what is reached over https: those that have ended, or soon will, as our clients see them."""

import asyncio
import socket
import ssl
from collections.abc import Iterable
from urllib.parse import urlsplit

from operations.core.findings import Finding, age, ok, problem
from operations.doctor.surroundings import Surroundings

CHECK = "certificates"
SOON_MS = 14 * 86_400_000
_WITHIN_S = 5.0
_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL's x509_vfy.h


async def check(around: Surroundings) -> list[Finding]:
    """Of the gateway and the object stores. Who does not answer is another check's; so is Kafka: its clients say it."""
    named = [around.gateway, around.servers.s3_endpoint_url, around.servers.s3_public_endpoint_url]
    named += [around.fallback.endpoint_url, around.fallback.public_endpoint_url]
    places = _places(one for one in named if one)
    ends = await asyncio.gather(*(asyncio.to_thread(end_of, host, port) for host, port in places))
    found = [
        one
        for (host, port), end in zip(places, ends, strict=True)
        for one in judged(f"{host}:{port}", end, around.now())
    ]
    return found or [ok(CHECK, f"none ends soon, of {len(places)} servers that are reached over https")]


def _places(urls: Iterable[str]) -> list[tuple[str, int]]:
    split = [urlsplit(url) for url in urls]
    return sorted({(one.hostname, one.port or 443) for one in split if one.scheme == "https" and one.hostname})


def end_of(host: str, port: int, context: ssl.SSLContext | None = None) -> int | str | None:
    """When the server's certificate ends (ms), or in words why it is refused; None: it does not answer."""
    trusted = context or ssl.create_default_context()
    try:
        with (
            socket.create_connection((host, port), _WITHIN_S) as plain,
            trusted.wrap_socket(plain, server_hostname=host) as secure,
        ):
            said = secure.getpeercert() or {}
    except ssl.SSLCertVerificationError as refused:
        return "it has expired" if refused.verify_code == _EXPIRED else refused.verify_message
    except OSError:
        return None
    return round(ssl.cert_time_to_seconds(str(said["notAfter"])) * 1000) if "notAfter" in said else None


def judged(place: str, end: int | str | None, now: int) -> list[Finding]:
    """What becomes of it. Who issues certificates here nobody can know: the command tells which one is served."""
    if end is None or (isinstance(end, int) and end > now + SOON_MS):
        return []
    words = end if isinstance(end, str) else f"it ends in {age(end - now)}" if end > now else "it has expired"
    why = "browsers, workers and parts refuse the server then; issue a new one, put it in its place, and look again"
    mend = f"openssl s_client -connect {place} </dev/null | openssl x509 -noout -subject -issuer -dates"
    return [problem(CHECK, f"the certificate of {place}: {words}", why, mend)]
