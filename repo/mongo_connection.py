"""One client of MongoDB a process, through motor (kept to what PyMongo's ``AsyncMongoClient`` has too).

Only what MongoDB 8 and the embedded stand-in do alike is used: compare-and-set by a filtered replace, ``$max``, plain
indexes. Writes are acknowledged by a majority, from its journal. Every write may be repeated.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from pymongo.errors import (
    AutoReconnect,
    DocumentTooLarge,
    DuplicateKeyError,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from repo.core.documents import NotStorableError
from repo.mongo_guard import COLLECTION, DOCUMENT_ID, Guard, NotTheDatabase
from repo.mongo_outage import Outage, StillAway
from repo.ports import OtherDatabase, Unavailable
from repo.settings import ServerSettings

T = TypeVar("T")
Document = dict[str, Any]
Collection = AsyncIOMotorCollection[Document]

SELECT_WITHIN_MS = 2_000
_SPARE_S = 0.5  # the driver's own word on what is wrong is better than ours


class MongoConnection:
    """``async with MongoConnection(settings) as connection``; entering does not wait for MongoDB.

    ``timeout_s`` bounds each answer; finding the server takes 2.5 s more at most. ``adopts``: goes on with a database
    that was restored or rebuilt; else it is refused until this process starts again. ``guarded`` False: any will do.
    """

    def __init__(
        self, settings: ServerSettings, *, timeout_s: float = 5.0, adopts: bool = True, guarded: bool = True
    ) -> None:
        self._settings = settings
        self._timeout_ms = int(timeout_s * 1000)
        self._within_s = timeout_s + SELECT_WITHIN_MS / 1000 + _SPARE_S
        self._outage = Outage()
        self._guarded = guarded
        self.guard = Guard(self._identity, adopts=adopts)

    async def __aenter__(self) -> Self:
        # At DEBUG pymongo logs commands, whose documents hold prompts, whatever level an operator sets.
        logging.getLogger("pymongo").setLevel(max(logging.INFO, logging.getLogger("pymongo").level))
        self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
            self._settings.mongodb_uri,
            appname="openv",
            tz_aware=True,
            datetime_conversion="DATETIME_AUTO",  # one beyond the calendar damages its document, not all
            retryWrites=False,  # the stand-in has no sessions; our writes may be repeated anyway
            w="majority",
            journal=True,
            serverSelectionTimeoutMS=SELECT_WITHIN_MS,
            connectTimeoutMS=SELECT_WITHIN_MS,
            socketTimeoutMS=self._timeout_ms,
            waitQueueTimeoutMS=self._timeout_ms,
            event_listeners=[self.guard.connections] if self._guarded else [],
        )
        self._database = self._client[self._settings.mongodb_database]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.guard.close()
        self._client.close()

    def collection(self, name: str) -> Collection:
        """A collection of the deployment's database."""
        return self._database[name]

    async def command(self, name: str) -> Document:
        """The server's own answer to a command of the admin database; to be asked by ``answer``."""
        answered: Document = await self._client.admin.command(name)
        return answered

    async def ping(self) -> None:
        """Raises ``Unavailable`` unless the server answers."""
        await self.answer(lambda: self._client.admin.command("ping"))

    async def answer(self, ask: Callable[[], Awaitable[T]], *, repeat: bool = True) -> T:
        """MongoDB's answer. Raises ``Unavailable``, and ``DuplicateKeyError``, which callers expect.

        Given up in time even where no thread was free to ask; a write may still be carried out after that.
        """
        try:
            async with asyncio.timeout(self._within_s):
                return await self._outage.ask(lambda: self._asked(ask, repeat=repeat))
        except DuplicateKeyError:
            raise
        except NotTheDatabase as refusal:
            raise OtherDatabase(str(refusal)) from None
        except DocumentTooLarge:
            raise NotStorableError("the document is over 16 MiB") from None
        except StillAway as absent:
            raise Unavailable("mongodb", _describe(absent.failure)) from None
        except TimeoutError:
            raise Unavailable("mongodb", f"no answer in {self._within_s:g} s") from None
        except PyMongoError as failure:
            raise Unavailable("mongodb", _describe(failure)) from failure

    async def _asked(self, ask: Callable[[], Awaitable[T]], *, repeat: bool) -> T:
        if not self._guarded:
            return await _twice(ask, repeat=repeat)
        return await self.guard.ask(lambda: _twice(ask, repeat=repeat, before_again=self.guard.sure_anew))

    async def _identity(self) -> Document | None:
        return await _twice(lambda: self.collection(COLLECTION).find_one({"_id": DOCUMENT_ID}), repeat=True)


async def _twice(
    ask: Callable[[], Awaitable[T]], *, repeat: bool, before_again: Callable[[], Awaitable[None]] | None = None
) -> T:
    """A connection that broke is tried once more: after a restart of the server the pool's connections are all dead."""
    try:
        return await ask()
    except AutoReconnect as failure:
        if not repeat or isinstance(failure, NetworkTimeout | ServerSelectionTimeoutError):
            raise
    if before_again is not None:
        await before_again()
    return await ask()


def _describe(failure: PyMongoError) -> str:
    """What went wrong, in a line. What the server says about a command may quote the document, so only its code."""
    if isinstance(failure, OperationFailure):
        details = failure.details or {}
        return f"it refuses: {details.get('codeName') or type(failure).__name__} (code {failure.code})"
    words = f"{type(failure).__name__}: {failure}".split(", Timeout:")[0].split(" (configured timeouts:")[0]
    return words.replace("\n", " ")[:200]
