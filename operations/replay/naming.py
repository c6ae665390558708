"""Ids that operators read aloud and type: of replays, of edited dead letters."""

import secrets

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that looks like another
_LENGTH = 8


def new_name(prefix: str) -> str:
    """Another one: the prefix, a hyphen, eight letters by chance."""
    return f"{prefix}-" + "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
