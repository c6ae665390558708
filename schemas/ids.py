"""Identifiers: how each is made and what it looks like. Made at the edges; cores receive them in messages."""

import re
from hashlib import blake2b
from typing import Annotated
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import AfterValidator, StringConstraints

# Safe as a member's name in MongoDB (``account.pending``) and as a folder in S3. Ours are UUIDs.
JobId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")]
# A pool is named by a model or an endpoint.
PoolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
# Workers, sessions and polls are named by whoever runs them; what a report says is kept in the document.
Name = Annotated[str, StringConstraints(max_length=128)]
WORDS_MAX = 2_000
# Words of an engine or an operator: cut, not refused, because the report that carries them counts.
Words = Annotated[str, AfterValidator(lambda text: text[:WORDS_MAX])]

IDEMPOTENCY_NAMESPACE = uuid5(NAMESPACE_URL, "urn:openv:idempotency-key")
_SAFE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.:@|-]{0,127}$")


def job_id_of_key(user_id: str, idempotency_key: str) -> str:
    """The job id that a user's ``Idempotency-Key`` stands for (UUIDv5, RFC 9562): a repeat meets the same document."""
    return str(uuid5(IDEMPOTENCY_NAMESPACE, f"{len(user_id)}:{user_id}:{idempotency_key}"))


def is_job_id(text: str) -> bool:
    """Whether the text is a UUID in its canonical form."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def is_name(text: str) -> bool:
    """Whether the text may serve as a user, worker, session or pool id: 1–128 characters safe in keys and paths."""
    return _SAFE.fullmatch(text) is not None and ".." not in text


def number_of(job_id: str, created_at: int) -> int:
    """The numeric ``id`` that OpenV's web clients sort by: grows with creation time, below 2^53, always the same."""
    low = int.from_bytes(blake2b(job_id.encode(), digest_size=2).digest()) % 2048
    return created_at * 2048 + low


def request_hash(canonical_json: bytes) -> str:
    """A digest of a request, to tell a repeat from another payload under the same key."""
    return blake2b(canonical_json, digest_size=16).hexdigest()
