"""``python -m tests.audit.sabotaged``: the streams with a fault put in, to see that the audit finds it.

One in twenty records of every role is acknowledged, noted as applied and committed, but not processed.
"""

import sys
from collections import Counter

from schemas.codec import Record
from streams.__main__ import main
from streams.reader import Reader

ONE_IN = 20

_apply = Reader._apply
_seen: Counter[str] = Counter()


async def _apply_most(reader: Reader, record: Record) -> None:
    _seen[reader.role] += 1
    if _seen[reader.role] % ONE_IN:
        await _apply(reader, record)


if __name__ == "__main__":
    Reader._apply = _apply_most  # type: ignore[method-assign]
    sys.exit(main())
