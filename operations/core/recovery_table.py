"""What a database holds, collection by collection, and which of two forms of a document is kept. Pure.

The only table of it: backups, restores and the check that nothing was forgotten go by it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from schemas.access import ONE_TIME


class Rule(StrEnum):
    """Of a stored document and one of the same id from a backup, which is kept."""

    NEWER = "newer"  # the one whose ``member`` is higher
    STORED = "stored"  # the stored one: it changes in ways that no number tells
    LOWER = "lower"  # the stored one, with the lower ``member``: an offset from which reading again is harmless


@dataclass(frozen=True, slots=True)
class Holding:
    """One collection. ``holds``: what a backup must be guarded for, in words for a person."""

    name: str
    rule: Rule
    member: str = "version"
    holds: str = ""


IDENTITY = "identity"  # which database this is: told in a backup's header, never copied
OFFSETS = "applied_offsets"
JOBS = "jobs"
ACCOUNTS = "accounts"
_NOT_COPIED = frozenset({IDENTITY, "doctor_probes"})  # the second: of `openv doctor` in older versions

# In the order in which a backup reads them. The offsets first: what they say was applied is in all that follows.
# Accounts before jobs: a job that is admitted meanwhile is in its account, or in the log. What names something before
# what it names, where that was stored first and is never changed.
HOLDINGS: tuple[Holding, ...] = (
    Holding(OFFSETS, Rule.LOWER, "offset"),
    Holding(ACCOUNTS, Rule.NEWER),
    Holding(JOBS, Rule.NEWER, holds="prompts, inputs, clients' webhook addresses and bucket credentials"),
    Holding("api_keys", Rule.STORED, holds="hashes of keys, which open nothing by themselves"),
    Holding("acceptances", Rule.STORED),
    Holding("vouchers", Rule.NEWER, "updatedAt", holds="voucher codes"),
    Holding("persons", Rule.NEWER, "updatedAt", holds="names and mail addresses"),
    Holding("hooks", Rule.NEWER, holds="webhooks' addresses and signing secrets"),
    Holding("deliveries", Rule.NEWER),
    Holding("endpoints", Rule.NEWER, holds="endpoints' signing secrets"),
    Holding("chunks", Rule.NEWER, holds="what workers streamed"),
    Holding("chunk_bundles", Rule.STORED, holds="what workers streamed"),
    Holding("remote_runs", Rule.NEWER),
    Holding("replays", Rule.NEWER),
    Holding("works", Rule.NEWER),
    Holding("dispositions", Rule.STORED),
)
TABLE: Mapping[str, Holding] = MappingProxyType({one.name: one for one in HOLDINGS})


def unknown(names: Iterable[str]) -> list[str]:
    """The collections that are not in the table and may hold what somebody needs."""
    return sorted(set(names) - set(TABLE) - _NOT_COPIED)


def is_restored(name: str, document: Mapping[str, Any]) -> bool:
    """Whether it may come back. What was good for one use may have been used since the backup."""
    return name != "api_keys" or document.get("kind") not in ONE_TIME
