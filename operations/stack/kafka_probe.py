"""Asks a Kafka broker who it is, in the few bytes of the protocol that this takes (Metadata request, version 4)."""

import asyncio
import contextlib
import struct

_METADATA_KEY, _METADATA_VERSION = 3, 4
_CLIENT = b"openv"
_LARGEST_ANSWER = 1 << 20


async def cluster_id_at(host: str, port: int) -> str | None:
    """The cluster id that the broker there answers with once it counts itself among the live brokers, else None."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return None
    try:
        # No topics asked for (an empty array), none to be created.
        header = struct.pack(">hhih", _METADATA_KEY, _METADATA_VERSION, 1, len(_CLIENT)) + _CLIENT
        request = header + struct.pack(">i?", 0, False)
        writer.write(struct.pack(">i", len(request)) + request)
        await writer.drain()
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        return _cluster_id(await reader.readexactly(size)) if 0 < size < _LARGEST_ANSWER else None
    except (OSError, asyncio.IncompleteReadError, struct.error, UnicodeDecodeError):
        return None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _cluster_id(answer: bytes) -> str | None:
    """Reads: correlation id, throttle time, brokers [id, host, port, rack], cluster id."""
    (count,) = struct.unpack_from(">i", answer, 8)
    at = 12
    for _ in range(count):
        _, at = _string(answer, at + 4)  # after the id: the host
        _, at = _string(answer, at + 4)  # after the port: the rack
    cluster_id, _ = _string(answer, at)
    return cluster_id if count > 0 else None


def _string(answer: bytes, at: int) -> tuple[str | None, int]:
    (length,) = struct.unpack_from(">h", answer, at)
    if length < 0:
        return None, at + 2
    return answer[at + 2 : at + 2 + length].decode(), at + 2 + length
