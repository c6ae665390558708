"""How the scheduler knows a worker that speaks RunPod's protocol: one slot for each job that it can run at a time.

A slot is a worker of its own to the scheduler: it asks, has one job, and its lease is its own. Its id names the pod
(``RUNPOD_POD_ID``, chosen by whoever runs it), the gateway that holds or held its poll, and a number there, so that any
gateway that sees the id in a job document or in an order knows whose it is. The gateway's id is the slot's session.
"""

import re
from typing import NamedTuple

POD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SLOT = re.compile(r"sdk:([a-z0-9][a-z0-9-]{0,39}):([A-Za-z0-9][A-Za-z0-9_-]{0,63}):([0-9a-f]{12}):([0-9]{1,4})")


class Slot(NamedTuple):
    """``gateway`` is twelve hex digits, new at each start of a gateway."""

    endpoint_id: str
    pod_id: str
    gateway: str
    number: int

    @property
    def worker_id(self) -> str:
        """As reports, leases and documents have it."""
        return f"sdk:{self.endpoint_id}:{self.pod_id}:{self.gateway}:{self.number}"


def slot_of(worker_id: str | None) -> Slot | None:
    """The slot of that id, or None: another kind of worker."""
    found = _SLOT.fullmatch(worker_id or "")
    return Slot(found[1], found[2], found[3], int(found[4])) if found else None


def is_pod_id(text: str) -> bool:
    """Whether a worker may be called so."""
    return POD.fullmatch(text) is not None
