"""Whether the database that answers is the one that this process knows. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from schemas.identities import Identity, Standing

LOST = (
    "this is not the database that was here: what was in it is lost, or MONGODB_URI leads elsewhere. Bring it back "
    "with `openv restore FILE` and then `openv rebuild`, or without a backup with `openv rebuild` alone"
)
ANOTHER = (
    "this is another database than the one that was here. Bring that back, with its files or with `openv restore "
    "--merge FILE` and `openv rebuild`; or start this process again to go on with this one"
)
REPLACED = "the database was restored or rebuilt: this process must start again, to read on from where that stands"
CLOSED: Mapping[Standing, str] = MappingProxyType(
    {
        Standing.RESTORING: "a backup is being restored into it; if that was interrupted, run `openv restore` again",
        Standing.RESTORED: "a backup was restored into it: run `openv rebuild`, which opens it",
        Standing.REBUILDING: "it is being rebuilt from the log; if that was interrupted, run `openv rebuild` again",
    }
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``known``: the database from now on; ``refusal``: why it must not be used, in words for a person;
    ``replaced``: it never will be by this process."""

    known: Identity | None
    refusal: str | None = None
    replaced: bool = False


def judged(known: Identity | None, found: Identity | None, *, adopts: bool) -> Verdict:
    """What to make of the identity that was found, by a process that knew that one (None: none yet).

    ``adopts``: it keeps nothing that a recovered database contradicts, and goes on with it.
    """
    if found is None:
        return Verdict(known, None if known is None else LOST)
    if found.standing is not Standing.OPEN:
        return Verdict(known, CLOSED[found.standing])
    if known is None or known.identity == found.identity:
        return Verdict(found)
    if not found.recovered:
        return Verdict(known, ANOTHER)
    return Verdict(found) if adopts else Verdict(known, REPLACED, replaced=True)
