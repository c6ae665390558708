"""What the stored account says of a user: its role, and whether it is blocked or deleted.

The ledger alone writes accounts; a gateway reads them, remembers them for a few seconds, and forgets one at once when
the feed sees that it has changed. While the store does not answer, what was read less than ``STALE_MS`` ago counts.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.recent import Recent
from repo.ports import JobStore, Unavailable
from schemas.access import ApiKey
from schemas.accounts import RANK, Account, Role

FRESH_MS = 10_000
STALE_MS = 30_000
REMEMBERED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Standing:
    """What the account says. ``role`` is the deployment's default until one was set or a voucher redeemed.

    ``role_set_at`` (ms): when an operator or the identity provider last set it; ``raised_at``: when the user last
    redeemed a voucher. 0 for never.
    """

    role: Role
    role_set_at: int = 0
    raised_at: int = 0
    blocked: bool = False
    deleted: bool = False
    restricted: bool = False  # by somebody's word, not by default

    def of_identity(self) -> Role:
        """The role of a caller whom the identity provider names: the account's; blocked or deleted, restricted."""
        return Role.RESTRICTED if self.blocked or self.deleted else self.role

    def of_key(self, key: ApiKey) -> Role:
        """The role of a caller with this key: the key's own, which whoever made it chose, as far as no newer word is
        known. Words are compared by their time; a role that nobody set (the default) is none.

        - Blocked, deleted or set to restricted: restricted, whenever the key was made.
        - A role set after the key was made lowers it: an admin who became a user has no admin's keys left.
        - A voucher redeemed after the key was made lifts a restricted key to user.
        """
        if self.blocked or self.deleted or self.restricted:
            return Role.RESTRICTED
        role = key.role
        if self.role_set_at > key.created_at:
            role = min(role, self.role, key=RANK.__getitem__)
        if role is Role.RESTRICTED and self.raised_at > key.created_at:
            role = Role.USER
        return role


class Accounts:
    """One a process."""

    def __init__(self, store: JobStore, now: Callable[[], int], default_role: Role) -> None:
        self._store = store
        self._now = now
        self._default = default_role
        self._known: Recent[str, tuple[Standing, int]] = Recent(REMEMBERED_MAX)
        self._reading: dict[str, asyncio.Task[Account | None]] = {}

    async def standing(self, user_id: str) -> Standing:
        """Where the user stands. Raises ``Unavailable`` if that can't be known now."""
        known = self._known.get(user_id)
        asked_at = self._now()
        if known is not None and asked_at - known[1] < FRESH_MS:
            return known[0]
        try:
            return self._read(await self._read_once(user_id, asked_at))
        except Unavailable:
            if known is not None and known is self._known.get(user_id) and asked_at - known[1] < STALE_MS:
                return known[0]
            raise

    def forget(self, user_id: str) -> None:
        """The account has changed: the next question reads it again, and what is being read now is not kept."""
        self._known.pop(user_id, None)
        self._reading.pop(user_id, None)

    async def _read_once(self, user_id: str, asked_at: int) -> Account | None:
        """One read a user at a time, shared by all who ask; a caller who leaves stops nobody's."""
        reading = self._reading.get(user_id)
        if reading is None:
            reading = self._reading[user_id] = asyncio.create_task(self._store.account(user_id))
            reading.add_done_callback(lambda done: self._keep(user_id, done, asked_at))
        return await asyncio.shield(reading)

    def _keep(self, user_id: str, done: "asyncio.Task[Account | None]", asked_at: int) -> None:
        failed = done.cancelled() or done.exception() is not None
        if self._reading.get(user_id) is not done:  # it changed while it was read
            return
        del self._reading[user_id]
        if failed:
            return
        self._known[user_id] = (self._read(done.result()), asked_at)

    def _read(self, account: Account | None) -> Standing:
        if account is None:
            return Standing(self._default)
        return Standing(
            role=account.role if account.role_is_set else self._default,
            role_set_at=account.role_issued_at,
            raised_at=max((use.used_at for use in account.vouchers), default=0),
            blocked=account.blocked,
            deleted=account.deleted_at is not None,
            restricted=account.role_is_set and account.role is Role.RESTRICTED,
        )
