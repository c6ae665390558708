"""What a generator handler has streamed and nobody has taken yet: one document a job, and bundles beside it.

RunPod's ``/stream`` gives each chunk once. What belongs to an attempt that was given up is dropped when the next one
streams. The document is the one thing that is compared; it holds the newest chunks itself, so that a stream which is
taken as it comes is one small document. Where they become many they are moved to a bundle, which never changes.
"""

from schemas.instants import Instant
from schemas.shape import shape

CHUNK_MAX = 1_000_000  # bytes of one chunk's JSON text
# Of all that wait: as much as a worker's answer may have, so that whatever a generator aggregates can be streamed.
CHUNKS_BYTES = 20_000_000
CHUNKS_COUNT = 50_000
# Of those in the document, which each chunk reads and writes. More would be written often, fewer make many bundles.
TAIL_BYTES = 16_000
TAIL_COUNT = 200


@shape
class Bundle:
    """Chunks that were the document's own when it had this version: ``bundle_id`` says which one's, so that whoever
    makes it makes the same. ``texts`` are JSON, in order."""

    bundle_id: str
    job_id: str
    delete_at: Instant
    texts: tuple[str, ...]


@shape
class Chunks:
    """``waiting``: JSON texts in order, the newest that wait; those before them are in bundles, by the versions at
    which they were moved there: ``bundled``, with their ``bundled_bytes`` and ``bundled_count``. ``taken``: how many of
    this attempt went before all of them.

    ``writer`` is new for every write: a store takes the same document twice for one write that was repeated, and two
    who add the same chunk, or take the same ones, at the same moment would write the same but for this. ``origin`` is
    the first writer: of one job's documents, one deleted and the next, each has bundles of its own.
    """

    job_id: str
    attempt: int
    version: int
    delete_at: Instant
    waiting: tuple[str, ...] = ()
    taken: int = 0
    writer: str = ""
    origin: str = ""
    bundled: tuple[int, ...] = ()
    bundled_bytes: int = 0
    bundled_count: int = 0

    @property
    def bytes(self) -> int:
        """How much waits, in characters of JSON text."""
        return self.bundled_bytes + sum(map(len, self.waiting))

    @property
    def count(self) -> int:
        """How many wait."""
        return self.bundled_count + len(self.waiting)

    @property
    def bundle_ids(self) -> tuple[str, ...]:
        """Of the bundles that wait, in order."""
        return tuple(f"{self.job_id}:{self.origin}:{version}" for version in self.bundled)
