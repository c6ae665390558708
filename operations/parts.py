"""Gateway, streams, admin API and workers as parts of the supervised stack."""

import socket
import sys
from collections.abc import Callable, Mapping
from hashlib import blake2b

import httpx

from operations.stack.child import Command
from operations.stack.readiness import NotifySocket
from operations.stack.supervisor import Part

PROBE_TIMEOUT_S = 2.0
READY_WITHIN_S = 120.0
WORKER_READY_WITHIN_S = 3600.0  # a first start may fetch and load 30 GB of weights


def sockets_of(workers: int) -> dict[str, NotifySocket]:
    """One readiness socket for each of our parts, by its name."""
    names = ["gateway", "streams", "admin", *(f"worker-{number}" for number in range(1, workers + 1))]
    return {name: NotifySocket() for name in names}


def our_parts(
    sockets: Mapping[str, NotifySocket],
    environment: Mapping[str, str],
    url: str,
    on_wait: Callable[[str, str], None],
    metrics: Mapping[str, int],
) -> list[Part]:
    """The parts, side by side. ``on_wait(part, status)`` hears what one that is not ready yet says it waits for.

    ``metrics``: by part, the port on which it shows its metrics.
    """
    modules = dict.fromkeys(sockets, "inference_worker") | {
        "gateway": "gateway",
        "streams": "streams",
        "admin": "operations.admin",
    }
    return [
        _part(name, modules[name], one, {**environment, "OPENV_METRICS_PORT": str(metrics[name])}, url, on_wait)
        for name, one in sockets.items()
    ]


def _part(
    name: str,
    module: str,
    notify: NotifySocket,
    environment: Mapping[str, str],
    url: str,
    on_wait: Callable[[str, str], None],
) -> Part:
    told_status = ""

    async def command() -> Command:
        notify.reset()
        told = {**environment, "NOTIFY_SOCKET": notify.address}
        if module == "inference_worker":
            told["OPENV_WORKER_ID"] = _worker_id(environment, name)
        return Command((sys.executable, "-m", module), told)

    async def is_ready(_pid: int) -> bool:
        nonlocal told_status
        if not notify.poll():
            if notify.status and notify.status != told_status:
                told_status = notify.status
                on_wait(name, told_status)
            return False
        return name != "gateway" or await _answers(f"{url}/readyz")

    within = WORKER_READY_WITHIN_S if module == "inference_worker" else READY_WITHIN_S
    return Part(name, command, is_ready, grace_s=4.5, ready_within_s=within, give_up_after=5)


def _worker_id(environment: Mapping[str, str], name: str) -> str:
    """The same at every start, so that a worker that comes back ends its own old lease at once; unique to the stack."""
    stack = blake2b(environment["OPENV_DATA_DIR"].encode(), digest_size=4).hexdigest()
    return f"{environment.get('OPENV_WORKER_ID') or socket.gethostname()}-{stack}-{name}"


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=PROBE_TIMEOUT_S, trust_env=False) as client:
            return (await client.get(url)).is_success
    except httpx.HTTPError:
        return False
