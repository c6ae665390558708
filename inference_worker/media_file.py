"""A finished file on this machine's disk, looked at."""

import hashlib
from pathlib import Path

from inference_worker.messages import MediaFile


def described(path: Path, media_type: str) -> MediaFile:
    """A file that is finished. Raises OSError."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return MediaFile(path=path, bytes=path.stat().st_size, sha256=digest, media_type=media_type)
