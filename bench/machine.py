"""The machine in words: what a reader needs to judge a figure, and nothing that names the machine."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("faust-streaming", "aiokafka", "motor", "pymongo", "starlette", "uvicorn", "websockets", "pydantic")


def in_words() -> str:
    """Cores, memory, system, Python, the libraries that carry the load."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB of memory, {platform.system()}, "
        f"Python {platform.python_version()}, {libraries}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
