"""Memory twins of the three ports, for unit tests of the shells."""

from repo.memory_log import MemoryEventLog
from repo.memory_objects import MemoryObjectStore
from repo.memory_store import MemoryJobStore

__all__ = ["MemoryEventLog", "MemoryJobStore", "MemoryObjectStore"]
