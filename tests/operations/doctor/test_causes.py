"""Problems that follow from another one, how they are counted, and what is not looked at because a server is away."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import MappingProxyType, SimpleNamespace
from typing import cast

import pytest

from operations.core.findings import Finding, Level, Mends, exit_code, folded, note, ok, problem, summary
from operations.doctor import examine as examining
from operations.doctor import groups_check, processes_check, views
from operations.doctor.away import away
from operations.doctor.surroundings import Surroundings
from operations.stack.alive import Life
from repo.kafka_inspection import Group
from repo.ports import OtherDatabase, Unavailable


def test_what_a_problem_explains_follows_from_it_and_names_no_command() -> None:
    process = problem("processes", "paused", "w", "kill -CONT 1", about="process streams")
    role = problem("groups", "no ledger", "w", "openv streams", about="runner ledger", after=["process streams"])
    jobs = problem("jobs", "stuck", "w", "openv x", repair=Mends.PENDING, targets=["a"], after=["runner ledger"])
    other = problem("disk", "full", "w", "du")
    found = folded([jobs, process, role, other])
    assert [one.level for one in found] == [Level.FOLLOWS, Level.PROBLEM, Level.FOLLOWS, Level.PROBLEM]
    assert [one.because for one in found] == ["paused", "", "paused", ""], "the cause of the cause"
    assert (found[0].mend, found[0].repair, found[0].targets) == ("", None, ())
    assert exit_code(found) == 3


def test_who_has_no_cause_stays_a_problem() -> None:
    alone = problem("groups", "no ledger", "w", "m", about="runner ledger", after=["process streams"])
    well = ok("processes", "all answer")
    assert folded([well, alone]) == [well, alone]
    told_of = replace(note("processes", "n"), about="process streams")
    assert folded([told_of, alone])[1] == alone, "a note explains nothing"


def test_problems_that_explain_each_other_do_not_both_vanish() -> None:
    one = problem("a", "one", "", "m", about="x", after=["y"])
    two = problem("b", "two", "", "m", about="y", after=["x"])
    same = problem("c", "again", "", "m", about="x", after=["x"])
    found = folded([one, same])
    assert [each.level for each in found] == [Level.PROBLEM, Level.FOLLOWS]
    assert any(each.level is Level.PROBLEM for each in folded([one, two]))
    itself = problem("a", "one", "", "m", about="x", after=["x"])
    assert folded([itself]) == [itself]


def test_a_summary_counts_each_kind() -> None:
    wrong, well = problem("a", "", "", ""), ok("a", "")
    follows = replace(wrong, level=Level.FOLLOWS)
    assert summary([]) == "no problems, 0 fine"
    assert summary([wrong, wrong, follows, follows, note("a", ""), well]) == (
        "2 problems, 2 that follow, 1 note, 1 fine"
    )
    assert summary([wrong, follows]) == "1 problem, 1 that follows, 0 fine"
    assert views.plain([wrong, well], [])["summary"] == "1 problem, 1 fine"


def a_check(*found: Finding, error: Exception | None = None) -> Callable[[Surroundings], Awaitable[list[Finding]]]:
    async def check(_around: Surroundings) -> list[Finding]:
        if error is not None:
            raise error
        return list(found)

    return check


async def test_a_server_that_is_away_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Unavailable("kafka", "gone")
    checks = {
        "kafka": a_check(error=absent),
        "topics": a_check(error=AssertionError("not to be asked")),
        "gateway": a_check(problem("gateway", "not ready", "", "m", after=["server kafka"])),
        "clock": a_check(error=absent),
        "disk": a_check(ok("disk", "room")),
    }
    monkeypatch.setattr(examining, "CHECKS", MappingProxyType(checks))
    around = cast("Surroundings", SimpleNamespace())
    found = {one.check: one for one in await examining.examine(around, [])}
    assert [one.check for one in found.values() if one.level is Level.PROBLEM] == ["kafka"]
    assert found["kafka"].mend == "docker compose up --detach kafka"
    assert {found[name].because for name in ("topics", "gateway", "clock")} == {"kafka does not answer: gone"}
    assert found["topics"].what == "not looked at"
    (alone,) = await examining.examine(around, ["clock"])
    assert alone.level is Level.PROBLEM, "asked for alone, it says why it could not look"


async def test_a_database_that_must_not_be_used_is_no_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "CHECKS", {"mongodb": a_check(error=OtherDatabase("another one"))})
    (found,) = await examining.examine(cast("Surroundings", SimpleNamespace()), [])
    assert (found.level, found.mend) == (Level.PROBLEM, "openv restore FILE")


def test_keys_that_a_store_refuses_are_not_mended_by_starting_it() -> None:
    refused = away("s3", Unavailable("s3", "it refuses PutObject: SignatureDoesNotMatch"))
    assert refused.mend == "export S3_ACCESS_KEY_ID=… S3_SECRET_ACCESS_KEY=…"
    assert away("s3", Unavailable("s3", "ConnectionRefusedError")).mend == "docker compose up --detach s3"


def test_processes_that_do_not_answer() -> None:
    well, paused = Life("gateway"), Life("streams", "process 7 is paused (SIGSTOP)", "kill -CONT 7")
    (found,) = processes_check.judged([well, paused])
    assert (found.about, found.mend) == ("process streams", "kill -CONT 7")
    stuck = processes_check.judged([Life("worker-1", "process 8 is stuck", "kill -9 8")])[0]
    assert "LoopStuck" in stuck.why
    (starting,) = processes_check.judged([well, Life("worker-1", "it is not ready: starting", "tail", starts=True)])
    assert starting.level is Level.NOTE
    assert processes_check.judged([well])[0].level is Level.OK


def test_all_roles_that_are_missing_are_one_problem() -> None:
    absent = [
        problem("groups", f"no {role}", "", "m", about=f"runner {role}", after=groups_check.LOCAL)
        for role in groups_check.ROLES
    ]
    late = problem("groups", "ledger is behind", "", "m", about="role ledger", after=["runner ledger"])
    found = folded(groups_check.together([*absent, late], "openv streams"))
    assert [one.mend for one in found if one.level is Level.PROBLEM] == ["openv streams"]
    assert [one.what for one in found if one.level is Level.FOLLOWS] == ["ledger is behind"]
    some = groups_check.together(absent[1:], "openv streams")
    assert some == absent[1:]


@pytest.mark.parametrize(
    ("applied", "committed", "is_other"),
    [({}, {("openv.commands", 0): 5}, True), ({}, {}, False), ({0: 4}, {("openv.commands", 0): 5}, False)],
)
def test_a_database_without_the_offsets_that_kafka_knows_is_another(
    applied: dict[int, int], committed: dict[tuple[str, int], int], *, is_other: bool
) -> None:
    group = Group("openv-ledger", "Stable", 1, committed)
    standing = groups_check.Standing("ledger", "openv.commands", applied, {0: 0}, {0: 5}, None, group)
    found = groups_check._other_database([standing])
    assert [one.mend for one in found] == (["openv restore FILE"] if is_other else [])
    still = problem("groups", "ledger stands still", "", "m", about="role ledger", after=groups_check._after("ledger"))
    assert [one.level is Level.FOLLOWS for one in folded([*found, still])][-1] is is_other
