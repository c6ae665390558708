"""A repair over HTTP that is bound to an examination does what that found, or nothing."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from operations.admin import long_upkeep
from operations.admin.settings import AdminSettings
from operations.audit.recording import Actor
from operations.core.findings import Finding, Mends, digest, ok, problem
from operations.desk import Desk
from operations.doctor.repair import Repaired
from operations.stack.errors import StackError
from tests.operations.admin.house import opened

ROOT = Actor("root/ov_abcdef", "api", "192.0.2.1")
DESK, SETTINGS = cast("Desk", None), AdminSettings()


def strays(*targets: str) -> Finding:
    words = f"{len(targets)} objects that no job has"
    return problem("files", words, "they cost", "openv doctor --repair", repair=Mends.FILES, targets=targets)


def test_a_digest_is_of_what_a_repair_does_and_to_what() -> None:
    one, other = strays("a", "b"), problem("topics", "1 differs", "", "", repair=Mends.TOPICS)
    assert digest([one, other]) == digest([ok("kafka", "3 brokers"), other, one])
    assert len({digest([one]), digest([strays("a")]), digest([strays("a", "c")]), digest([one, other])}) == 4
    assert digest([ok("kafka", "3 brokers"), problem("mongo", "away", "", "openv status")]) == ""


@pytest.fixture
def repaired(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What is there is two strays; the list is what was repaired of it."""
    done: list[Finding] = []

    @asynccontextmanager
    async def around(*_: Any, **__: Any) -> AsyncIterator[None]:
        yield

    async def examined(*_: Any) -> list[Finding]:
        return [ok("s3", "answers"), *([] if done else [strays("a", "b")])]

    async def repair(_: Any, findings: Sequence[Finding], __: Actor) -> list[Repaired]:
        done.extend(findings)
        return [Repaired("files", "2 objects deleted")]

    monkeypatch.setattr(long_upkeep, "surroundings", around)
    monkeypatch.setattr(long_upkeep, "examine", examined)
    monkeypatch.setattr(long_upkeep, "repair", repair)
    return done


async def test_what_was_looked_at_is_repaired(repaired: list[Finding]) -> None:
    asked = {"only": ["files"], "olderThanHours": 24}
    seen = await long_upkeep.doctor(DESK, SETTINGS, asked, ROOT)
    result = await long_upkeep.mend(DESK, SETTINGS, asked | {"expect": seen["digest"]}, ROOT)
    assert repaired == [strays("a", "b")]
    assert result["repaired"] == [{"check": "files", "done": "2 objects deleted"}]
    assert "digest" not in result


async def test_what_is_anything_else_by_now_is_not(repaired: list[Finding]) -> None:
    asked = {"only": ["files"], "olderThanHours": 24, "expect": digest([strays("a")])}
    with pytest.raises(StackError, match="Nothing was repaired"):
        await long_upkeep.mend(DESK, SETTINGS, asked, ROOT)
    assert repaired == []


async def test_unbound_it_repairs_what_is_found_then(repaired: list[Finding]) -> None:
    await long_upkeep.mend(DESK, SETTINGS, {"only": ["files"], "olderThanHours": 24, "expect": None}, ROOT)
    assert repaired == [strays("a", "b")]


@pytest.mark.parametrize("expect", ["", "a", "G" * 16, "a" * 17, 7])
async def test_what_is_no_digest_is_refused(expect: Any) -> None:
    async with opened() as house, house.admin() as admin:
        answer = await admin.post("/doctor/repair", json={"only": ["files"], "expect": expect})
    assert (answer.status_code, answer.json()["details"][0]["member"]) == (400, "expect")
