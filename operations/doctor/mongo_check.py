"""MongoDB: it answers, a majority keeps what is written, and every query has its index."""

from operations.core.findings import Finding, Mends, first, note, ok, problem
from operations.doctor.surroundings import Surroundings

CHECK = "mongodb"


async def check(around: Surroundings) -> list[Finding]:
    """Raises ``Unavailable``."""
    mongo = around.mongo
    server = await mongo.server()
    await mongo.probe_write()
    found = [ok(CHECK, f"version {server.version} answers, and keeps what is written")]
    missing = await mongo.missing_indexes()
    if missing:
        what = f"{len(missing)} indexes are missing: {first(missing)}"
        mend = "openv doctor --repair --only mongodb"
        found.append(problem(CHECK, what, "queries look at whole collections", mend, repair=Mends.INDEXES))
    if server.replica_set is None:
        found.append(
            note(CHECK, "it stands alone", "what it holds is as safe as its disk; a replica set survives a loss")
        )
    return found
