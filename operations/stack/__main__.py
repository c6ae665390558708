"""``python -m operations.stack``: fetches and prepares the embedded servers' programs ahead of time."""

import asyncio
import os
import sys

from operations.stack.errors import StackError
from operations.stack.jars import ensure_jars
from operations.stack.java import find_java
from operations.stack.kafka_archive import ensure_archive


async def _prepare() -> None:
    jars = await ensure_jars(_say, os.environ)
    await ensure_archive(jars, find_java(), _say, os.environ)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}.\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        asyncio.run(_prepare())
    except StackError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
