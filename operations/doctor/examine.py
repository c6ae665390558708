"""All checks, one after another: each in bounded time, and none stands in another's way."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType, ModuleType

from operations.core.findings import Finding, problem
from operations.doctor import (
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
    s3_check,
    settings_check,
    topics_check,
    workers_check,
)
from operations.doctor.surroundings import Surroundings
from operations.stack.errors import StackError
from repo.core.documents import DamagedDocumentError
from repo.ports import Unavailable
from repo.topic_admin import TopicError

Check = Callable[[Surroundings], Awaitable[list[Finding]]]

WITHIN_S = 30.0
LONG_S = 600.0  # where a bucket or a collection is looked through
_NAMED_BY = {"kafka": "KAFKA_BOOTSTRAP_SERVERS", "mongodb": "MONGODB_URI"}

_MODULES: Sequence[ModuleType] = (
    kafka_check,
    topics_check,
    mongo_check,
    s3_check,
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
            found += await _asked(name, check, around)
    return found


async def _asked(name: str, check: Check, around: Surroundings) -> list[Finding]:
    within_s = LONG_S if name in _LONG else WITHIN_S
    try:
        async with asyncio.timeout(within_s):
            return await check(around)
    except Unavailable as absent:
        variable = _NAMED_BY.get(absent.server, "S3_ENDPOINT_URL")
        why = "without it nothing that needs it can be looked at, or done"
        return [problem(name, str(absent), why, f"echo ${variable}; openv status")]
    except TimeoutError:
        why = "the servers answer, but slowly; what was found by then is not known"
        return [problem(name, f"not done in {within_s:g} s", why, f"openv doctor --only {name}")]
    except DamagedDocumentError as error:
        why = "whatever needs it fails as this did"
        return [problem(name, f"a document can't be read: {error}", why, "openv rebuild --verify")]
    except TopicError as error:
        return [problem(name, str(error), "the topics can't be looked at", "openv topics describe")]
