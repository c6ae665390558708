"""An AppCDS archive of Kafka's classes: with it the broker is up in about one second instead of three.

Made once per Java and Kafka version, by starting a broker on an empty folder and stopping it. Only an optimisation:
whatever goes wrong here, Kafka starts without it.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from operations.stack.child import Child
from operations.stack.errors import StackError
from operations.stack.jars import Jars, Note, cache_folder, cache_lock
from operations.stack.kafka import PORTS, KafkaServer
from operations.stack.ports import choose

_READY_WITHIN_S = 60.0
_DUMP_WITHIN_S = 60.0


async def ensure_archive(jars: Jars, java: str, note: Note, environ: Mapping[str, str]) -> Path | None:
    """The archive for this Java, made first if there is none; ``None`` where it could not be made (tried only once)."""
    archive = jars.kafka_folder / f"classes-{_java_fingerprint(java)}.jsa"
    failed = archive.with_suffix(".failed")
    if not archive.exists() and not failed.exists():
        async with cache_lock(cache_folder(environ)):
            if not archive.exists() and not failed.exists():
                note("Preparing Kafka for fast starts (once, some seconds)")
                if not await _train(jars, java, archive):
                    failed.touch()
    return archive if archive.exists() else None


async def _train(jars: Jars, java: str, archive: Path) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="openv-kafka-"))
    unfinished = archive.with_suffix(f".{os.getpid()}.tmp")
    try:
        kafka = KafkaServer(folder, java, jars.kafka)
        command = await kafka.prepare(choose(PORTS, {}), f"-XX:ArchiveClassesAtExit={unfinished}")
        child = Child.start(command, folder / "broker.log")
        try:
            deadline = time.monotonic() + _READY_WITHIN_S
            while not await kafka.is_ready():
                if child.exit_code() is not None or time.monotonic() > deadline:
                    return False
            await child.stop(_DUMP_WITHIN_S)
        finally:
            child.kill()
        if not unfinished.exists():
            return False
        unfinished.rename(archive)
    except (OSError, StackError):
        return False
    else:
        return True
    finally:
        unfinished.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _java_fingerprint(java: str) -> str:
    """Tells Java installations apart without starting one: where it really is, and its ``release`` file."""
    real = Path(java).resolve()
    release = real.parent.parent / "release"
    described = release.read_bytes() if release.is_file() else b""
    return hashlib.sha256(str(real).encode() + b"\0" + described).hexdigest()[:12]
