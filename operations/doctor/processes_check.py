"""The local stack's processes, where one runs here: each is asked whether it lives, and works."""

from collections.abc import Sequence

from operations.core.findings import Finding, note, ok, problem
from operations.doctor.surroundings import Surroundings
from operations.stack.alive import SUPERVISOR, Life, lives

CHECK = "processes"
WHAT_STOPS = {
    "gateway": "nobody can ask for a video, or see one",
    "streams": "what users ask and workers report is not decided",
    "admin": "the admin API answers nobody",
    "kafka": "nothing can be asked for or reported",
    "mongo": "nothing can be decided or shown",
    "s3": "no file can be stored or shown",
    SUPERVISOR: "whatever dies stays away",
}


async def check(around: Surroundings) -> list[Finding]:
    """Those of other machines are looked at by their supervisors, and by Prometheus."""
    if not around.stack:
        why = "their supervisors start them again, and the alerts ProcessDown and LoopStuck tell of them"
        return [note(CHECK, "the processes are not of this machine's stack", why)]
    return judged(await lives(around.stack, around.data_dir / "logs"))


def judged(told: Sequence[Life]) -> list[Finding]:
    """What they say."""
    found = [
        note(CHECK, f"{one.part}: {one.words}", "it may load a model; its log says what it waits for", one.mend)
        if one.starts
        else problem(CHECK, f"{one.part}: {one.words}", _why(one), one.mend, about=f"process {one.part}")
        for one in told
        if not one.is_well
    ]
    return found or [ok(CHECK, f"all {len(told)} of the local stack answer")]


def _why(one: Life) -> str:
    stops = WHAT_STOPS.get(one.part, "its jobs go to other workers, or wait")
    again = "; `openv up` starts it again (docs/runbooks/LoopStuck.md)" if one.mend.startswith("kill -9") else ""
    return f"{stops}{again}"
