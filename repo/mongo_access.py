"""The access store on MongoDB: keys, terms, vouchers, persons. Each in a collection of its own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pymongo import ASCENDING, DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from repo.access import DamagedKey
from repo.core.documents import DamagedDocumentError, from_document, to_document, to_moment
from repo.mongo_connection import MongoConnection
from schemas.access import ONE_TIME, PASSING, Acceptance, ApiKey, KeyKind, Person, Voucher

_ONE_TIME = sorted(ONE_TIME)
_PASSING = sorted(PASSING)
_BEGINNING = re.compile(r"ovt?_[A-Za-z0-9_-]{5,6}")  # of a secret; anything else may be a value that nobody should see

# Beside the queries below that they serve.
INDEXES: Mapping[str, tuple[tuple[tuple[str, int], ...], ...]] = {
    "api_keys": (
        (("userId", ASCENDING),),  # api_keys, discard_expired_keys, forget
        (("expiresAt", ASCENDING),),  # UpkeepStore.sweep_keys
    ),
    "acceptances": ((("userId", ASCENDING),),),  # acceptances, forget
    "vouchers": ((("createdAt", DESCENDING), ("_id", DESCENDING)),),  # vouchers
    "persons": (),  # by _id alone
}


class MongoAccessStore:
    """Implements ``AccessStore``."""

    def __init__(self, connection: MongoConnection) -> None:
        self._answer = connection.answer
        self._keys = connection.collection("api_keys")
        self._acceptances = connection.collection("acceptances")
        self._vouchers = connection.collection("vouchers")
        self._persons = connection.collection("persons")

    async def api_key(self, key_hash: str) -> ApiKey | None:
        """See ``AccessStore.api_key``."""
        found = await self._answer(lambda: self._keys.find_one({"_id": key_hash}))
        return _key_of(found) if found else None

    async def store_api_key(self, key: ApiKey) -> None:
        """See ``AccessStore.store_api_key``."""
        document = to_document(key, key.key_hash)
        try:
            await self._answer(lambda: self._keys.replace_one({"_id": key.key_hash}, document, upsert=True))
        except DuplicateKeyError:  # two upserts of a new key met: now it is there to be replaced
            await self._answer(lambda: self._keys.replace_one({"_id": key.key_hash}, document, upsert=True))

    async def touch_api_key(self, key_hash: str, at: int) -> None:
        """See ``AccessStore.touch_api_key``."""
        used = {"$max": {"lastUsedAt": to_moment(at)}}
        await self._answer(lambda: self._keys.update_one({"_id": key_hash}, used))

    async def revoke_api_key(self, key_hash: str, at: int) -> bool:
        """See ``AccessStore.revoke_api_key``."""
        good = {"_id": key_hash, "revokedAt": None}
        revoked = {"$set": {"revokedAt": to_moment(at)}}
        return (await self._answer(lambda: self._keys.update_one(good, revoked))).modified_count == 1

    async def consume_one_time_key(self, key_hash: str) -> ApiKey | None:
        """See ``AccessStore.consume_one_time_key``. Never repeated: a lost answer has used the key up."""
        good = {"_id": key_hash, "kind": {"$in": _ONE_TIME}}
        taken = await self._answer(lambda: self._keys.find_one_and_delete(good), repeat=False)
        return from_document(ApiKey, taken) if taken else None

    async def discard_expired_keys(self, user_id: str, before: int) -> None:
        """See ``AccessStore.discard_expired_keys``."""
        expired = {"userId": user_id, "kind": {"$in": _PASSING}, "expiresAt": {"$lt": to_moment(before)}}
        await self._answer(lambda: self._keys.delete_many(expired))

    async def api_keys(self, user_id: str) -> list[ApiKey]:
        """See ``AccessStore.api_keys``."""
        found = await self._answer(lambda: self._keys.find({"userId": user_id}).to_list(None))
        keys = [key for key in map(read_key, found) if isinstance(key, ApiKey)]
        return sorted(keys, key=lambda key: (key.created_at, key.key_hash))

    async def damaged_keys(self, user_id: str) -> Sequence[DamagedKey]:
        """See ``AccessStore.damaged_keys``."""
        found = await self._answer(lambda: self._keys.find({"userId": user_id}).to_list(None))
        return [key for key in map(read_key, found) if isinstance(key, DamagedKey)]

    async def drop_damaged_key(self, key: DamagedKey) -> None:
        """See ``AccessStore.drop_damaged_key``."""
        await self._answer(lambda: self._keys.delete_one({"_id": key.document_id}))

    async def accept_terms(self, acceptance: Acceptance) -> Acceptance:
        """See ``AccessStore.accept_terms``."""
        document = to_document(acceptance, f"{len(acceptance.user_id)}:{acceptance.user_id}:{acceptance.version}")
        while True:
            try:
                await self._answer(lambda: self._acceptances.insert_one(document))
            except DuplicateKeyError:
                found = await self._answer(lambda: self._acceptances.find_one({"_id": document["_id"]}))
                if found is not None:
                    return from_document(Acceptance, found)
                continue  # the earlier one has just been forgotten: this one is the first
            return acceptance

    async def acceptances(self, user_id: str) -> list[Acceptance]:
        """See ``AccessStore.acceptances``."""
        found = await self._answer(lambda: self._acceptances.find({"userId": user_id}).to_list(None))
        accepted = [from_document(Acceptance, document) for document in found]
        return sorted(accepted, key=lambda one: (one.accepted_at, one.version))

    async def create_voucher(self, voucher: Voucher) -> bool:
        """See ``AccessStore.create_voucher``."""
        try:
            await self._answer(lambda: self._vouchers.insert_one(to_document(voucher, voucher.code)))
        except DuplicateKeyError:
            return await self.voucher(voucher.code) == voucher
        return True

    async def voucher(self, code: str) -> Voucher | None:
        """See ``AccessStore.voucher``."""
        found = await self._answer(lambda: self._vouchers.find_one({"_id": code}))
        return from_document(Voucher, found) if found else None

    async def vouchers(self, limit: int = 100) -> list[Voucher]:
        """See ``AccessStore.vouchers``."""
        if limit < 1:  # to MongoDB no limit
            return []
        order = [("createdAt", DESCENDING), ("_id", DESCENDING)]
        found = await self._answer(lambda: self._vouchers.find({}).sort(order).limit(limit).to_list(None))
        return [from_document(Voucher, document) for document in found]

    async def deactivate_voucher(self, code: str, at: int) -> Voucher | None:
        """See ``AccessStore.deactivate_voucher``."""
        off = {"$set": {"isActive": False, "updatedAt": to_moment(at)}}
        good = {"_id": code, "isActive": True}
        after = ReturnDocument.AFTER
        found = await self._answer(lambda: self._vouchers.find_one_and_update(good, off, return_document=after))
        return from_document(Voucher, found) if found else await self.voucher(code)

    async def person(self, user_id: str) -> Person | None:
        """See ``AccessStore.person``."""
        found = await self._answer(lambda: self._persons.find_one({"_id": user_id}))
        return from_document(Person, found) if found else None

    async def store_person(self, person: Person) -> bool:
        """See ``AccessStore.store_person``."""
        at = to_moment(person.updated_at)
        older: list[dict[str, object]] = [{"updatedAt": {"$lt": at}}]
        if person.deleted_at is not None:
            older.append({"updatedAt": at, "deletedAt": None})
        document = to_document(person, person.user_id)
        stale = {"_id": person.user_id, "$or": older}
        try:
            await self._answer(lambda: self._persons.replace_one(stale, document, upsert=True))
        except DuplicateKeyError:  # there is one: as new or newer, or it came at the same moment and may yet be older
            replaced = await self._answer(lambda: self._persons.replace_one(stale, document))
            return replaced.matched_count == 1 or await self.person(person.user_id) == person
        return True

    async def forget(self, user_id: str, before: int) -> None:
        """See ``AccessStore.forget``."""
        at = {"$lt": to_moment(before)}
        await self._answer(lambda: self._keys.delete_many({"userId": user_id, "createdAt": at}))
        await self._answer(lambda: self._acceptances.delete_many({"userId": user_id, "acceptedAt": at}))
        bare = {"$unset": dict.fromkeys(("email", "firstName", "lastName", "imageUrl"), "")}
        await self._answer(lambda: self._persons.update_one({"_id": user_id, "updatedAt": at}, bare))


def read_key(document: Mapping[str, Any]) -> ApiKey | DamagedKey:
    """A key as it was stored, or what can be told of it where nobody can read it."""
    try:
        return _key_of(document)
    except DamagedDocumentError as error:
        document_id, prefix, user = document["_id"], document.get("prefix"), document.get("userId")
        begins = isinstance(prefix, str) and _BEGINNING.fullmatch(prefix) is not None
        name = prefix if begins else str(document_id)
        return DamagedKey(document_id, str(name), user if isinstance(user, str) else "", error.places)


def _key_of(document: Mapping[str, Any]) -> ApiKey:
    """A key as it was stored. Before keys had a kind, a page's link said ``oneTime`` and its session had that name:
    neither becomes an API key.
    """
    key = from_document(ApiKey, document)
    if "kind" in document:
        return key
    if document.get("oneTime"):
        return replace(key, kind=KeyKind.PAGE_LINK)
    is_session = key.name == "session" and key.expires_at is not None
    return replace(key, kind=KeyKind.SESSION) if is_session else key
