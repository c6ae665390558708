"""Points in time as operators say them: ISO 8601, or how long ago."""

import re
from datetime import datetime

from schemas.instants import LAST, from_datetime

_AGO = re.compile(r"^(\d{1,6})\s*(ms|s|m|h|d|w)(?:\s+ago)?$")
_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}


def moment(text: str, now: int) -> int:
    """Milliseconds since the epoch. Without a zone it is UTC. Raises ValueError with words for a person."""
    words = text.strip()
    if words == "now":
        return now
    ago = _AGO.match(words)
    if ago:
        return max(0, now - int(ago[1]) * _MS[ago[2]])
    try:
        at = from_datetime(datetime.fromisoformat(words))
    except (ValueError, OverflowError):
        raise ValueError(f"{words!r} is no time: say 2026-11-21T09:00Z, or how long ago: 90m, 2h ago, 3d.") from None
    return min(max(at, 0), LAST)
