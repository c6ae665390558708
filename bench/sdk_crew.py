"""Workers on RunPod's own SDK, unmodified: processes of the Python in .sdks, told by their environment where to ask."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.driver import ROOT, Failed
from operations.stack.child import Child, Command

PYTHON = ROOT / ".sdks" / "python" / "bin" / "python"
HANDLER = ROOT / "bench" / "sdk_handler.py"
STARTED_WITHIN_S = 60.0
STOP_WITHIN_S = 1.0  # one that waits for a job does not leave before its poll has ended


@asynccontextmanager
async def crew(url: str, key: str, count: int, at_once: int) -> AsyncIterator[None]:
    """So many workers of the endpoint at ``url``, each about to ask for its first job."""
    if not PYTHON.exists():
        raise Failed("RunPod's SDK is not in .sdks: `make sdks` fetches it")
    children: list[Child] = []
    with TemporaryDirectory(prefix="openv-bench-sdk-") as name:
        folder = Path(name)
        try:
            for number in range(count):
                children.append(_start(folder, url, key, f"pod-{number}", at_once))  # noqa: PERF401 -- all that started
            async with asyncio.timeout(STARTED_WITHIN_S):
                while len(_started(folder)) < count:
                    _all_alive(children)
                    await asyncio.sleep(0.1)
            yield
            _all_alive(children)
        finally:
            await asyncio.gather(*(child.stop(STOP_WITHIN_S) for child in children))


def _start(folder: Path, url: str, key: str, pod: str, at_once: int) -> Child:
    environment = {
        "RUNPOD_WEBHOOK_GET_JOB": f"{url}/job-take/$ID?gpu=none",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{url}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
        "RUNPOD_WEBHOOK_POST_STREAM": f"{url}/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
        "RUNPOD_WEBHOOK_PING": f"{url}/ping/$RUNPOD_POD_ID?gpu=none",
        "RUNPOD_AI_API_KEY": key,
        "RUNPOD_POD_ID": pod,
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "RUNPOD_SKIP_GPU_CHECK": "true",
        "RUNPOD_DEBUG_LEVEL": "ERROR",
        "BENCH_AT_ONCE": str(at_once),
        "BENCH_STARTED": str(folder / f"{pod}.started"),
    }
    return Child.start(Command((str(PYTHON), str(HANDLER)), environment, folder), folder / f"{pod}.log")


def _started(folder: Path) -> list[Path]:
    return list(folder.glob("*.started"))


def _all_alive(children: list[Child]) -> None:
    for child in children:
        if child.exit_code() is not None:
            raise Failed(f"an SDK worker ended with {child.exit_code()}: {child.last_words()}")
