"""Webhook addresses that carry the job and the attempt they are about, so that no call can be taken for another's.

``?job=…&attempt=…&expires=…&signature=…``: ``expires`` in seconds since the epoch, the signature a hex HMAC-SHA256 over
the other three. Whoever makes such addresses signs with the first of the secrets; all of them are accepted, so that a
secret can be replaced while calls to older addresses are still to come.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

PATH = "/api/runpod/webhook"
_NUMBER = re.compile(r"[0-9]{1,12}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Signed:
    """What a signature vouches for."""

    job_id: str
    attempt: int


def signed_call(secret: str, signed: Signed, expires: int) -> str:
    """Path and query of the address for calls about this attempt, good until ``expires``."""
    about = {"job": signed.job_id, "attempt": str(signed.attempt), "expires": str(expires)}
    return f"{PATH}?{urlencode({**about, 'signature': _sign(secret, about)})}"


def verified(secrets: Sequence[str], query: Mapping[str, str], now: int) -> Signed | None:
    """What the query's signature vouches for at ``now`` (ms); None: nothing."""
    about = {name: query.get(name, "") for name in ("job", "attempt", "expires")}
    signature = query.get("signature", "")
    if not (_NUMBER.fullmatch(about["attempt"]) and _NUMBER.fullmatch(about["expires"])):
        return None
    if not about["job"] or not _SIGNATURE.fullmatch(signature):
        return None
    # Every secret is tried, so that how long it takes does not tell which one it was.
    matches = [hmac.compare_digest(_sign(secret, about), signature) for secret in secrets]
    if not any(matches) or int(about["expires"]) * 1000 <= now:
        return None
    return Signed(about["job"], int(about["attempt"]))


def _sign(secret: str, about: Mapping[str, str]) -> str:
    words = "\n".join(("openv.webhook.v1", about["job"], about["attempt"], about["expires"]))
    return hmac.new(secret.encode(), words.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
