"""The Java that runs Kafka and the MongoDB stand-in: where it is, and whether it is new enough."""

import re
import subprocess
from pathlib import Path

from operations.stack.errors import StackError
from operations.stack.jars import INSTALL, program

OLDEST = 17
_ANSWER_WITHIN_S = 30.0
_RELEASE = re.compile(r'^JAVA_VERSION="([\d.]+)', re.MULTILINE)
_ANSWER = re.compile(r'version "([\d.]+)')


def find_java() -> str:
    """Where ``java`` is. Raises ``StackError`` where it is missing, broken or too old."""
    java = program("java")
    version = _version(java)
    major = version.removeprefix("1.").partition(".")[0]  # 1.8.0 is Java 8
    if not major.isdigit():
        raise StackError(f"{java} does not run. Install a JDK ({OLDEST} or newer): {INSTALL}.")
    if int(major) < OLDEST:
        raise StackError(
            f"{java} is Java {major}; the embedded servers need {OLDEST} or newer. Install one ({INSTALL}), "
            "or put it first on the PATH."
        )
    return java


def _version(java: str) -> str:
    """From the ``release`` file that every JDK brings (a JVM takes a moment to start), else its own word; or empty."""
    try:
        described = _RELEASE.search((Path(java).resolve().parent.parent / "release").read_text())
    except OSError:
        described = None
    if described is not None:
        return described[1]
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=_ANSWER_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    said = _ANSWER.search(told.stderr + told.stdout)
    return said[1] if said is not None else ""
