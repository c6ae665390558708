"""Where files lie in the object store: one folder a user, keys carry job, attempt, worker and the worker's session.

Two attempts, two workers or two lives of one worker that run the same attempt for a moment never write to the same key,
so a late upload can't overwrite a visible video, and a worker that clears up after itself can't delete one. User ids
are quoted, because identity providers choose them, not we.
"""

from dataclasses import dataclass
from urllib.parse import quote, unquote

KINDS = {
    "video": ("videos", "mp4"),
    "poster": ("images", "jpg"),
    "thumbnail": ("thumbnails", "webp"),
    "output": ("outputs", "json"),  # an external worker's word that is too large for a message
}
INPUTS = "inputs"


def user_prefix(user_id: str) -> str:
    """Everything of one user."""
    return f"{_quoted(user_id)}/"


def file_key(user_id: str, job_id: str, attempt: int, worker_id: str, session: str, kind: str) -> str:
    """The key of what an attempt made: ``{user}/videos/{job}/{attempt}/{worker}/{session}.mp4``."""
    folder, ending = KINDS[kind]
    return f"{_attempt_prefix(user_id, folder, job_id, attempt, worker_id)}{_quoted(session)}.{ending}"


def job_prefixes(user_id: str, job_id: str) -> list[str]:
    """The prefixes under which all files of a job lie, whatever attempts and workers made them."""
    folders = (*(folder for folder, _ in KINDS.values()), INPUTS)
    return [f"{user_prefix(user_id)}{folder}/{job_id}/" for folder in folders]


def input_key(user_id: str, job_id: str, digest: str = "request") -> str:
    """The key of what a client gave a worker, where it is too large for a message or holds secrets. ``digest`` is of
    its bytes: who sends another input under a used ``Idempotency-Key`` is refused, and has overwritten nothing."""
    return f"{user_prefix(user_id)}{INPUTS}/{job_id}/{digest}.json"


def attempt_prefixes(user_id: str, job_id: str, attempt: int, worker_id: str) -> list[str]:
    """The prefixes under which all files lie that one attempt on one worker has written, in all its sessions."""
    return [_attempt_prefix(user_id, folder, job_id, attempt, worker_id) for folder, _ in KINDS.values()]


def session_keys(user_id: str, job_id: str, attempt: int, worker_id: str, session: str) -> list[str]:
    """All keys that one attempt in one session of a worker may have written."""
    return [file_key(user_id, job_id, attempt, worker_id, session, kind) for kind in KINDS]


@dataclass(frozen=True, slots=True)
class Place:
    """What a key of ours says of its object. ``attempt`` None: it is what a client gave (``INPUTS``)."""

    user_id: str
    folder: str
    job_id: str
    attempt: int | None = None


def place_of(key: str) -> Place | None:
    """What the key says; None where it is none that the functions above make."""
    parts = key.split("/")
    if len(parts) < 4 or not parts[0] or _quoted(unquote(parts[0])) != parts[0] or not parts[2]:
        return None
    user_id, folder, job_id = unquote(parts[0]), parts[1], parts[2]
    if folder == INPUTS:
        return Place(user_id, folder, job_id) if len(parts) == 4 and parts[3].endswith(".json") else None
    endings = [ending for name, ending in KINDS.values() if name == folder]
    if not endings or len(parts) != 6 or not (parts[3].isascii() and parts[3].isdecimal()):
        return None
    if not parts[5].endswith(f".{endings[0]}"):
        return None
    return Place(user_id, folder, job_id, int(parts[3]))


def _attempt_prefix(user_id: str, folder: str, job_id: str, attempt: int, worker_id: str) -> str:
    return f"{user_prefix(user_id)}{folder}/{job_id}/{attempt}/{_quoted(worker_id)}/"


def _quoted(name: str) -> str:
    """One part of a key, made of a name that others chose. Dots alone are quoted too: URLs give them a meaning."""
    quoted = quote(name, safe="")
    return quoted.replace(".", "%2E") if set(name) == {"."} else quoted
