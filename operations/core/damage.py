"""A document that nobody can read, in words: which one it is, and the command that mends it. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from operations.core.recovery_table import ACCOUNTS, JOBS
from repo.core.documents import DamagedDocumentError

COLLECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "Account": ACCOUNTS,
        "Job": JOBS,
        "Acceptance": "acceptances",
        "ApiKey": "api_keys",
        "Bundle": "chunk_bundles",
        "Delivery": "deliveries",
        "Disposition": "dispositions",
        "Hooks": "hooks",
        "Identity": "identity",
        "Person": "persons",
        "RemoteRun": "remote_runs",
        "ReplayPlan": "replays",
        "ServerlessEndpoint": "endpoints",
        "Voucher": "vouchers",
        "Work": "works",
    }
)


def told(error: DamagedDocumentError) -> str:
    """Which document, in which collection, and its wrong members; without an end."""
    if not error.kind:
        return str(error)
    collection = COLLECTIONS.get(error.kind, error.kind)
    return f"the document {error.document_id!r} of the collection {collection} is damaged ({error.places})"


def mends(error: DamagedDocumentError) -> str:
    """What helps, as a sentence with the commands."""
    collection = COLLECTIONS.get(error.kind)
    if collection == ACCOUNTS:
        return (
            "`openv rebuild` puts it as it was last announced; where no event tells of it, "
            f"`openv users reset {error.document_id}` lets the account begin anew."
        )
    if collection == JOBS:
        return "`openv rebuild` puts it as it was last announced."
    return "No command mends it: `openv backup FILE`, then repair or delete that one document with mongosh."


def command(error: DamagedDocumentError) -> str:
    """The one command to begin with."""
    return "openv rebuild" if COLLECTIONS.get(error.kind) in (ACCOUNTS, JOBS, None) else "openv backup FILE"


def sentence(error: DamagedDocumentError) -> str:
    """Both."""
    words = told(error)
    return f"{words[:1].upper()}{words[1:]}. {mends(error)}"
