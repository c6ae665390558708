"""What a generator handler has streamed and nobody has taken yet: one document a job, emptied as clients take it.

RunPod's ``/stream`` gives each chunk once. What belongs to an attempt that was given up is dropped when the next one
streams.
"""

from schemas.instants import Instant
from schemas.shape import shape

CHUNK_MAX = 1_000_000  # bytes of one chunk's JSON text
# Of all that wait. Each chunk rewrites the document, so that what nobody takes must stay small.
CHUNKS_BYTES = 4_000_000
CHUNKS_COUNT = 10_000


@shape
class Chunks:
    """``waiting``: JSON texts in order. ``taken``: how many of this attempt went before them.

    ``writer`` is new for every write: a store takes the same document twice for one write that was repeated, and two
    who add the same chunk, or take the same ones, at the same moment would write the same but for this.
    """

    job_id: str
    attempt: int
    version: int
    delete_at: Instant
    waiting: tuple[str, ...] = ()
    taken: int = 0
    writer: str = ""

    @property
    def bytes(self) -> int:
        """How much waits, in characters of JSON text."""
        return sum(map(len, self.waiting))
