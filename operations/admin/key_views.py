"""Keys as the admin API shows them: what is stored, never the hash that stands for the secret."""

from typing import Literal

from operations.admin.answers_access import DamagedKeyView, KeyView
from operations.keys import state_of
from repo.access import DamagedKey
from schemas.access import ApiKey


def key_view(key: ApiKey, now: int) -> KeyView:
    """As it is at ``now`` (ms)."""
    return KeyView(
        prefix=key.prefix,
        kind=key.kind,
        user_id=key.user_id,
        name=key.name,
        role=key.role,
        scopes=key.scopes,
        state=state_of(key, now),
        created_at=key.created_at,
        last_used_at=key.last_used_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        endpoint=key.endpoint,
    )


def damaged_view(key: DamagedKey, state: Literal["damaged", "deleted"] = "damaged") -> DamagedKeyView:
    """One that nobody can read."""
    return DamagedKeyView(name=key.name, places=key.places, state=state)
