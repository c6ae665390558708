"""Whether a call's address was signed (``schemas/signed_calls.py``), and what the signature vouches for.

All secrets are accepted, so that one can be replaced while calls to older addresses are still to come.
"""

import hmac
import re
from collections.abc import Mapping, Sequence

from schemas.ids import is_name
from schemas.signed_calls import Signed, signature_of

_NUMBER = re.compile(r"[0-9]{1,12}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


def verified(secrets: Sequence[str], query: Mapping[str, str], now: int) -> Signed | None:
    """What the query's signature vouches for at ``now`` (ms); None: nothing."""
    about = {name: query.get(name, "") for name in ("job", "attempt", "expires")}
    worker_id, signature = query.get("worker"), query.get("signature", "")
    if not (_NUMBER.fullmatch(about["attempt"]) and _NUMBER.fullmatch(about["expires"])):
        return None
    if not about["job"] or not _SIGNATURE.fullmatch(signature):
        return None
    if worker_id is not None:
        if not is_name(worker_id):
            return None
        about["worker"] = worker_id
    # Every secret is tried, so that how long it takes does not tell which one it was.
    matches = [hmac.compare_digest(signature_of(secret, about), signature) for secret in secrets]
    if not any(matches) or int(about["expires"]) * 1000 <= now:
        return None
    return Signed(about["job"], int(about["attempt"]), worker_id)
