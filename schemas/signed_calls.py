"""Webhook addresses that carry what they are about, so that no call can be taken for another's.

``?job=…&attempt=…&expires=…&signature=…``: ``expires`` in seconds since the epoch, the signature a hex HMAC-SHA256 over
the other three. With ``worker=…`` besides, signed over too and under another name, the address is one of our workers',
whose attempt runs on a foreign service: a call there only says that something moved. Whoever makes such addresses signs
with the first of the secrets.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

PATH = "/api/runpod/webhook"


@dataclass(frozen=True, slots=True)
class Signed:
    """What a signature vouches for. ``worker_id`` None: whoever calls reports what became of the attempt."""

    job_id: str
    attempt: int
    worker_id: str | None = None


def signed_call(secret: str, signed: Signed, expires: int) -> str:
    """Path and query of the address for calls about this attempt, good until ``expires``."""
    about = {"job": signed.job_id, "attempt": str(signed.attempt), "expires": str(expires)}
    if signed.worker_id is not None:
        about["worker"] = signed.worker_id
    return f"{PATH}?{urlencode({**about, 'signature': signature_of(secret, about)})}"


def signature_of(secret: str, about: Mapping[str, str]) -> str:
    """The signature over ``job``, ``attempt``, ``expires`` and, where it is there, ``worker``."""
    words = ["openv.webhook.v1", about["job"], about["attempt"], about["expires"]]
    if "worker" in about:
        words = ["openv.engine.v1", *words[1:], about["worker"]]
    return hmac.new(secret.encode(), "\n".join(words).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
