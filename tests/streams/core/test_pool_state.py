"""What is kept of a document: enough to schedule it, nothing that a client wrote."""

from schemas.lifecycle import State
from schemas.requests import GenerationRequest
from streams.core.pool_state import PoolState, empty_pool, entry_of
from tests.streams.core.pool_steps import T0, job_of


def test_an_entry_holds_no_prompt_and_no_input() -> None:
    request = GenerationRequest(prompt="secret", negative_prompt="hidden", input='{"x": "private"}')
    words = repr(entry_of(job_of("a", request=request)))
    assert not any(word in words for word in ("secret", "hidden", "private"))


def test_a_start_counts_only_while_the_document_is_processing() -> None:
    assert entry_of(job_of("a", started_at=T0)).started_at is None
    assert entry_of(job_of("a", started_at=T0, state=State.PROCESSING)).started_at == T0


def test_an_empty_pool_knows_nothing() -> None:
    assert empty_pool("p") == PoolState("p")
