"""Documents that nobody can read, and that lists pass by: here they are named, with what mends them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

from operations.core import damage
from operations.core.counting import several
from operations.core.findings import Finding, first, problem
from operations.core.printable import printable
from operations.doctor.surroundings import Surroundings
from repo.access import DamagedKey
from repo.core.documents import DamagedDocumentError, from_document
from repo.mongo import MongoDatabase
from repo.mongo_access import read_key
from schemas.access import Acceptance, Person, Voucher
from schemas.deliveries import Delivery, Hooks
from schemas.dispositions import Disposition
from schemas.endpoints import ServerlessEndpoint
from schemas.ids import is_name
from schemas.jobs import Job
from schemas.remote_runs import RemoteRun
from schemas.replay_plans import ReplayPlan
from schemas.works import Work

KEYS = "api_keys"
READ_AT_ONCE = 100  # and then others have their turn
# Accounts are the check of the jobs', which reads them all; what workers streamed is read by none but its reader.
_KINDS: Sequence[type[Any]] = (
    Job, Acceptance, Delivery, Disposition, Hooks, Person, RemoteRun, ReplayPlan, ServerlessEndpoint, Voucher, Work,
)  # fmt: skip
KINDS: Mapping[str, type[Any]] = MappingProxyType({damage.COLLECTIONS[kind.__name__]: kind for kind in _KINDS})


async def damaged(around: Surroundings) -> list[Finding]:
    """One finding a collection that has any. Raises ``Unavailable``."""
    found = [told_of_keys(keys)] if (keys := await _damaged_keys(around)) else []
    for collection, kind in KINDS.items():
        errors: list[DamagedDocumentError] = []
        async for document in _documents(around, collection):
            try:
                from_document(kind, document)
            except DamagedDocumentError as error:
                errors.append(error)
        found += [told(collection, errors)] if errors else []
    return found


def told_of_keys(keys: Sequence[DamagedKey]) -> Finding:
    """Each can be revoked, as far as it says whose it is."""
    named = next((key for key in keys if is_name(key.user_id) and is_name(key.name)), None)
    names = (f"{key.name} of {key.user_id or 'nobody that it names'}" for key in keys)
    why = "they open nothing while they are so; whoever mends one lets its owner in again"
    mend = f"openv keys revoke --user {named.user_id} {named.name}" if named else "openv backup FILE"
    if named is None:
        why += "; no command mends it: then repair or delete that one document with mongosh"
    return problem(
        "documents", printable(f"{several(len(keys), 'damaged document')} in {KEYS}: {first(names)}"), why, mend
    )


def told(collection: str, errors: Sequence[DamagedDocumentError]) -> Finding:
    """By their ids."""
    what = f"{several(len(errors), 'damaged document')} in {collection}: {first(one.document_id for one in errors)}"
    because = "lists leave them out, and whatever needs one fails"
    return problem("documents", printable(what), f"{because}. {damage.mends(errors[0])}", damage.command(errors[0]))


async def _damaged_keys(around: Surroundings) -> list[DamagedKey]:
    return [key async for one in _documents(around, KEYS) if isinstance(key := read_key(one), DamagedKey)]


async def _documents(around: Surroundings, collection: str) -> AsyncIterator[Mapping[str, Any]]:
    """As many as are looked at, one after another."""
    looked_at = 0
    copies = cast("MongoDatabase", around.desk.database).copies
    async for documents in copies.read(collection, READ_AT_ONCE):
        for document in documents:
            yield document
        looked_at += len(documents)
        if looked_at >= around.most:
            return
