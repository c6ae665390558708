"""The port of what lets people in: keys, terms, vouchers, persons. Its shapes are those of ``schemas/access.py``.

As the other ports (``repo/ports.py``): every method raises ``Unavailable``, every write may be repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from schemas.access import Acceptance, ApiKey, Person, Voucher


@dataclass(frozen=True, slots=True)
class DamagedKey:
    """The stored document of a key that can't be read: it opens nothing while it is so. ``document_id``: its id, which
    may be anything. ``name``: the beginning of the secret, where the document has one that may be such, else the id.
    ``user_id``: whose it is, as far as it says so; ``places``: what is wrong with it, without values."""

    document_id: str | Any
    name: str
    user_id: str
    places: str


class AccessStore(Protocol):
    """MongoDB. Many writers: each write is one document, whole or compared."""

    async def api_key(self, key_hash: str) -> ApiKey | None:
        """As it was stored; whether it is revoked or expired is the caller's to judge."""
        ...

    async def store_api_key(self, key: ApiKey) -> None:
        """Add or replace it."""
        ...

    async def touch_api_key(self, key_hash: str, at: int) -> None:
        """Note a use (ms). ``last_used_at`` never moves back; an unknown key is no error."""
        ...

    async def revoke_api_key(self, key_hash: str, at: int) -> bool:
        """Revoke it, for ever: True if it was good until now. Changes nothing else of it."""
        ...

    async def consume_one_time_key(self, key_hash: str) -> ApiKey | None:
        """Delete a one-time key and return it: of any number of racing callers, one gets it."""
        ...

    async def discard_expired_keys(self, user_id: str, before: int) -> None:
        """Delete a user's sessions and one-time keys that expired before ``before`` (ms). API keys and workers' keys
        stay: people see them listed.
        """
        ...

    async def api_keys(self, user_id: str) -> list[ApiKey]:
        """All of a user's, oldest first; one-time keys and sessions too. One that can't be read stands in the way of
        no other: it is left out, and is among the ``damaged_keys``."""
        ...

    async def damaged_keys(self, user_id: str) -> Sequence[DamagedKey]:
        """Those of a user that can't be read."""
        ...

    async def drop_damaged_key(self, key: DamagedKey) -> None:
        """Delete this document, whatever it is by now: its secret opens nothing any more, also where somebody mended
        the document meanwhile."""
        ...

    async def accept_terms(self, acceptance: Acceptance) -> Acceptance:
        """Keep the first acceptance of this version by this user, and return it."""
        ...

    async def acceptances(self, user_id: str) -> list[Acceptance]:
        """All of a user's, oldest first."""
        ...

    async def create_voucher(self, voucher: Voucher) -> bool:
        """False if the code is taken by another one; nothing changes then."""
        ...

    async def voucher(self, code: str) -> Voucher | None:
        """By its code, exactly as written."""
        ...

    async def vouchers(self, limit: int = 100) -> list[Voucher]:
        """Newest first."""
        ...

    async def deactivate_voucher(self, code: str, at: int) -> Voucher | None:
        """Nobody redeems it any more. The voucher as it is now, or None."""
        ...

    async def person(self, user_id: str) -> Person | None:
        """What is known of the user."""
        ...

    async def store_person(self, person: Person) -> bool:
        """Store it, unless what is stored is as new or newer. Told deleted at the same instant wins.

        True also where this very person is stored already, as after a first try whose answer was lost.
        """
        ...

    async def forget(self, user_id: str, before: int) -> None:
        """Delete a user's keys, acceptances and personal data made before ``before`` (ms). The tombstone of a person
        stays, without what it said of the person."""
        ...
