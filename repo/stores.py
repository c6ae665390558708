"""The object stores by name: the main one, and the fallback that takes files while the main one is away.

A document names the store of each of its files (``StoredFile.store``); only here is known what the names mean. Gateway,
streams and workers must be given the same fallback: who lacks it can neither sign nor delete what lies there.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from repo.ports import ObjectStore

FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class ObjectStores:
    """``fallback`` None: there is only one store."""

    main: ObjectStore
    fallback: ObjectStore | None = None

    def named(self, name: str | None) -> ObjectStore | None:
        """The store that a document calls so (None: the main one); None where it is not configured here."""
        return self.main if name is None else self.fallback if name == FALLBACK else None

    def each(self) -> Iterator[tuple[str | None, ObjectStore]]:
        """Every store with its name, the main one first."""
        yield None, self.main
        if self.fallback is not None:
            yield FALLBACK, self.fallback
