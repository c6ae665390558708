"""All checks, one after another: each in bounded time, and none stands in another's way.

A server that is away is told once. What needs it is not looked at then, and what it explains follows from it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType, ModuleType

from operations.core import damage
from operations.core.findings import Finding, Level, folded, problem
from operations.doctor import (
    certificates_check,
    clock_check,
    deadletters_check,
    disk_check,
    documents_check,
    files_check,
    gateway_check,
    groups_check,
    jobs_check,
    kafka_check,
    mongo_check,
    processes_check,
    s3_check,
    settings_check,
    topics_check,
    workers_check,
)
from operations.doctor.away import about_server, away
from operations.doctor.surroundings import Surroundings
from operations.stack.errors import StackError
from repo.core.documents import DamagedDocumentError
from repo.ports import OtherDatabase, Unavailable
from repo.topic_admin import TopicError

Check = Callable[[Surroundings], Awaitable[list[Finding]]]

WITHIN_S = 30.0
LONG_S = 600.0  # where a bucket or a collection is looked through

_MODULES: Sequence[ModuleType] = (
    processes_check,
    kafka_check,
    topics_check,
    mongo_check,
    s3_check,
    certificates_check,
    clock_check,
    settings_check,
    gateway_check,
    groups_check,
    deadletters_check,
    workers_check,
    jobs_check,
    documents_check,
    files_check,
    disk_check,
)
CHECKS: Mapping[str, Check] = MappingProxyType({module.CHECK: module.check for module in _MODULES})
NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        topics_check.CHECK: ("kafka",),
        groups_check.CHECK: ("kafka", "mongodb"),
        deadletters_check.CHECK: ("kafka", "mongodb"),
        workers_check.CHECK: ("kafka", "mongodb"),
        jobs_check.CHECK: ("mongodb",),
        documents_check.CHECK: ("mongodb",),
        files_check.CHECK: ("mongodb", "s3"),
    }
)
_LONG = frozenset({jobs_check.CHECK, documents_check.CHECK, files_check.CHECK})


async def examine(around: Surroundings, names: Sequence[str]) -> list[Finding]:
    """What is found, in the order of the checks; of those named alone, where any are. Raises ``StackError`` for a name
    that is no check's."""
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        raise StackError(f"There is no check {unknown[0]}: there are {', '.join(CHECKS)}.")
    found: list[Finding] = []
    for name, check in CHECKS.items():
        if not names or name in names:
            away = _away(found, NEEDS.get(name, ()))
            found += [_not_looked_at(name, away)] if away else await _asked(name, check, around)
    return folded(found)


def _away(found: Sequence[Finding], needed: Sequence[str]) -> str:
    """The thing whose absence was found already, "" for none."""
    things = {one.about for one in found if one.level is Level.PROBLEM}
    return next((thing for server in needed if (thing := f"server {server}") in things), "")


def _not_looked_at(name: str, thing: str) -> Finding:
    return problem(name, "not looked at", "", "", after=[thing])


async def _asked(name: str, check: Check, around: Surroundings) -> list[Finding]:
    within_s = LONG_S if name in _LONG else WITHIN_S
    try:
        async with asyncio.timeout(within_s):
            return await check(around)
    except OtherDatabase as other:
        why = "it must not be used: users, keys and videos are not in it; openv rebuild is the second step"
        return [problem(name, str(other), why, "openv restore FILE", about=about_server("mongodb"))]
    except Unavailable as absent:
        return [away(name, absent)]
    except TimeoutError:
        why = "the servers answer, but slowly; what was found by then is not known"
        return [problem(name, f"not done in {within_s:g} s", why, f"openv doctor --only {name}")]
    except DamagedDocumentError as error:
        return [
            problem(name, damage.told(error), f"whatever needs it fails. {damage.mends(error)}", damage.command(error))
        ]
    except TopicError as error:
        return [problem(name, str(error), "the topics can't be looked at", "openv topics describe")]
