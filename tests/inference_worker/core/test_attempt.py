"""The attempt's table, and the reports' ids."""

import pytest

from inference_worker.core.attempt import STAGES, Happening, Reports, Stage, after
from schemas.failures import FailureCode
from schemas.jobs import Output
from tests.inference_worker.core.worker_world import ME, order


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("happening", Happening)
def test_a_happening_moves_the_stage_or_changes_nothing(stage: Stage, happening: Happening) -> None:
    assert after(stage, happening) == STAGES[stage].get(happening)


def test_every_stage_leads_to_the_end_and_the_end_is_final() -> None:
    assert STAGES[Stage.ENDING] == {}
    for stage in (Stage.GENERATING, Stage.STOPPING, Stage.UPLOADING):
        assert Stage.ENDING in STAGES[stage].values()
    assert {happening for row in STAGES.values() for happening in row} == set(Happening)


def test_every_way_of_leaving_ends_an_attempt_at_once() -> None:
    for stage in (Stage.GENERATING, Stage.STOPPING, Stage.UPLOADING):
        assert after(stage, Happening.LEAVE) is Stage.ENDING


def test_reports_name_the_fencing_token_and_repeat_under_the_same_id() -> None:
    reports = Reports(ME, order("j7", 3))
    made = [
        reports.started(),
        reports.succeeded(Output()),
        reports.failed(FailureCode.WORKER_CRASHED, "words"),
        reports.handed_back("leaving"),
    ]
    assert [report.command_id for report in made] == [
        "j7:3:w1:s1:started",
        "j7:3:w1:s1:succeeded",
        "j7:3:w1:s1:failed",
        "j7:3:w1:s1:handed_back",
    ]
    assert {(r.user_id, r.job_id, r.attempt, r.worker_id) for r in made} == {("u1", "j7", 3, "w1")}
    assert reports.started() == made[0]
