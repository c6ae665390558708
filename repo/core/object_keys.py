"""Where files lie in the object store: one folder a user, keys carry job, attempt and worker.

Two attempts, or two workers that run the same attempt for a moment, never write to the same key, so a late upload
can't overwrite a visible video. User ids are quoted, because identity providers choose them, not we.
"""

from urllib.parse import quote

KINDS = {"video": ("videos", "mp4"), "poster": ("images", "jpg"), "thumbnail": ("thumbnails", "webp")}


def user_prefix(user_id: str) -> str:
    """Everything of one user."""
    return f"{_quoted(user_id)}/"


def file_key(user_id: str, job_id: str, attempt: int, worker_id: str, kind: str) -> str:
    """The key of a video, poster or thumbnail: ``{user}/videos/{job}/{attempt}-{worker}.mp4``. Else KeyError."""
    folder, ending = KINDS[kind]
    return f"{user_prefix(user_id)}{folder}/{job_id}/{attempt}-{_quoted(worker_id)}.{ending}"


def job_prefixes(user_id: str, job_id: str) -> list[str]:
    """The prefixes under which all files of a job lie, whatever attempts and workers made them."""
    return [f"{user_prefix(user_id)}{folder}/{job_id}/" for folder, _ in KINDS.values()]


def attempt_keys(user_id: str, job_id: str, attempt: int, worker_id: str) -> list[str]:
    """All keys that one attempt on one worker may have written."""
    return [file_key(user_id, job_id, attempt, worker_id, kind) for kind in KINDS]


def _quoted(name: str) -> str:
    """One part of a key, made of a name that others chose. Dots alone are quoted too: URLs give them a meaning."""
    quoted = quote(name, safe="")
    return quoted.replace(".", "%2E") if set(name) == {"."} else quoted
