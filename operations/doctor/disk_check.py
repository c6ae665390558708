"""Room on the disk of the local stack, where one runs here."""

import asyncio
import shutil

from operations.core.findings import Finding, note, ok, problem
from operations.doctor.surroundings import Surroundings
from operations.local import running_stack

CHECK = "disk"
LEAST_BYTES = 2_000_000_000
LEAST_SHARE = 0.05


async def check(around: Surroundings) -> list[Finding]:
    """Servers on other machines watch over their own."""
    if running_stack(around.data_dir) is None:
        return [note(CHECK, "the servers are not of this machine's stack", "each watches over its own disk")]
    usage = await asyncio.to_thread(shutil.disk_usage, around.data_dir)
    return judged(usage.free, usage.total, str(around.data_dir))


def judged(free: int, total: int, where: str) -> list[Finding]:
    """What is left."""
    words = f"{free / 1e9:.1f} GB of {total / 1e9:.1f} are free for {where}"
    if free < max(LEAST_BYTES, total * LEAST_SHARE):
        why = "full disks stop Kafka, MongoDB and S3, and with them everything"
        return [problem(CHECK, words, why, f"du -xh --max-depth=2 {where} | sort -h | tail")]
    return [ok(CHECK, words)]
