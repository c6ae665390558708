"""``python -m streams`` with a mistake in its core: it can decide nothing of users whose names begin with a word."""

import os
import sys
from typing import Any

from streams import ledger
from streams.__main__ import main

_decide = ledger.decide


def decide(view: Any, command: Any, *others: Any) -> Any:
    if command.user_id.startswith(os.environ["MISTAKE_WITH"]):
        return {}[command.job_id]
    return _decide(view, command, *others)


if __name__ == "__main__":
    ledger.decide = decide
    sys.exit(main())
