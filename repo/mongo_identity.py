"""The database's identity on MongoDB: made once; `openv restore` and `openv rebuild` alone replace it."""

from collections.abc import Mapping
from contextlib import suppress
from uuid import uuid4

from pymongo.errors import DuplicateKeyError

from repo.clock import now_ms
from repo.core.documents import from_document, to_document
from repo.mongo_connection import MongoConnection
from repo.mongo_guard import COLLECTION, DOCUMENT_ID
from schemas.identities import Identity

INDEXES: Mapping[str, tuple[tuple[tuple[str, int], ...], ...]] = {COLLECTION: ()}  # by _id alone
_COMPARED = ("identity", "standing", "holder")  # a missing member is None to a query


class MongoIdentityStore:
    """As the ports (``repo/ports.py``): every method raises ``Unavailable``, every write may be repeated."""

    def __init__(self, connection: MongoConnection) -> None:
        self._answer = connection.answer
        self._identities = connection.collection(COLLECTION)

    async def identity(self) -> Identity | None:
        """None: the database was never made ready."""
        found = await self._answer(lambda: self._identities.find_one({"_id": DOCUMENT_ID}))
        return from_document(Identity, found) if found else None

    async def establish(self) -> None:
        """Give the database an identity, unless it has one."""
        if await self.identity() is None:
            made = to_document(Identity(identity=str(uuid4()), made_at=now_ms()), DOCUMENT_ID)
            with suppress(DuplicateKeyError):  # another process was first
                await self._answer(lambda: self._identities.insert_one(made))

    async def replace(self, identity: Identity, known: Identity | None) -> bool:
        """This is what it is from now on, for every process; False where it is not ``known`` (None: none) any more.

        Also True where this very identity stands there already.
        """
        document = to_document(identity, DOCUMENT_ID)
        if known is None:
            with suppress(DuplicateKeyError):
                await self._answer(lambda: self._identities.insert_one(document))
                return True
        else:
            wanted = {"_id": DOCUMENT_ID, **{name: getattr(known, name) for name in _COMPARED}}
            if (await self._answer(lambda: self._identities.replace_one(wanted, document))).matched_count == 1:
                return True
        return await self.identity() == identity
