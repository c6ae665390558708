"""Whether the parts of a running stack live, as they say themselves: each is asked, in its own protocol.

A process that was once ready may be paused, hang or be stuck. Its metrics are served by a thread of its own, so they
tell a busy loop from a process that does not run at all.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

import httpx

from operations.stack.kafka_probe import cluster_id_at
from operations.stack.mongo_probe import server_pid_at
from operations.stack.supervisor import PartState

WITHIN_S = 5.0
STUCK_S = 10.0  # without a turn of the event loop; as the alert LoopStuck
BEAT = "openv_loop_beat_age_seconds "
SUPERVISOR = "openv up"
_ON_ITS_WAY = (PartState.WAITING.value, PartState.STARTING.value)
_STOPPED = ("T", "t")  # by a signal, by a debugger: proc_pid_stat(5)


@dataclass(frozen=True, slots=True)
class Asking:
    """By what, and for how many seconds, a part is asked."""

    http: httpx.AsyncClient
    within_s: float


@dataclass(frozen=True, slots=True)
class Life:
    """How a part is. ``words``: what is wrong with it, "" where it answers; ``mend``: the one command that mends it.
    ``starts``: it is on its way."""

    part: str
    words: str = ""
    mend: str = ""
    starts: bool = False

    @property
    def is_well(self) -> bool:
        """Whether it answers, and works."""
        return not self.words


async def lives(stack: Mapping[str, Any], logs: Path, *, within_s: float = WITHIN_S) -> list[Life]:
    """Of the supervisor and all parts of ``stack.json``, asked side by side; a silent one twice, ``within_s`` seconds
    each: who is told to kill a process must be sure."""
    parts: Mapping[str, Mapping[str, Any]] = stack.get("parts", {})
    # One for all, made before the clock runs: it reads all of the machine's certificates.
    async with httpx.AsyncClient(timeout=within_s, trust_env=False) as http:
        asked = [_life(name, part, logs, Asking(http, within_s)) for name, part in parts.items()]
        return [_supervisor(stack.get("pid")), *await asyncio.gather(*asked)]


def _supervisor(pid: int | None) -> Life:
    if pid is not None and is_paused(pid):
        return Life(SUPERVISOR, f"process {pid} is paused: parts that die are not started again", f"kill -CONT {pid}")
    return Life(SUPERVISOR)


async def _life(name: str, part: Mapping[str, Any], logs: Path, asking: Asking) -> Life:
    state, pid = str(part.get("state")), part.get("pid")
    if state != PartState.READY.value or pid is None:
        died = f": it {part['detail']}" if state == PartState.DIED.value and part.get("detail") else ""
        look = f"tail -n 50 {quote(str(logs / f'{name}.log'))}"
        return Life(name, f"it is not ready: {state}{died}", look, starts=state in _ON_ITS_WAY)
    if is_paused(pid):
        return Life(name, f"process {pid} is paused (SIGSTOP)", f"kill -CONT {pid}")
    words = await _asked(name, part, asking) and await _asked(name, part, asking)
    return Life(name, f"process {pid} {words}", f"kill -9 {pid}") if words else Life(name)


async def _asked(name: str, part: Mapping[str, Any], asking: Asking) -> str:
    """What is wrong, in words; "" where it answers."""
    address = str(part.get("metrics") or part.get("detail") or "")
    ask = _beats if part.get("metrics") else _SERVERS.get(name)
    if ask is None or not address:
        return ""
    try:
        async with asyncio.timeout(asking.within_s):
            return await ask(address, asking.http)
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
        return f"does not answer in {asking.within_s:g} s"


async def _beats(address: str, http: httpx.AsyncClient) -> str:
    answer = await http.get(address)
    ages = [float(line.removeprefix(BEAT)) for line in answer.text.splitlines() if line.startswith(BEAT)]
    if not answer.is_success or not ages:
        return "does not tell its metrics"
    return f"is stuck: its event loop has had no turn for {ages[0]:.0f} s" if ages[0] > STUCK_S else ""


async def _kafka(address: str, _http: httpx.AsyncClient) -> str:
    host, _, port = address.rpartition(":")
    return "" if await cluster_id_at(host, int(port)) is not None else "is no broker that answers"


async def _mongo(address: str, _http: httpx.AsyncClient) -> str:
    at = urlsplit(address)
    return "" if await server_pid_at(at.hostname or "", at.port or 0) is not None else "is no database that answers"


async def _s3(address: str, http: httpx.AsyncClient) -> str:
    await http.get(address)  # without a key it refuses, and that is an answer
    return ""


_SERVERS: Mapping[str, Callable[[str, httpx.AsyncClient], Awaitable[str]]] = {
    "kafka": _kafka,
    "mongo": _mongo,
    "s3": _s3,
}


def is_paused(pid: int) -> bool:
    """Whether a signal or a debugger stopped the process; False where this system does not tell (not Linux)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[:1] in [[state] for state in _STOPPED]
