"""Compare-and-set of one document by its ``version``, as the stores' ports promise it."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from pymongo.errors import DuplicateKeyError

from repo.core.documents import from_document, to_document
from repo.mongo_connection import Collection


class Versioned(Protocol):
    """A document whose every write raises its version."""

    @property
    def version(self) -> int:
        """1 and up."""
        ...


async def compare_and_set(
    answer: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]],
    at: Collection,
    value: Versioned,
    key: str,
    expected: int,
) -> bool:
    """Whether the stored version was ``expected`` (0: none) and now is this one's; True also where this very document
    is stored already. ``answer`` is ``MongoConnection.answer``. Raises ValueError unless the version is higher."""
    if value.version <= expected:
        raise ValueError(f"version {value.version} does not come after {expected}")
    document = to_document(value, key)
    if expected == 0:
        try:
            await answer(lambda: at.insert_one(document))
        except DuplicateKeyError:
            return await _is_stored(answer, at, value, key)
        return True
    replaced = await answer(lambda: at.replace_one({"_id": key, "version": expected}, document))
    return replaced.matched_count == 1 or await _is_stored(answer, at, value, key)


async def _is_stored(
    answer: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]], at: Collection, value: Versioned, key: str
) -> bool:
    """Whether this very document is there: then the compare-and-set was ours, and only its answer was lost."""
    stored = await answer(lambda: at.find_one({"_id": key, "version": value.version}))
    return stored is not None and from_document(type(value), stored) == value
