"""torch's errors as failures that the rest of the worker knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from inference_worker.engines.protocol import EngineFailure
from schemas.failures import FailureCode

# How torch words a failed allocation where it has no class for it: the CPU's allocator, and cuBLAS and cuDNN.
_NO_MEMORY = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


@contextmanager
def known_failures(what: str) -> Iterator[None]:
    """Raise ``EngineFailure`` for out-of-memory and for a GPU that is out of order; let all else pass.

    ``what`` says in words what was being done: "making 848×480×31", say.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(what) from error
    except RuntimeError as error:
        if any(words in str(error) for words in _NO_MEMORY):
            raise _out_of_memory(what) from error
        if isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error):
            # After such an error every later call of this process fails too.
            raise EngineFailure(FailureCode.WORKER_CRASHED, f"The GPU failed while {what}.", fatal=True) from error
        raise


def _out_of_memory(what: str) -> EngineFailure:
    return EngineFailure(FailureCode.OUT_OF_MEMORY, f"Memory ran out while {what}.")
