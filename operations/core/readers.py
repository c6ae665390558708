"""Who reads which topic, by the name under which the applied offsets are kept; and how far behind they are. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from schemas.topics import ASSIGNMENTS, COMMANDS, DISPATCH, EVENTS, PROGRESS

READERS: Mapping[str, str] = MappingProxyType(
    {
        "ledger": COMMANDS.name,
        "scheduler": DISPATCH.name,
        "janitor": EVENTS.name,
        "notifier": EVENTS.name,
        f"inspector {ASSIGNMENTS.name}": ASSIGNMENTS.name,
        f"inspector {PROGRESS.name}": PROGRESS.name,
    }
)


def behind(applied: Mapping[int, int], starts: Mapping[int, int], ends: Mapping[int, int]) -> dict[int, int]:
    """Records that are kept and not applied, by partition. ``applied``: the last applied offset, absent for none."""
    return {
        partition: max(0, end - max(applied.get(partition, -1) + 1, starts.get(partition, 0)))
        for partition, end in ends.items()
    }
