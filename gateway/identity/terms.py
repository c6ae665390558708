"""Who has agreed to the terms of use. A yes to a version is remembered for ever; a no is asked again each time, so that
a person who agrees at one gateway is let in by all of them at once.
"""

from gateway.core.recent import Recent
from repo.access import AccessStore
from schemas.access import Acceptance

REMEMBERED_MAX = 100_000


class Terms:
    """One a process. ``required``: whether protected routes and sockets ask for them."""

    def __init__(self, store: AccessStore, version: str, required: bool) -> None:
        self.version = version
        self.required = required
        self._store = store
        self._agreed: Recent[str, None] = Recent(REMEMBERED_MAX)

    async def let_in(self, user_id: str) -> bool:
        """Whether the terms keep the user from nothing. Raises ``Unavailable`` if that can't be known now."""
        return not self.required or user_id in self._agreed or await self.agreed(user_id) is not None

    async def agreed(self, user_id: str) -> Acceptance | None:
        """The user's yes to the version that counts now. Raises ``Unavailable``."""
        return next((one for one in await self.history(user_id) if one.version == self.version), None)

    async def history(self, user_id: str) -> list[Acceptance]:
        """Every yes of the user's, oldest first. Raises ``Unavailable``."""
        said = await self._store.acceptances(user_id)
        if any(one.version == self.version for one in said):
            self._agreed[user_id] = None
        return said

    async def accept(self, user_id: str, now: int) -> Acceptance:
        """Keep the yes; the first one counts. Raises ``Unavailable``."""
        said = await self._store.accept_terms(Acceptance(user_id=user_id, version=self.version, accepted_at=now))
        self._agreed[user_id] = None
        return said

    def forget(self, user_id: str) -> None:
        """The account has changed; if it was deleted, its acceptances go with it."""
        self._agreed.pop(user_id, None)
