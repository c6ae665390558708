"""Asks a MongoDB server for its process id: one OP_MSG of the wire protocol with the command ``serverStatus``.

A driver's client would do, but it starts monitors of its own, whose connections outlive a client this short.
"""

import asyncio
import contextlib
import struct

import bson

_HEADER = struct.Struct("<iiii")  # message length, request id, response to, operation
_OP_MSG = 2013
_BODY_AT = _HEADER.size + 5  # after the flags and the kind of the one section
_LARGEST_ANSWER = 1 << 20


async def server_pid_at(host: str, port: int) -> int | None:
    """The process id of the server that answers there, ``None`` if none does."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return None
    try:
        body = b"\0\0\0\0\0" + bson.encode({"serverStatus": 1, "$db": "admin"})
        writer.write(_HEADER.pack(_HEADER.size + len(body), 1, 0, _OP_MSG) + body)
        await writer.drain()
        header = await reader.readexactly(_HEADER.size)
        size = _HEADER.unpack(header)[0]
        if not _BODY_AT < size < _LARGEST_ANSWER:
            return None
        answer = header + await reader.readexactly(size - _HEADER.size)
        pid = bson.decode(answer[_BODY_AT:]).get("pid")
    except (OSError, asyncio.IncompleteReadError, bson.errors.BSONError):
        return None
    else:
        return pid if isinstance(pid, int) else None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
