"""Submissions: any body is a command within the limits, or a list of what is wrong."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.submission import Invalid, Ticket, is_idempotency_key, job_id_for, submission
from schemas.commands import SubmitJob
from schemas.requests import LIMITS

TICKET = Ticket("c", "00000000-0000-4000-8000-000000000001", 7)
FIELDS = ["prompt", "positive_prompt", "negative_prompt", "model", "numFrames", *LIMITS]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(ANYTHING | st.dictionaries(st.sampled_from(FIELDS), ANYTHING | st.integers(0, 900), max_size=6))
def test_whatever_comes_is_refused_with_reasons_or_makes_what_the_model_can(body: Any) -> None:
    made = submission(body, "ada", TICKET)
    if isinstance(made, Invalid):
        assert made.details
        assert all(line.field and line.message for line in made.details)
        return
    request = made.request
    assert 1 <= len(request.prompt) <= 500
    assert request.width % 16 == request.height % 16 == 0
    assert (request.num_frames - 1) % 6 == 0
    for name in ("width", "height", "num_frames", "steps", "cfg", "seed"):
        assert LIMITS[name].least <= getattr(request, name) <= LIMITS[name].most


def test_the_hash_is_of_what_will_be_made_whatever_the_spelling() -> None:
    def hash_of(**body: Any) -> str:
        made = submission(body, "ada", TICKET)
        assert isinstance(made, SubmitJob)
        return made.request_hash

    same = {
        hash_of(prompt="a"),
        hash_of(positive_prompt="a ", num_frames=31, seed=42),
        hash_of(prompt="a", numFrames=36),
    }
    assert len(same) == 1
    assert hash_of(prompt="a", seed=0) not in same
    assert hash_of(prompt="b") not in same


def test_a_key_means_the_same_job_of_the_same_user() -> None:
    fresh = TICKET.job_id
    assert job_id_for("ada", None, fresh) == fresh
    assert job_id_for("ada", "k", fresh) == job_id_for("ada", "k", "other")
    assert job_id_for("ada", "k", fresh) != job_id_for("bob", "k", fresh)
    assert is_idempotency_key("order:7/ü".replace("ü", "u"))
    assert not is_idempotency_key("a\n")
