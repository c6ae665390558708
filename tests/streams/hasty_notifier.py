"""``python -m streams`` with waits of milliseconds instead of hours: nothing else of the notifier is other."""

import sys

from schemas.deliveries import DeliveryKind
from streams.__main__ import main
from streams.core.deliveries import SendingPolicy

LEASE_MS = 4_000
SCHEDULES = {
    DeliveryKind.WEBHOOK: (0, 300, 600),
    DeliveryKind.TEST: (0,),
    DeliveryKind.MAIL: (0, 300),
    DeliveryKind.JOB: (0, 300, 300),
}

if __name__ == "__main__":
    sys.exit(main(SendingPolicy(schedules=SCHEDULES, timeout_ms=2_000, lease_ms=LEASE_MS, look_ms=100)))
