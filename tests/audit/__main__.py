"""``python -m tests.audit --trials 300 --seed 7``: 0 where nothing was skipped, stuck or different, else 1.

Starts its own servers. The processes' logs stay where something was found, and the report says where.
"""

import argparse
import asyncio
import resource
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from random import Random, SystemRandom
from statistics import median

from operations.stack.servers import EmbeddedServers
from repo.topic_admin import TopicAdmin
from tests.audit.audit import Trial, come_to_rest, trials
from tests.audit.stage import Stage, staged
from tests.servers import settings_of

FAULTS_SHOWN = 12
WARNINGS_SHOWN = 12


def main() -> int:
    """The exit code."""
    arguments = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="openv-audit-"))
    seed = SystemRandom().getrandbits(32) if arguments.seed is None else arguments.seed
    (folder / "streams").mkdir()
    _say(f"{arguments.trials} trials, seed {seed}; logs in {folder}")
    try:
        faults = asyncio.run(_audit(arguments.trials, seed, folder))
    except KeyboardInterrupt:
        _say(f"stopped; the processes' logs are in {folder / 'streams'}")
        return 130
    if not faults:
        shutil.rmtree(folder)
        return 0
    _say(f"\nFAULTS: {len(faults)} with seed {seed}; the processes' logs are in {folder / 'streams'}")
    for fault in faults[:FAULTS_SHOWN]:
        _say(f"  {fault[:2000]}")
    return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.audit", description=__doc__)
    parser.add_argument("--trials", type=int, default=300, help="restarts and rebalances (default: 300)")
    parser.add_argument("--seed", type=int, help="draws the same disturbances again (default: a new one)")
    return parser.parse_args()


async def _audit(count: int, seed: int, folder: Path) -> list[str]:
    began, chance = time.monotonic(), Random(seed)
    async with EmbeddedServers(folder / "servers") as environment:
        async with TopicAdmin(settings_of(environment)) as admin:
            await admin.apply()
        async with staged(environment, folder / "streams", chance) as stage:
            done = await trials(stage, count, chance, _say)
            faults = [f"trial {one.number} ({one.kind}): {fault}" for one in done for fault in one.faults]
            if not faults:
                faults = [f"at rest, after trial {len(done)}: {fault}" for fault in await come_to_rest(stage)]
            _say(_figures(done, stage, time.monotonic() - began))
    return faults


def _figures(done: list[Trial], stage: Stage, seconds: float) -> str:
    kinds: defaultdict[str, list[Trial]] = defaultdict(list)
    for trial in done:
        kinds[trial.kind].append(trial)
    lines = [f"\n{'kind':<20}trials  longest wait of a record: median, max"]
    for kind, of_kind in sorted(kinds.items()):
        waited = [trial.waited_ms / 1000 for trial in of_kind]
        lines.append(f"{kind:<20}{len(of_kind):6}  {median(waited):.1f} s, {max(waited):.1f} s")
    judge, said = stage.judge, stage.fleet.said().most_common(WARNINGS_SHOWN)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    lines.append(f"{len(done)} trials in {seconds:.0f} s, {memory} MiB of memory (the audit itself)")
    lines.append(f"{judge.commands} commands of {len(judge.users)} users, {judge.twice} processed more than once")
    lines.append(f"{judge.traceless} commands without an effect to look for, {stage.probes.sent} probes")
    lines += ["what the processes warned of:", *(f"{count:6}  {word}" for word, count in said)]
    return "\n".join(lines)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
