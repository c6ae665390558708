"""torch's errors by their real classes, as far as they can be made without a GPU."""

from __future__ import annotations

import pytest

from inference_worker.engines.protocol import EngineFailure
from schemas.failures import FailureCode

pytestmark = pytest.mark.model


def failure_of(error: BaseException) -> EngineFailure:
    from inference_worker.engines.mochi.failures import known_failures

    with pytest.raises(EngineFailure) as failure, known_failures("making 848×480×31"):
        raise error
    return failure.value


@pytest.mark.parametrize("text", ["", "DefaultCPUAllocator: can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED"])
def test_memory_that_runs_out_is_a_failure_of_its_own(text: str) -> None:
    import torch

    errors = [RuntimeError(text)] if text else [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()]
    for error in errors:
        failure = failure_of(error)
        assert (failure.code, failure.fatal) == (FailureCode.OUT_OF_MEMORY, False)
        assert failure.message == "Memory ran out while making 848×480×31."


def test_an_allocation_that_really_fails_is_recognised() -> None:
    import torch

    from inference_worker.engines.mochi.failures import known_failures

    with pytest.raises(EngineFailure) as failure, known_failures("testing"):
        torch.empty(2**60, dtype=torch.uint8)
    assert failure.value.code is FailureCode.OUT_OF_MEMORY


def test_a_broken_gpu_is_fatal() -> None:
    import torch

    for error in (torch.AcceleratorError("device-side assert"), RuntimeError("CUDA error: unspecified launch failure")):
        failure = failure_of(error)
        assert (failure.code, failure.fatal) == (FailureCode.WORKER_CRASHED, True)


def test_other_errors_pass() -> None:
    from inference_worker.engines.mochi.failures import known_failures

    with pytest.raises(RuntimeError, match="shapes"), known_failures("testing"):
        raise RuntimeError("shapes do not match")
