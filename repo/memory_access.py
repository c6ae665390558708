"""The memory twin of ``AccessStore``."""

from collections.abc import Sequence
from dataclasses import replace

from repo.access import DamagedKey
from repo.core.documents import DamagedDocumentError
from repo.ports import Unavailable
from schemas.access import ONE_TIME, PASSING, Acceptance, ApiKey, Person, Voucher


class MemoryAccessStore:
    """Implements ``AccessStore``. ``away = True`` is an outage, and ``damage`` spoils what is stored."""

    def __init__(self) -> None:
        self.away = False
        self._keys: dict[str, ApiKey] = {}
        self._damaged: dict[str, DamagedKey] = {}
        self._acceptances: dict[tuple[str, str], Acceptance] = {}
        self._vouchers: dict[str, Voucher] = {}
        self._persons: dict[str, Person] = {}

    def _check(self) -> None:
        if self.away:
            raise Unavailable("mongodb", "switched off by a test")

    async def api_key(self, key_hash: str) -> ApiKey | None:
        """See ``AccessStore.api_key``."""
        self._check()
        if key_hash in self._damaged:
            raise DamagedDocumentError(f"a damaged document in MongoDB: ApiKey {key_hash!r}: role", "ApiKey", key_hash)
        return self._keys.get(key_hash)

    async def store_api_key(self, key: ApiKey) -> None:
        """See ``AccessStore.store_api_key``."""
        self._check()
        self._keys[key.key_hash] = key

    async def touch_api_key(self, key_hash: str, at: int) -> None:
        """See ``AccessStore.touch_api_key``."""
        self._check()
        key = self._keys.get(key_hash)
        if key is not None:
            self._keys[key_hash] = replace(key, last_used_at=max(key.last_used_at or 0, at))

    async def revoke_api_key(self, key_hash: str, at: int) -> bool:
        """See ``AccessStore.revoke_api_key``."""
        self._check()
        key = self._keys.get(key_hash)
        if key is None or key.revoked_at is not None:
            return False
        self._keys[key_hash] = replace(key, revoked_at=at)
        return True

    async def consume_one_time_key(self, key_hash: str) -> ApiKey | None:
        """See ``AccessStore.consume_one_time_key``."""
        self._check()
        key = self._keys.get(key_hash)
        return self._keys.pop(key_hash) if key is not None and key.kind in ONE_TIME else None

    async def discard_expired_keys(self, user_id: str, before: int) -> None:
        """See ``AccessStore.discard_expired_keys``."""
        self._check()
        for key_hash, key in list(self._keys.items()):
            if key.user_id == user_id and key.kind in PASSING and (key.expires_at or before) < before:
                del self._keys[key_hash]

    def sweep_keys(self, before: int) -> int:
        """Delete everybody's passing keys that expired before; for ``MemoryUpkeepStore``."""
        self._check()
        over = [one for one, key in self._keys.items() if key.kind in PASSING and (key.expires_at or before) < before]
        for key_hash in over:
            del self._keys[key_hash]
        return len(over)

    async def api_keys(self, user_id: str) -> list[ApiKey]:
        """See ``AccessStore.api_keys``."""
        self._check()
        found = [key for key in self._keys.values() if key.user_id == user_id]
        return sorted(found, key=lambda key: (key.created_at, key.key_hash))

    def damage(self, key_hash: str) -> None:
        """Nobody can read this key from now on."""
        key = self._keys.pop(key_hash)
        self._damaged[key_hash] = DamagedKey(key_hash, key.prefix, key.user_id, "role: enum")

    async def damaged_keys(self, user_id: str) -> Sequence[DamagedKey]:
        """See ``AccessStore.damaged_keys``."""
        self._check()
        return [one for one in self._damaged.values() if one.user_id == user_id]

    async def drop_damaged_key(self, key: DamagedKey) -> None:
        """See ``AccessStore.drop_damaged_key``."""
        self._check()
        self._damaged.pop(key.document_id, None)
        self._keys.pop(key.document_id, None)

    async def accept_terms(self, acceptance: Acceptance) -> Acceptance:
        """See ``AccessStore.accept_terms``."""
        self._check()
        return self._acceptances.setdefault((acceptance.user_id, acceptance.version), acceptance)

    async def acceptances(self, user_id: str) -> list[Acceptance]:
        """See ``AccessStore.acceptances``."""
        self._check()
        found = [one for one in self._acceptances.values() if one.user_id == user_id]
        return sorted(found, key=lambda one: (one.accepted_at, one.version))

    async def create_voucher(self, voucher: Voucher) -> bool:
        """See ``AccessStore.create_voucher``."""
        self._check()
        return self._vouchers.setdefault(voucher.code, voucher) == voucher

    async def voucher(self, code: str) -> Voucher | None:
        """See ``AccessStore.voucher``."""
        self._check()
        return self._vouchers.get(code)

    async def vouchers(self, limit: int = 100) -> list[Voucher]:
        """See ``AccessStore.vouchers``."""
        self._check()
        newest = sorted(self._vouchers.values(), key=lambda one: (one.created_at, one.code), reverse=True)
        return newest[: max(0, limit)]

    async def deactivate_voucher(self, code: str, at: int) -> Voucher | None:
        """See ``AccessStore.deactivate_voucher``."""
        self._check()
        known = self._vouchers.get(code)
        if known is not None and known.is_active:
            self._vouchers[code] = replace(known, is_active=False, updated_at=at)
        return self._vouchers.get(code)

    async def person(self, user_id: str) -> Person | None:
        """See ``AccessStore.person``."""
        self._check()
        return self._persons.get(user_id)

    async def store_person(self, person: Person) -> bool:
        """See ``AccessStore.store_person``."""
        self._check()
        known = self._persons.get(person.user_id)
        if known is not None and not _newer(person, known):
            return known == person
        self._persons[person.user_id] = person
        return True

    async def forget(self, user_id: str, before: int) -> None:
        """See ``AccessStore.forget``."""
        self._check()
        for key_hash, key in list(self._keys.items()):
            if key.user_id == user_id and key.created_at < before:
                del self._keys[key_hash]
        for name, one in list(self._acceptances.items()):
            if one.user_id == user_id and one.accepted_at < before:
                del self._acceptances[name]
        known = self._persons.get(user_id)
        if known is not None and known.updated_at < before:
            bare = Person(user_id=user_id, updated_at=known.updated_at, deleted_at=known.deleted_at)
            self._persons[user_id] = bare


def _newer(told: Person, known: Person) -> bool:
    if told.updated_at == known.updated_at:
        return told.deleted_at is not None and known.deleted_at is None
    return told.updated_at > known.updated_at
