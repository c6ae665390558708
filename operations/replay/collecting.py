"""Python's search for cycles, less often while records pass by: it costs a fifth of the time, and there are none."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_USUAL = gc.get_threshold()
_RARE = 50_000  # new objects: of some thousands of records


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Of two at a time the first that ends ends it for both, which costs time and nothing else."""
    gc.set_threshold(_RARE, *_USUAL[1:])
    try:
        yield
    finally:
        gc.set_threshold(*_USUAL)
