"""How large a record of the event log may be."""

from schemas.codec import Encoded
from schemas.topics import RECORD_MAX

BATCH_OVERHEAD = 512  # of a batch with one record, beside key, value and headers
HEADER_OVERHEAD = 16


def check_size(message: Encoded) -> None:
    """Raises ValueError for a record that the broker would refuse. Large values go to the object store."""
    headers = sum(len(name.encode()) + len(value) + HEADER_OVERHEAD for name, value in message.headers)
    size = len(message.key) + len(message.value) + headers + BATCH_OVERHEAD
    if size > RECORD_MAX:
        raise ValueError(f"a record of {size} bytes is over the limit of {RECORD_MAX}")
