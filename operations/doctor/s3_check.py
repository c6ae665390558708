"""The object stores: put, get, delete, and what a browser gets by a signed address."""

import httpx

from operations.core.findings import Finding, Mends, note, ok, problem
from operations.core.strays import PROBES
from operations.doctor.away import away
from operations.doctor.surroundings import Surroundings
from repo.ports import ObjectStore, Unavailable
from repo.s3 import S3ObjectStore
from repo.s3_inspection import Answered, S3Inspection
from repo.settings import FallbackSettings, ServerSettings

CHECK = "s3"
ANY = "*"


async def check(around: Surroundings) -> list[Finding]:
    """What is away is a finding, so that the other store is looked at as well."""
    found: list[Finding] = []
    for name, store in around.stores.each():
        found += await _of(around, name or "main", store)
    if around.stores.fallback is None:
        found.append(
            note(CHECK, "there is no fallback store", "while S3 is away, finished videos wait in their workers")
        )
    return [*found, *same_bucket(around.servers, around.fallback)]


def same_bucket(servers: ServerSettings, fallback: FallbackSettings) -> list[Finding]:
    """What is put into the fallback store because the first refuses it would be refused there as well."""
    other = fallback.as_servers(servers)
    if other is None or _place(servers) != _place(other):
        return []
    why = "while it is away, the other is away too"
    return [problem(CHECK, "main and fallback store are one bucket", why, "unset S3_FALLBACK_ENDPOINT_URL")]


def _place(servers: ServerSettings) -> tuple[str, str]:
    return (servers.s3_endpoint_url or "").rstrip("/").lower(), servers.s3_bucket


async def _of(around: Surroundings, name: str, store: ObjectStore) -> list[Finding]:
    if not isinstance(store, S3ObjectStore):
        return []
    variable = "S3_ENDPOINT_URL" if name == "main" else "S3_FALLBACK_ENDPOINT_URL"
    try:
        await store.ping()
    except Unavailable as absent:
        if "for bucket" in absent.reason:
            why = "nothing can be stored in it"
            mend = "openv doctor --repair --only s3"
            return [problem(CHECK, f"{name}: {absent.reason}", why, mend, repair=Mends.BUCKET, targets=[name])]
        return [away(CHECK, absent)]
    return await _seen(around, name, S3Inspection(store), variable)


async def _seen(around: Surroundings, name: str, store: S3Inspection, variable: str) -> list[Finding]:
    origins = around.origins or (None,)
    found: list[Finding] = []
    for origin in origins:
        try:
            answered = await store.probe(PROBES, origin)
        except Unavailable as refused:
            return [away(CHECK, refused)]
        except httpx.HTTPError as error:
            public = variable.replace("ENDPOINT", "PUBLIC_ENDPOINT")
            what = f"{name}: a signed address leads nowhere: {type(error).__name__}"
            return [problem(CHECK, what, f"browsers get no video; {public} names it, if set", f"curl -i ${public}")]
        found += judged(name, origin, answered)
    return found or [ok(CHECK, f"{name}: files are stored, shown by signed addresses, and deleted")]


def judged(name: str, origin: str | None, answered: Answered) -> list[Finding]:
    """What a page of this origin got."""
    if answered.status != httpx.codes.OK or not answered.whole:
        what = f"{name}: a signed address is answered {answered.status}"
        why = "browsers get no video; a proxy may change the host, which is part of the signature, or clocks differ"
        return [problem(CHECK, what, why, "openv doctor --only clock")]
    if origin is not None and answered.allows not in (ANY, origin):
        what = f"{name}: pages of {origin} may not read its files (CORS)"
        why = "players work, but pages that fetch a video or draw it to a canvas do not"
        mend = "openv doctor --repair --only s3"
        return [problem(CHECK, what, why, mend, repair=Mends.CORS, targets=[name, origin])]
    return []
